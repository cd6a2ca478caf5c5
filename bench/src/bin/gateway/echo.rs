//! Keys and their echoes: how long one takes through the proxy, beside the straight way, and what it costs.

use std::time::{Duration, Instant};

use anyhow::Result;
use bench::{Goal, OURS, Row, percentile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Bench;
use crate::subject::Subject;
use crate::wire::{ECHO, Order, STROKE};

const OTHERS: &[&str] = &["nginx", "HAProxy"];
/// What a typist leaves between two keys at 20 a second.
const PAUSE: Duration = Duration::from_millis(50);
const TYPISTS: usize = 50;

pub async fn measure(bench: &Bench) -> Result<()> {
    for (name, typists, keys, pause) in [
        ("echo, 1 connection", 1, bench.options.size(700, 20), Duration::from_millis(1)),
        ("echo, 50 connections", TYPISTS, bench.options.size(30, 2), PAUSE),
    ] {
        let mut medians = bench.rows(&format!("{name}: p50"), "us");
        let mut tails = bench.rows(&format!("{name}: p99"), "us");
        let mut added = bench.rows(&format!("{name}: p50 over direct"), "us");
        let mut cpu = bench.rows(&format!("{name}: processor"), "us a key");
        let mut direct = Row::new(format!("{name}: p50"), &bench.direct.name, "us");
        // Of the round that is measured.
        let mut straight = 0.0;
        bench
            .rounds(bench.options.runs(), typists, async |index, subject| {
                if index == 0 {
                    straight = percentile(&type_keys(&bench.direct, typists, keys, pause).await?, 0.5);
                    direct.samples.push(straight);
                }
                let before = subject.usage()?;
                let times = type_keys(subject, typists, keys, pause).await?;
                let used = subject.usage()?.since(before).cpu_secs;
                medians[index].samples.push(percentile(&times, 0.5));
                tails[index].samples.push(percentile(&times, 0.99));
                added[index].samples.push(percentile(&times, 0.5) - straight);
                cpu[index].samples.push(used * 1e6 / (typists * keys) as f64);
                Ok(())
            })
            .await?;
        let goals = [(medians, 1.0), (tails, 1.0), (added, 0.8)];
        for (rows, factor) in goals {
            for row in rows {
                let row = if row.subject == OURS { row.goal(Goal::at_most_peers(factor, OTHERS)) } else { row };
                row.print();
            }
        }
        cpu.iter().for_each(Row::print);
        direct.print();
    }
    Ok(())
}

/// Everybody's times, in microseconds.
async fn type_keys(subject: &Subject, typists: usize, keys: usize, pause: Duration) -> Result<Vec<f64>> {
    let terminals = crate::entering::enter_all(subject, typists).await?;
    let mut typing = JoinSet::new();
    for (index, terminal) in terminals.into_iter().enumerate() {
        // Nobody types in time with the others.
        let first = pause.mul_f64(index as f64 / typists as f64);
        typing.spawn_local(type_on(terminal, first, keys, pause));
    }
    let mut all = Vec::with_capacity(typists * keys);
    while let Some(times) = typing.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

async fn type_on(mut terminal: TcpStream, first: Duration, keys: usize, pause: Duration) -> Result<Vec<f64>> {
    terminal.write_all(&Order::Echo.encode()).await?;
    tokio::time::sleep(first).await;
    let mut times = Vec::with_capacity(keys);
    for _ in 0..keys {
        let typed = Instant::now();
        terminal.write_all(&STROKE).await?;
        let mut echo = ECHO;
        terminal.read_exact(&mut echo).await?;
        times.push(typed.elapsed().as_secs_f64() * 1e6);
        tokio::time::sleep(pause).await;
    }
    Ok(times)
}
