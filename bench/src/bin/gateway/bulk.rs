//! Output without end, over one connection and over several: how fast, for how much of a processor, and how fairly.

use std::time::Instant;

use anyhow::{Result, ensure};
use bench::{Goal, OURS, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Bench;
use crate::subject::Subject;
use crate::wire::Order;

const BYTES: u64 = 1 << 28;
const BUFFER: usize = 256 << 10;
const GB: f64 = 1e9;

/// How the backend writes.
struct Load {
    name: &'static str,
    connections: usize,
    /// Frames of 4 KiB in one write.
    batch: u32,
}

const LOADS: [Load; 4] = [
    Load { name: "bulk, 1 connection", connections: 1, batch: 16 },
    Load { name: "bulk, 8 connections", connections: 8, batch: 16 },
    Load { name: "bulk frame by frame, 1 connection", connections: 1, batch: 1 },
    Load { name: "bulk frame by frame, 8 connections", connections: 8, batch: 1 },
];

pub async fn measure(bench: &Bench) -> Result<()> {
    for load in LOADS {
        measure_load(bench, &load).await?;
    }
    Ok(())
}

async fn measure_load(bench: &Bench, load: &Load) -> Result<()> {
    let bytes = bench.options.size(BYTES, 2 << 20);
    let mut speed = bench.rows(load.name, "MB/s");
    let mut cpu = bench.rows(&format!("{}: processor", load.name), "s/GB");
    let mut fair = bench.rows(&format!("{}: slowest to fastest", load.name), "ratio");
    let mut direct = Row::new(load.name, &bench.direct.name, "MB/s");
    for _ in 0..bench.options.runs() {
        direct.samples.push(flood(&bench.direct, load, bytes).await?.megabytes_per_sec);
    }
    bench
        .rounds(bench.options.runs(), load.connections, async |index, subject| {
            let before = subject.usage()?;
            let flood = flood(subject, load, bytes).await?;
            let used = subject.usage()?.since(before);
            speed[index].samples.push(flood.megabytes_per_sec);
            cpu[index].samples.push(used.cpu_secs / (bytes as f64 / GB));
            fair[index].samples.push(flood.fairness);
            Ok(())
        })
        .await?;
    let mut names = bench.subjects.iter().map(|subject| subject.name.as_str());
    let untuned = names.find(|name| name.starts_with("HAProxy") && !name.ends_with("tuned")).unwrap_or("HAProxy");
    let untuned = Goal::at_least_peers(1.0, &[untuned]);
    for ((mut speed, mut cpu), mut fair) in speed.into_iter().zip(cpu).zip(fair) {
        if speed.subject == OURS {
            speed = speed.goal(Goal { text: "at least HAProxy's, untuned".to_owned(), ..untuned.clone() });
            cpu = cpu.goal(Goal::at_most_peers(1.0, &[]));
            fair = fair.goal(Goal::at_least(0.8));
        }
        speed.print();
        cpu.print();
        if load.connections > 1 {
            fair.print();
        }
    }
    direct.print();
    Ok(())
}

struct Flooded {
    megabytes_per_sec: f64,
    fairness: f64,
}

async fn flood(subject: &Subject, load: &Load, bytes: u64) -> Result<Flooded> {
    let each = bytes / load.connections as u64;
    let mut terminals = crate::entering::enter_all(subject, load.connections).await?;
    let order = Order::Flood { bytes: each, frame: 4096, batch: load.batch }.encode();
    let began = Instant::now();
    let mut readers = JoinSet::new();
    for mut terminal in terminals.drain(..) {
        terminal.write_all(&order).await?;
        readers.spawn_local(read_all(terminal, each));
    }
    let mut times = Vec::new();
    while let Some(read) = readers.join_next().await {
        read??;
        times.push(began.elapsed().as_secs_f64());
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    Ok(Flooded { megabytes_per_sec: bytes as f64 / 1e6 / last, fairness: first / last })
}

async fn read_all(mut terminal: TcpStream, bytes: u64) -> Result<()> {
    let (mut left, mut buffer) = (bytes, vec![0; BUFFER]);
    while left > 0 {
        let count = terminal.read(&mut buffer).await?;
        ensure!(count > 0, "a flood was cut");
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}
