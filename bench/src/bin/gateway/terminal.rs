//! A real terminal's flood: `base64 /dev/zero` in a runner, to a client that only reads; straight, through ours, and through
//! nginx. Each of them has a runner of its own.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use bench::runner::{FLOOD, Runner};
use bench::socket::Socket;
use bench::{Goal, OURS, Row};

use crate::Bench;
use crate::subject::{Peers, Subject};

/// Read before anything is measured: a flood's first moments are spent on filling the runner's memory.
const BEFORE: u64 = 40 << 20;
const MEASURED: u64 = 40 << 20;

pub async fn measure(bench: &Bench) -> Result<()> {
    let program = std::env::current_exe()?.with_file_name("cliscale-runner");
    let folder = tempfile::tempdir()?;
    let ours = &bench.subjects[0];
    let (mut speed, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.runs() {
        let runner = flooding(&program).await?;
        note(&mut speed, &mut cpu, &bench.direct, flood(bench, &bench.direct, runner.attach()?).await?);
        runner.process.stop()?;

        let runner = flooding(&program).await?;
        let entrance = bench.installation.entrance(&runner.address, &runner.secret).await?;
        let (address, path) = (ours.address.to_string(), entrance.path()?);
        let socket = tokio::task::spawn_blocking(move || Socket::attach(&address, &path, &[])).await??;
        note(&mut speed, &mut cpu, ours, flood(bench, ours, socket).await?);
        runner.process.stop()?;

        if bench.subjects.len() > 1 {
            let runner = flooding(&program).await?;
            let peers = Peers { backend: runner.address.parse()?, folder: folder.path() };
            if let Some(nginx) = peers.nginx().await? {
                let socket = runner.attach_at(&nginx.address.to_string())?;
                note(&mut speed, &mut cpu, &nginx, flood(bench, &nginx, socket).await?);
            }
            runner.process.stop()?;
        }
    }
    for row in speed {
        let row = if row.subject == OURS { row.goal(Goal::at_least_peers(0.95, &["direct"])) } else { row };
        row.print();
    }
    for row in cpu {
        let row = if row.subject == OURS { row.goal(Goal::at_most_peers(1.0, &["nginx"])) } else { row };
        row.print();
    }
    Ok(())
}

async fn flooding(program: &Path) -> Result<Runner> {
    let runner = Runner::start(program).await?;
    runner.assign(FLOOD, None).await?;
    Ok(runner)
}

/// MB/s, and seconds of the proxy for each GB.
async fn flood(bench: &Bench, subject: &Subject, socket: Socket) -> Result<(f64, f64)> {
    let socket = drain(socket, bench.options.size(BEFORE, 1 << 20)).await?;
    let bytes = bench.options.size(MEASURED, 2 << 20);
    let (began, before) = (Instant::now(), subject.usage()?);
    drain(socket, bytes).await?;
    let used = subject.usage()?.since(before).cpu_secs;
    Ok((bytes as f64 / 1e6 / began.elapsed().as_secs_f64(), used / (bytes as f64 / 1e9)))
}

/// The runner's controller answers meanwhile, and so does all else that this program serves.
async fn drain(mut socket: Socket, bytes: u64) -> Result<Socket> {
    tokio::task::spawn_blocking(move || socket.drain(bytes).map(|()| socket)).await?
}

fn note(speed: &mut Vec<Row>, cpu: &mut Vec<Row>, subject: &Subject, (megabytes, secs): (f64, f64)) {
    let add = |rows: &mut Vec<Row>, measure: &str, unit: &str, sample| {
        let at = rows.iter().position(|row| row.subject == subject.name).unwrap_or_else(|| {
            rows.push(Row::new(measure, &subject.name, unit));
            rows.len() - 1
        });
        rows[at].samples.push(sample);
    };
    add(speed, "a terminal's flood through the gateway", "MB/s", megabytes);
    if subject.process.is_some() {
        add(cpu, "a terminal's flood through the gateway: processor", "s/GB", secs);
    }
}
