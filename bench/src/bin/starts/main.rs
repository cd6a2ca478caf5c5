//! Starts of sessions: how many creations a second the controller takes, what 10,000 running sessions cost it, and how long
//! a start takes on one machine. For the first two, the controller is alone on one core; clients, runners and database share
//! the other.

mod change;
mod controller;
mod creations;
mod fleet;
mod http;
mod idle_launcher;
mod installation;
mod local;
mod sessions;

use anyhow::Result;
use bench::pin::{DRIVER, is_pinned, pin_self};
use bench::{Options, Subjects};
use clap::{Parser, Subcommand};

/// As the controller has it that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    subjects: Subjects,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// What is measured: the controller, with a launcher that does nothing.
    #[command(hide = true)]
    Controller(Box<::controller::config::Flags>),
}

fn main() -> Result<()> {
    let Arguments { options, subjects, part } = Arguments::parse();
    if let Some(Part::Controller(flags)) = part {
        return controller::run(&flags);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the cores are shared out: a start on one machine has all of it.
    if options.wants("local") && !is_pinned() {
        runtime.block_on(local::measure(&options, &subjects.program("cliscale")?))?;
    }
    pin_self(DRIVER)?;
    tokio::task::LocalSet::new().block_on(&runtime, measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    if options.wants("creations") {
        creations::measure(options).await?;
    }
    if options.wants("sessions") {
        sessions::measure(options).await?;
    }
    Ok(())
}
