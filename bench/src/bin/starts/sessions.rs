//! Many running sessions at once: the controller's memory, what their heartbeats cost, and what a change costs beside them.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::{Goal, OURS, Options, Row};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::change;
use crate::fleet::Fleet;
use crate::installation::{Creator, Installation, Spent};

const FEW: usize = 100;
const MANY: usize = 10_000;
/// Sessions that start at the same time.
const AT_ONCE: usize = 16;
/// How long the few are watched, and the many: at least what lies between two heartbeats of each.
const WATCHED: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];
/// What the cost of a change may differ by without depending on how many sessions there are.
const THE_SAME: f64 = 1.2;

pub async fn measure(options: &Options) -> Result<()> {
    let mut installation = Installation::start().await?;
    let fleet = Fleet::start(&installation).await?;
    let news = installation.news.take().context("the launcher's news")?;
    tokio::select! {
        measured = measure_all(options, &installation, &fleet) => measured,
        lost = Rc::clone(&fleet).follow(news) => lost,
    }
}

async fn measure_all(options: &Options, installation: &Installation, fleet: &Rc<Fleet>) -> Result<()> {
    let (few, many) = (options.size(FEW, 5), options.size(MANY, 20));
    fill(installation, fleet, few).await?;
    let beside_few = Beside::measure(options, installation, fleet, few, WATCHED[0]).await?;
    fill(installation, fleet, many).await?;
    let beside_many = Beside::measure(options, installation, fleet, many, WATCHED[1]).await?;
    let row = |measure: String, unit: &str, sample: f64| Row::new(measure, OURS, unit).samples([sample]);
    let named = |what: &str| format!("{many} running sessions: {what}");
    row(named("controller's resident memory"), "MiB", beside_many.resident_mib).goal(Goal::at_most(200.0)).print();
    let share = beside_many.a_second.controller_secs * 100.0;
    row(named("controller's processor, heartbeats running"), "% of a core", share).goal(Goal::at_most(5.0)).print();
    let share = beside_many.a_second.database_secs * 100.0;
    row(named("PostgreSQL's processor, heartbeats running"), "% of a core", share).print();
    row(named("heartbeats"), "a second", beside_many.heartbeats_a_second).print();
    for (name, cost) in [
        ("controller's processor", Spent::controller_ms as fn(Spent) -> f64),
        ("PostgreSQL's processor", Spent::database_ms),
    ] {
        let samples = |beside: &Beside| beside.changes.iter().map(|spent| cost(*spent)).collect::<Vec<_>>();
        let measure = |count: usize| format!("a change beside {count} running sessions: {name}");
        let before = Row::new(measure(few), OURS, "ms").samples(samples(&beside_few));
        let goal = Goal::at_most(before.median() * THE_SAME);
        let goal = Goal { text: format!("at most {THE_SAME} x that beside {few}"), ..goal };
        before.print();
        Row::new(measure(many), OURS, "ms").samples(samples(&beside_many)).goal(goal).print();
    }
    Ok(())
}

/// Starts sessions until so many run.
async fn fill(installation: &Installation, fleet: &Rc<Fleet>, count: usize) -> Result<()> {
    let missing = count.saturating_sub(fleet.running());
    let mut creators = JoinSet::new();
    for number in 0..AT_ONCE {
        let mut creator = Creator::connect(installation.public).await?;
        let (fleet, share) = (Rc::clone(fleet), missing / AT_ONCE + usize::from(number < missing % AT_ONCE));
        creators.spawn_local(async move {
            for _ in 0..share {
                let session = creator.create().await?;
                fleet.until("a session runs", |fleet| fleet.runs(session)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(created) = creators.join_next().await {
        created??;
    }
    fleet.until("all sessions run", |fleet| fleet.running() == count).await
}

/// What there is to say beside so many sessions.
struct Beside {
    resident_mib: f64,
    heartbeats_a_second: f64,
    a_second: Spent,
    changes: Vec<Spent>,
}

impl Beside {
    async fn measure(
        options: &Options,
        installation: &Installation,
        fleet: &Rc<Fleet>,
        running: usize,
        watched: Duration,
    ) -> Result<Self> {
        let (began, before, beats) = (Instant::now(), installation.spent()?, fleet.heartbeats());
        tokio::time::sleep(options.size(watched, Duration::from_millis(500))).await;
        let a_second = installation.spent()?.since(before).a_second_of(began.elapsed());
        let heartbeats_a_second = (fleet.heartbeats() - beats) as f64 / began.elapsed().as_secs_f64();
        let resident_mib = installation.resident_mib()?;
        fleet.until("every session still runs", |fleet| fleet.running() == running).await?;
        let mut changes = Vec::new();
        for _ in 0..options.runs().min(2) {
            changes.push(change::cost(options, installation, fleet, a_second).await?);
        }
        Ok(Self { resident_mib, heartbeats_a_second, a_second, changes })
    }
}
