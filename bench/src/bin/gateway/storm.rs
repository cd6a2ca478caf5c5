//! Everybody comes back at once, as after a rolling update: our clients with their tickets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bench::{OURS, Row, percentile};
use session::frames::ServerFrame;
use tokio::task::JoinSet;

use crate::Bench;
use crate::subject::{Subject, enter};

const CLIENTS: usize = 2_000;
const AT_ONCE: usize = 64;
const PROTOCOLS: &str = "tty.r1, tty";

pub async fn measure(bench: &Bench) -> Result<()> {
    let clients = bench.options.size(CLIENTS, 20);
    let mut last = bench.rows(&format!("{clients} come back at once: until the last is there"), "s");
    let mut half = bench.rows(&format!("{clients} come back at once: until half of them are"), "s");
    let mut cpu = bench.rows(&format!("{clients} come back at once: processor"), "us each");
    bench
        .rounds(bench.options.runs().min(3), clients, async |index, subject| {
            let offers = come_first(subject, clients).await?;
            tokio::time::sleep(bench.options.settle(Duration::from_secs(1))).await;
            let before = subject.usage()?;
            let times = come_back(subject, offers).await?;
            last[index].samples.push(percentile(&times, 1.0));
            half[index].samples.push(percentile(&times, 0.5));
            cpu[index].samples.push(subject.usage()?.since(before).cpu_secs * 1e6 / clients as f64);
            Ok(())
        })
        .await?;
    [last, half, cpu].iter().flatten().for_each(Row::print);
    Ok(())
}

/// What each offers when it comes back.
async fn come_first(subject: &Subject, clients: usize) -> Result<Vec<String>> {
    let mut offers = Vec::with_capacity(clients);
    while offers.len() < clients {
        let mut coming = JoinSet::new();
        for _ in 0..AT_ONCE.min(clients - offers.len()) {
            let (address, path) = (subject.address, subject.entrance.path()?);
            coming.spawn_local(async move { enter(address, &path, PROTOCOLS).await });
        }
        while let Some(entered) = coming.join_next().await {
            let (_, before) = entered?.with_context(|| subject.name.clone())?;
            offers.push(offer(subject, before)?);
        }
    }
    Ok(offers)
}

fn offer(subject: &Subject, before: Vec<Vec<u8>>) -> Result<String> {
    if subject.name != OURS {
        return Ok(PROTOCOLS.to_owned());
    }
    let frames = before.into_iter().filter_map(|frame| ServerFrame::decode(frame.into()).ok());
    let mut tickets =
        frames.filter_map(|frame| if let ServerFrame::Tickets(tickets) = frame { Some(tickets) } else { None });
    let ticket = tickets.next_back().context("a ticket before the terminal")?.ticket;
    debug_assert!(BASE64_URL_SAFE_NO_PAD.decode(&ticket).is_ok());
    Ok(format!("{PROTOCOLS}, ticket.{ticket}"))
}

/// When each was there, in seconds.
async fn come_back(subject: &Subject, offers: Vec<String>) -> Result<Vec<f64>> {
    let (address, path, began) = (subject.address, subject.entrance.bare_path(), Instant::now());
    let mut coming = JoinSet::new();
    for protocols in offers {
        let path = path.clone();
        coming.spawn_local(async move {
            let terminal = enter(address, &path, &protocols).await?;
            anyhow::Ok((terminal, began.elapsed().as_secs_f64()))
        });
    }
    let (mut open, mut times) = (Vec::new(), Vec::new());
    while let Some(entered) = coming.join_next().await {
        let (terminal, time) = entered?.with_context(|| subject.name.clone())?;
        times.push(time);
        open.push(terminal);
    }
    Ok(times)
}
