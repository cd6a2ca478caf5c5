//! The runner beside what else puts a terminal behind a WebSocket, and beside `script` for what the kernel's terminal costs
//! alone: boot, memory, a flood, the echo of a key, and the time from an assignment to the command's first byte.

mod boot;
mod echo;
mod first_byte;
mod flood;
mod memory;
mod peers;

use std::path::PathBuf;

use anyhow::Result;
use bench::{Options, Subjects};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    subjects: Subjects,
}

/// What is measured, and how often.
pub struct Bench {
    options: Options,
    program: PathBuf,
    alone: bool,
}

fn main() -> Result<()> {
    let Arguments { options, subjects } = Arguments::parse();
    let bench = Bench { options, program: subjects.program("cliscale-runner")?, alone: subjects.alone };
    // The runners' controllers answer on a thread of their own, whatever this one waits for.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&bench))
}

async fn run(bench: &Bench) -> Result<()> {
    let wants = |name: &str| bench.options.wants(name);
    if wants("boot") {
        boot::measure(bench).await?;
    }
    if wants("memory") {
        memory::measure(bench).await?;
    }
    if wants("first byte") {
        first_byte::measure(bench).await?;
    }
    if wants("echo") {
        echo::measure(bench).await?;
    }
    if wants("flood") {
        flood::measure(bench).await?;
    }
    Ok(())
}
