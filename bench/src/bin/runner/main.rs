//! The runner beside what else puts a terminal behind a WebSocket, and beside `script` for what the kernel's terminal costs
//! alone: boot, memory, a flood, the echo of a key, and the time from an assignment to the command's first byte.

mod boot;
mod echo;
mod first_byte;
mod flood;
mod memory;
mod peers;
mod runner;
mod socket;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bench::Options;
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Another build of the runner than the one beside this program
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Without the peers
    #[arg(long)]
    alone: bool,
}

/// What is measured, and how often.
pub struct Bench {
    options: Options,
    program: PathBuf,
    alone: bool,
}

fn main() -> Result<()> {
    let Arguments { options, program, alone } = Arguments::parse();
    let program = match program {
        Some(program) => program,
        None => std::env::current_exe()?.parent().context("this program's folder")?.join("cliscale-runner"),
    };
    ensure!(Path::exists(&program), "{} is not built", program.display());
    let bench = Bench { options, program, alone };
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
