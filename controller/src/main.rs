//! The `cliscale-controller` process: reads its settings, starts tracing, and hands over.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use controller::config::Flags;
use controller::migrate::{self, MigrateFlags};

/// It gives pages back to the system that a look at many sessions needed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The controller: REST API, signing keys, launchers, reconciler.
#[derive(Parser)]
#[command(name = "cliscale-controller", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    server: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Migrate(MigrateFlags),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Migrate(flags)) = cli.command {
        return migrate::run(flags).await;
    }
    let config = match cli.server.config() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("cliscale-controller: {errors}");
            return ExitCode::from(2);
        }
    };
    service::telemetry::start(config.log_format, &config.log_filter);
    match controller::server::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the controller cannot run");
            ExitCode::FAILURE
        }
    }
}
