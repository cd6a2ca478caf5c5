//! The gateway beside nginx, HAProxy and a gateway in Node: memory, throughput, latency, admission. Each proxy is alone on
//! one core; clients, backend and database share the other.

mod backend;
mod bulk;
mod echo;
mod entering;
mod entrance;
mod idle;
mod installation;
mod stalled;
mod storm;
mod subject;
mod terminal;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use bench::pin::{DRIVER, pin_self};
use bench::{Options, Row, Subjects};
use clap::Parser;

use crate::entrance::Entrance;
use crate::installation::Installation;
use crate::subject::{Peers, Subject};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    subjects: Subjects,
}

/// Everything that is measured, and what it is measured with.
pub struct Bench {
    options: Options,
    installation: Installation,
    subjects: Vec<Subject>,
    /// Straight to the backend.
    direct: Subject,
}

impl Bench {
    /// Runs a measurement so often, in turns: each of a subject's rounds stands beside one of every other's.
    async fn rounds(
        &self,
        runs: usize,
        tokens: usize,
        mut measure: impl AsyncFnMut(usize, &Subject) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..runs {
            for (index, subject) in self.subjects.iter().enumerate() {
                self.installation.provide(subject, tokens).await?;
                measure(index, subject).await?;
                // What was closed is done with before the next one begins.
                tokio::time::sleep(self.options.settle(Duration::from_millis(100))).await;
            }
        }
        Ok(())
    }

    /// A row for each subject.
    fn rows(&self, measure: &str, unit: &str) -> Vec<Row> {
        self.subjects.iter().map(|subject| Row::new(measure, &subject.name, unit)).collect()
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin_self(DRIVER)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(arguments))
}

async fn run(Arguments { options, subjects: measured }: Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let backend = backend::start()?;
    let installation = Installation::start(folder.path(), backend).await?;
    let program = measured.program("cliscale-gateway")?;
    let mut subjects = vec![installation.gateway(&program, 0).await?];
    if !measured.alone {
        let peers = Peers { backend, folder: folder.path() };
        let found =
            [peers.nginx().await?, peers.haproxy(false).await?, peers.haproxy(true).await?, peers.node().await?];
        subjects.extend(found.into_iter().flatten());
        let is_there = |name: &str| subjects.iter().any(|subject| subject.name.starts_with(name));
        let complete = is_there("nginx") && is_there("HAProxy");
        ensure!(complete || std::env::var("CI").as_deref() != Ok("true"), "nginx or HAProxy is missing here");
    }
    let direct = straight(backend);
    let bench = Bench { options, installation, subjects, direct };
    let wants = |name: &str| bench.options.wants(name);
    // Memory first: later measurements leave their marks on it.
    if wants("idle") {
        idle::measure(&bench).await?;
    }
    if wants("stalled") {
        stalled::measure(&bench).await?;
    }
    if wants("bulk") {
        bulk::measure(&bench).await?;
    }
    if wants("terminal") {
        terminal::measure(&bench).await?;
    }
    if wants("echo") {
        echo::measure(&bench).await?;
    }
    if wants("entering") {
        entering::measure(&bench).await?;
    }
    if wants("storm") {
        storm::measure(&bench).await?;
    }
    Ok(())
}

fn straight(backend: SocketAddr) -> Subject {
    Subject { name: "direct".to_owned(), address: backend, process: None, entrance: Entrance::Open }
}
