//! The commands: each asks the API, and says what came of it. Results go to standard output, everything else to
//! standard error.

mod attach;
mod code;
mod doctor;
mod embedded;
mod list;
mod logs;
mod open;
mod remove;
mod run;
mod sessions;
mod show;
mod up;
mod verdict;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::arguments::{Cli, Command, LogsArgs};

/// `run` and `attach` exit with the command's code, so their own failures have one that commands rarely use; `env` and
/// `docker run` do the same.
pub const FAILED: u8 = 125;
/// A command line that cannot be understood, as clap has it.
pub const USAGE: u8 = 2;
/// As shells report that nobody reads what a command writes (SIGPIPE).
pub const NOT_READ: u8 = 128 + 13;

/// Reads the command line and carries it out.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let failure = match cli.command {
        Command::Run(_) | Command::Attach(_) | Command::Logs(LogsArgs { follow: true, .. }) => ExitCode::from(FAILED),
        _ => ExitCode::FAILURE,
    };
    // reqwest and tungstenite are given their TLS configuration; this is for whatever asks for the process's own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime");
    let done = runtime.and_then(|runtime| runtime.block_on(carry_out(cli.command)));
    done.unwrap_or_else(|error| {
        eprintln!("cliscale: {error:#}");
        failure
    })
}

async fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(flags) => up::up(&flags).await,
        Command::Run(args) => run::run(*args).await,
        Command::Attach(args) => attach::attach(args).await,
        Command::Logs(args) => logs::logs(args).await,
        Command::Open(args) => open::open(args).await,
        Command::Ls(args) => list::list(args).await,
        Command::Show(args) => show::show(args).await,
        Command::Rm(args) => remove::remove(args).await,
        Command::Doctor(args) => doctor::doctor(args).await,
    }
}
