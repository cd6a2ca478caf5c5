//! What a runner has resident that sends its heartbeats: blank, and with a session whose command has said little.

use std::time::Duration;

use anyhow::Result;
use bench::proc::Usage;
use bench::runner::Runner;
use bench::{Goal, OURS, Row};

use crate::Bench;

/// Whatever a heartbeat needs is resident.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After this long nothing of what was done before goes on, and some heartbeats were sent.
const SETTLED: Duration = Duration::from_secs(4);

pub async fn measure(bench: &Bench) -> Result<()> {
    let mut blank = Row::new("memory: blank and idle", OURS, "MiB").goal(Goal::at_most(6.0));
    let mut running = Row::new("memory: a session running", OURS, "MiB").goal(Goal::at_most(8.0));
    for _ in 0..bench.options.runs() {
        let runner = Runner::start_beating(&bench.program, HEARTBEAT).await?;
        let settled = bench.options.settle(SETTLED);
        tokio::time::sleep(settled).await;
        blank.samples.push(resident(&runner)?);
        runner.assign("echo ready; exec sleep 1000", None).await?;
        let mut socket = runner.attach()?;
        socket.read_until(b"ready")?;
        tokio::time::sleep(settled).await;
        running.samples.push(resident(&runner)?);
        runner.process.stop()?;
    }
    blank.print();
    running.print();
    Ok(())
}

fn resident(runner: &Runner) -> Result<f64> {
    Ok(Usage::of(runner.process.pid())?.resident_kib / 1024.0)
}
