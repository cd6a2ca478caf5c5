//! What a runner takes while it has nothing to do: standbys are many, and most sessions wait for their user.

mod rig;

use std::time::{Duration, Instant};

use rig::{Rig, SOON, Setup, eventually};

/// Without most of the program's text, which only its start needed.
const MAX_BLANK_KIB: u64 = 6 * 1024;
/// An optimised build has about 7 MiB; this one has code that is larger.
const MAX_RUNNING_KIB: u64 = 12 * 1024;
/// Shorter than whatever is done from time to time, but for heartbeats.
const LONG: Duration = Duration::from_secs(3);

async fn idle() -> Rig {
    Rig::with(Setup { flags: vec!["--heartbeat-secs=3600".into()], ..Setup::default() }).await
}

/// The numbers that follow `name` in the status of each of the runner's threads.
fn of_threads(rig: &Rig, name: &str) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", rig.pid())).unwrap();
    let status = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    status.map(|status| number(&status, name)).sum()
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

fn resident_kib(rig: &Rig) -> u64 {
    number(&std::fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap(), "VmRSS")
}

/// Waits until no thread of the runner has been woken for [`LONG`]; one that is woken again and again never comes to it.
async fn wait_until_quiet(rig: &Rig) {
    let (mut woken, mut since) = (0, Instant::now());
    eventually("silence", || {
        let now = of_threads(rig, "voluntary_ctxt_switches");
        if now != woken {
            (woken, since) = (now, Instant::now());
        }
        (since.elapsed() > LONG).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_runner_takes_little_memory_and_no_time() {
    let rig = idle().await;
    wait_until_quiet(&rig).await;
    assert!(resident_kib(&rig) < MAX_BLANK_KIB, "{} KiB", resident_kib(&rig));
    // All of that is still there when it is needed.
    rig.assign(rig.spec("echo ready")).await;
    rig.operator("a").await.wait_for("ready", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_waits_costs_its_runner_little_memory_and_no_time() {
    let rig = idle().await;
    rig.assign(rig.spec("echo ready; read x")).await;
    rig.operator("a").await.wait_for("ready", SOON).await.unwrap();
    wait_until_quiet(&rig).await;
    assert!(resident_kib(&rig) < MAX_RUNNING_KIB, "{} KiB", resident_kib(&rig));
}
