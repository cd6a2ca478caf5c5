//! What one change costs: a session that is created, runs, ends, and whose runner is cleared away, beside all others.

use std::rc::Rc;

use anyhow::Result;
use bench::Options;
use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::installation::{Creator, Installation, Spent};

const CHANGES: usize = 200;

/// Makes changes, one after the other, and waits until nothing is left of them. Answers what each has cost beyond what a
/// second costs anyway.
pub async fn cost(options: &Options, installation: &Installation, fleet: &Rc<Fleet>, a_second: Spent) -> Result<Spent> {
    let count = options.size(CHANGES, 1);
    let mut creator = Creator::connect(installation.public).await?;
    let (began, before, destroyed) = (Instant::now(), installation.spent()?, fleet.destroyed());
    for _ in 0..count {
        let session = creator.create().await?;
        fleet.until("a session runs", |fleet| fleet.runs(session)).await?;
        let ended = fleet.ended();
        fleet.end(session)?;
        fleet.until("a session ends", |fleet| fleet.ended() > ended).await?;
    }
    // Runners may linger before that; it takes ten seconds.
    let cleared = destroyed + options.size(count, 0);
    fleet.until("runners are cleared away", |fleet| fleet.destroyed() >= cleared).await?;
    let all = installation.spent()?.since(before);
    let anyway = a_second.times(began.elapsed().as_secs_f64());
    Ok(all.since(anyway).times(1.0 / count as f64))
}
