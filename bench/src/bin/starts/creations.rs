//! `POST /api/sessions`: how many a second, for how much of two processors, and how late answers come at half of that.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::{Goal, OURS, Options, Row, percentile};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::Instant;

use crate::installation::{Creator, Installation};

/// Clients that each wait for their answer before they ask again.
const AT_ONCE: usize = 16;
const EACH: Duration = Duration::from_secs(6);
/// Connections that clients who do not wait for each other have.
const CONNECTIONS: usize = 64;

pub async fn measure(options: &Options) -> Result<()> {
    let row = |measure: &str, unit: &str| Row::new(format!("creations{measure}"), OURS, unit);
    let mut rate = row("", "a second").goal(Goal::at_least(1000.0));
    let mut cpu = row(": controller's processor", "us each");
    let mut database = row(": PostgreSQL's processor", "us each");
    let mut p50 = row(" at half of that rate: p50", "ms");
    let mut p99 = row(" at half of that rate: p99", "ms").goal(Goal::at_most(20.0));
    for _ in 0..options.runs() {
        // Each begins with an empty database, so that none finds the sessions of another.
        let mut installation = Installation::start().await?;
        let mut news = installation.news.take().context("the launcher's news")?;
        // Nobody plays the runners, but the launcher must be able to tell of them.
        spawn_local(async move { while let Ok(Some(_)) = news.next_line().await {} });
        let each = options.size(EACH, Duration::from_millis(300));
        full_speed(&installation, Duration::from_millis(300)).await?;
        let before = installation.spent()?;
        let a_second = full_speed(&installation, each).await?;
        let spent = installation.spent()?.since(before).times(1e6 / (a_second * each.as_secs_f64()));
        rate.samples.push(a_second);
        cpu.samples.push(spent.controller_secs);
        database.samples.push(spent.database_secs);
        let times = paced(&installation, a_second / 2.0, each).await?;
        p50.samples.push(percentile(&times, 0.5));
        p99.samples.push(percentile(&times, 0.99));
        installation.process.stop()?;
    }
    [rate, cpu, database, p50, p99].iter().for_each(Row::print);
    Ok(())
}

/// Creations a second.
async fn full_speed(installation: &Installation, time: Duration) -> Result<f64> {
    let (began, mut clients) = (Instant::now(), JoinSet::new());
    for _ in 0..AT_ONCE {
        let mut creator = Creator::connect(installation.public).await?;
        clients.spawn_local(async move {
            let mut count = 0.0;
            while began.elapsed() < time {
                creator.create().await?;
                count += 1.0;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0.0;
    while let Some(counted) = clients.join_next().await {
        count += counted??;
    }
    Ok(count / began.elapsed().as_secs_f64())
}

/// Milliseconds from when each creation was due to its answer: one that has to wait for a connection waits, too.
async fn paced(installation: &Installation, a_second: f64, time: Duration) -> Result<Vec<f64>> {
    let (due, orders) = mpsc::unbounded_channel::<Instant>();
    let orders = Rc::new(tokio::sync::Mutex::new(orders));
    let (times, mut clients) = (Rc::new(RefCell::new(Vec::new())), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let mut creator = Creator::connect(installation.public).await?;
        let (orders, times) = (Rc::clone(&orders), Rc::clone(&times));
        clients.spawn_local(async move {
            loop {
                let order = orders.lock().await.recv().await;
                let Some(due) = order else { return anyhow::Ok(()) };
                creator.create().await?;
                times.borrow_mut().push(due.elapsed().as_secs_f64() * 1000.0);
            }
        });
    }
    let (began, count) = (Instant::now(), (a_second * time.as_secs_f64()).max(1.0) as u32);
    for number in 0..count {
        let at = began + Duration::from_secs_f64(f64::from(number) / a_second);
        tokio::time::sleep_until(at).await;
        due.send(at)?;
    }
    drop(due);
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(Rc::into_inner(times).context("everybody is done")?.into_inner())
}
