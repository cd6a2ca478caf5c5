//! How a session comes to its end, and that nothing of it is left then.

mod rig;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rig::{Rig, SOON, Setup, eventually, is_alive};
use session::frames::close;
use session::runner_api::MoveDeadline;
use session::{EndReason, SessionId, SessionSpec, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_is_reported_with_its_code_or_signal() {
    for (command, code, signal) in [
        ("true", 0, None),
        ("exit 255", 255, None),
        ("no-such-command-anywhere", 127, None),
        ("kill -9 $$", 137, Some("SIGKILL")),
        ("kill -TERM $$", 143, Some("SIGTERM")),
        ("kill -40 $$", 168, Some("SIG40")),
        ("sh -c 'kill -9 $$'; exit $?", 137, None),
    ] {
        let mut rig = Rig::running(command).await;
        let ended = rig.ended().await;
        assert_eq!(
            (ended.reason, ended.exit_code, ended.signal.as_deref(), ended.message),
            (EndReason::Exited, Some(code), signal, None),
            "{command}"
        );
        rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap();
        assert_eq!(rig.exit_status().await.code(), Some(code), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_install_ends_the_session_with_its_code() {
    let rig = Rig::start().await;
    rig.assign(SessionSpec { install_cmd: Some("echo no luck; exit 42".into()), ..rig.spec("echo never") }).await;
    let ended = rig.ended().await;
    assert_eq!((ended.reason, ended.exit_code), (EndReason::InstallFailed, Some(42)));
    assert!(!rig.controller.heard().stage_names().contains(&Stage::Running));
    let mut late = rig.operator("a").await;
    late.wait_closed(SOON).await.unwrap();
    assert!(late.has("no luck\r\n") && !late.has("never"), "{:?}", late.text());
    assert_eq!(late.exit.unwrap().reason, EndReason::InstallFailed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_cannot_be_fetched_ends_the_session_with_a_sentence() {
    let rig = Rig::start().await;
    rig.assign(SessionSpec { code_url: "/no/such/folder".into(), ..rig.spec("echo never") }).await;
    let ended = rig.ended().await;
    assert_eq!((ended.reason, ended.exit_code), (EndReason::FetchFailed, None));
    let mut late = rig.operator("a").await;
    late.wait_closed(SOON).await.unwrap();
    assert!(late.has(&ended.message.unwrap()), "{:?}", late.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_installs_by_itself() {
    let rig = Rig::start().await;
    let package = r#"{"name": "x", "version": "1.0.0", "scripts": {"postinstall": "echo installed-$((40+2))"}}"#;
    std::fs::write(rig.code().join("package.json"), package).unwrap();
    rig.assign(rig.spec("node -e 'console.log(`${6*7} ${process.stdout.isTTY}`)'")).await;
    assert_eq!(rig.ended().await.exit_code, Some(0));
    let mut late = rig.operator("a").await;
    late.wait_closed(SOON).await.unwrap();
    assert!(late.has("› installing npm install") && late.has("installed-42") && late.has("42 true"), "{}", late.text());
}

/// Daemonises for good: a session of its own, a parent that is gone, every signal but the last ignored.
const DAEMON: &str = "(setsid sh -c 'trap \"\" HUP TERM INT; echo $$ > daemon; while :; do sleep 1000; done' </dev/null >/dev/null 2>&1 &) ; \
                      while [ ! -s daemon ]; do sleep 0.01; done; cp daemon $HOME/daemon; ";

async fn daemon_pid(rig: &Rig) -> i32 {
    let file = rig.folder.path().join("home/daemon");
    eventually("the daemon's number", || std::fs::read_to_string(&file).ok()?.trim().parse().ok()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_are_gone_when_the_session_has_ended() {
    let rig = Rig::running(&format!("{DAEMON} exit 5")).await;
    let daemon = daemon_pid(&rig).await;
    assert_eq!(rig.ended().await.exit_code, Some(5));
    assert!(!is_alive(daemon));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_may_leave_a_service_for_the_command() {
    let rig = Rig::start().await;
    rig.assign(SessionSpec { install_cmd: Some(DAEMON.to_owned()), ..rig.spec("kill -0 $(cat daemon) && read x") })
        .await;
    let daemon = daemon_pid(&rig).await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("› running", SOON).await.unwrap();
    assert!(is_alive(daemon));
    operator.type_text("\n").await.unwrap();
    assert_eq!(rig.ended().await.exit_code, Some(0));
    assert!(!is_alive(daemon));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_is_asked_for_first_and_enforced_then() {
    let rig = Rig::running("trap 'echo goodbye; exit 9' TERM; echo ready; while :; do sleep 0.05; done").await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("ready", SOON).await.unwrap();
    assert_eq!(rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap(), 202);
    assert_eq!(operator.wait_closed(SOON).await.unwrap(), Some(close::ENDED));
    assert!(operator.has("goodbye"), "{}", operator.text());
    let exit = operator.exit.unwrap();
    assert_eq!((exit.reason, exit.code), (EndReason::Cancelled, Some(9)));

    let mut stubborn =
        Rig::running(&format!("{DAEMON} trap '' HUP TERM; echo ready; while :; do sleep 0.1; done")).await;
    let mut operator = stubborn.operator("a").await;
    operator.wait_for("ready", SOON).await.unwrap();
    let asked = Instant::now();
    assert_eq!(stubborn.controller.end(stubborn.session, EndReason::Cancelled).await.unwrap(), 202);
    assert_eq!(stubborn.controller.end(stubborn.session, EndReason::TimedOut).await.unwrap(), 202);
    operator.wait_closed(SOON).await.unwrap();
    let exit = operator.exit.unwrap();
    assert_eq!((exit.reason, exit.signal.as_deref()), (EndReason::Cancelled, Some("SIGKILL")));
    assert!(asked.elapsed() > Duration::from_secs(2), "it had its time to end by itself");
    assert!(!is_alive(daemon_pid(&stubborn).await));
    // Nobody is attached and it was cancelled: it does not linger.
    assert_eq!(stubborn.exit_status().await.code(), Some(137));
    assert!(asked.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_at_its_deadline_and_when_nobody_cares() {
    let rig = Rig::start().await;
    rig.assign(SessionSpec { ttl_secs: 1, ..rig.spec("while :; do echo busy; sleep 0.1; done") }).await;
    assert_eq!(rig.ended().await.reason, EndReason::TimedOut);

    let rig = Rig::start().await;
    rig.assign(SessionSpec { idle_secs: 1, ..rig.spec("echo quiet; sleep 1000") }).await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("quiet", SOON).await.unwrap();
    // An operator's presence is activity, whatever the program does.
    let stayed = tokio::time::timeout(Duration::from_millis(2500), operator.wait_closed(SOON)).await;
    assert!(stayed.is_err() && rig.controller.heard().ended().is_none());
    drop(operator);
    assert_eq!(rig.ended().await.reason, EndReason::Idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_is_moved_holds_for_the_command_and_is_told_to_everybody_attached() {
    let rig = Rig::start().await;
    let assigned_at = Instant::now();
    const UNTIL_TYPED: &str = "while ! read -t 0.1 x; do echo t$SECONDS.; done";
    let ttl_secs = 8;
    rig.assign(SessionSpec { ttl_secs, max_ttl_secs: 600, ..rig.spec(UNTIL_TYPED) }).await;
    let mut operator = rig.operator("a").await;
    let mut viewer = rig.attach("b", "viewer", session::frames::TTY_R1).await;
    let mut stock = rig.stock("c").await;
    for client in [&mut operator, &mut viewer] {
        client.wait_until(SOON, "the deadline", |client| !client.deadlines.is_empty()).await.unwrap();
        let told = client.deadlines[0];
        assert!(told.left_ms <= 8_000 && told.max_left_ms > 60_000 && told.max_left_ms <= 600_000, "{told:?}");
    }
    let meant = MoveDeadline { session: rig.session, epoch: 1, deadline_ms: 500_000, max_deadline_ms: 590_000 };
    for other in [MoveDeadline { session: SessionId::new(), ..meant }, MoveDeadline { epoch: 2, ..meant }] {
        assert_eq!(rig.controller.move_deadline(&other).await.unwrap(), 409);
    }
    // Whatever comes late and says less changes nothing.
    for moved in [meant, meant, MoveDeadline { deadline_ms: 10, ..meant }] {
        assert_eq!(rig.controller.move_deadline(&moved).await.unwrap(), 204);
    }
    assert!(assigned_at.elapsed() < Duration::from_secs(ttl_secs), "this machine is too slow for this test");
    for client in [&mut operator, &mut viewer] {
        let is_later = |client: &testkit::terminal_client::TerminalClient| {
            client.deadlines.last().is_some_and(|told| told.left_ms > 400_000)
        };
        client.wait_until(SOON, "the later deadline", is_later).await.unwrap();
    }
    let past = format!("t{}.", ttl_secs + 1);
    stock.wait_for(&past, SOON).await.unwrap();
    assert!(rig.controller.heard().ended().is_none());
    operator.type_text("\n").await.unwrap();
    assert_eq!(rig.ended().await.reason, EndReason::Exited);
    assert_eq!(rig.controller.move_deadline(&meant).await.unwrap(), 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_can_be_cancelled() {
    let rig = Rig::start().await;
    // Accepts and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x.zip", silent.local_addr().unwrap());
    rig.assign(SessionSpec { code_url: url, ..rig.spec("true") }).await;
    rig.controller.wait_stage(Stage::Fetching).await.unwrap();
    rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap();
    let ended = rig.ended().await;
    assert_eq!((ended.reason, ended.exit_code), (EndReason::Cancelled, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_told_to_stop_ends_the_session_and_the_runner() {
    let mut rig = Rig::running(&format!("{DAEMON} echo ready; sleep 1000")).await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("ready", SOON).await.unwrap();
    rig.signal(Signal::SIGTERM);
    operator.wait_closed(SOON).await.unwrap();
    let exit = operator.exit.unwrap();
    assert_eq!((exit.reason, exit.message.as_deref()), (EndReason::RunnerLost, Some("The runner was told to stop.")));
    assert_eq!(rig.ended().await.reason, EndReason::RunnerLost);
    assert_eq!(rig.exit_status().await.code(), Some(143));
    assert!(!is_alive(daemon_pid(&rig).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launcher_that_is_gone_takes_everything_with_it() {
    let mut rig = Rig::with(Setup { lifeline: true, ..Setup::default() }).await;
    rig.assign(rig.spec(&format!("{DAEMON} echo ready; trap '' HUP TERM; while :; do sleep 1; done"))).await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("ready", SOON).await.unwrap();
    let daemon = daemon_pid(&rig).await;
    drop(rig.runner.stdin.take());
    let _ = rig.exit_status().await;
    assert!(!is_alive(daemon));

    let mut blank = Rig::with(Setup { lifeline: true, ..Setup::default() }).await;
    drop(blank.runner.stdin.take());
    assert_eq!(blank.exit_status().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_never_needed_leaves_in_peace() {
    let mut rig = Rig::with(Setup { flags: vec!["--max-idle-secs=1".into()], ..Setup::default() }).await;
    assert_eq!(rig.exit_status().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_killed_takes_its_command_with_it() {
    let mut rig = Rig::running("trap '' HUP TERM; echo $$ > $HOME/pid; while :; do sleep 1; done").await;
    let file = rig.folder.path().join("home/pid");
    let pid = eventually("its number", || std::fs::read_to_string(&file).ok()?.trim().parse().ok()).await;
    rig.signal(Signal::SIGKILL);
    rig.exit_status().await;
    eventually("the command's end", || (!is_alive(pid)).then_some(())).await;
}
