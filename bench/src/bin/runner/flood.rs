//! `base64 /dev/zero` to a client that only reads: how fast, and for how much of a processor. The terminal's other side, a
//! kernel thread and the command itself cost the same everywhere and are not counted.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bench::pin::Running;
use bench::proc::Usage;
use bench::runner::{FLOOD, Runner};
use bench::{Goal, OURS, Row, machine};

use crate::Bench;
use crate::peers::{Peer, Peers};

/// Read before anything is measured: by then the runner's memory and its file are as full as they become.
const BEFORE: u64 = 80 << 20;
const MEASURED: u64 = 60 << 20;

pub async fn measure(bench: &Bench) -> Result<()> {
    let peers = if bench.alone { Peers::none() } else { Peers::find()? };
    let script = machine::version_of(Command::new("script").arg("--version"));
    let script = script.map(|version| format!("script {version}"));
    let names: Vec<&str> = [OURS].into_iter().chain(script.as_deref()).chain(peers.names()).collect();
    let mut speed: Vec<Row> = names.iter().map(|name| Row::new("flood", *name, "MB/s")).collect();
    let mut cpu: Vec<Row> = names.iter().map(|name| Row::new("flood: processor", *name, "s/GB")).collect();
    for _ in 0..bench.options.runs() {
        for (index, name) in names.iter().enumerate() {
            let (megabytes_per_sec, secs_per_gb) = match *name {
                OURS => of_runner(bench).await?,
                name if name.starts_with("script ") => of_script(bench)?,
                name => of_peer(bench, peers.named(name).context("a peer")?)?,
            };
            speed[index].samples.push(megabytes_per_sec);
            cpu[index].samples.push(secs_per_gb);
        }
    }
    for (speed, cpu) in speed.into_iter().zip(cpu) {
        let is_ours = speed.subject == OURS;
        let goal = |row: Row, goal| if is_ours { row.goal(goal) } else { row };
        goal(speed, Goal::at_least_peers(0.95, &["script"])).print();
        goal(cpu, Goal::at_most_peers(1.3, &["script"])).print();
    }
    Ok(())
}

async fn of_runner(bench: &Bench) -> Result<(f64, f64)> {
    let runner = Runner::start(&bench.program).await?;
    runner.assign(FLOOD, None).await?;
    let mut socket = runner.attach()?;
    let figures = flood(bench, runner.process.pid(), |bytes| socket.drain(bytes))?;
    runner.process.stop()?;
    Ok(figures)
}

fn of_script(bench: &Bench) -> Result<(f64, f64)> {
    let mut command = Command::new("script");
    command.args(["--quiet", "--command", FLOOD, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut script = Running::start(&mut command)?;
    let mut output = script.0.stdout.take().context("script's output")?;
    let mut buffer = vec![0; 1 << 20];
    flood(bench, script.pid(), |bytes| {
        let mut left = bytes;
        while left > 0 {
            let count = output.read(&mut buffer)? as u64;
            ensure!(count > 0, "the flood was cut");
            left = left.saturating_sub(count);
        }
        Ok(())
    })
}

fn of_peer(bench: &Bench, peer: &Peer) -> Result<(f64, f64)> {
    let running = peer.start(FLOOD)?;
    let mut socket = running.attach()?;
    flood(bench, running.process.pid(), |bytes| socket.drain(bytes))
}

/// MB/s, and seconds of this process for each GB.
fn flood(bench: &Bench, pid: i32, mut drain: impl FnMut(u64) -> Result<()>) -> Result<(f64, f64)> {
    drain(bench.options.size(BEFORE, 1 << 20))?;
    let bytes = bench.options.size(MEASURED, 2 << 20);
    let (began, before) = (Instant::now(), Usage::of(pid)?);
    drain(bytes)?;
    let used = Usage::of(pid)?.since(before).cpu_secs;
    Ok((bytes as f64 / 1e6 / began.elapsed().as_secs_f64(), used / (bytes as f64 / 1e9)))
}
