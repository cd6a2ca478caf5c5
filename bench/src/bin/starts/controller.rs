//! The process that is measured: the controller as its own program composes it, but for the launcher.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use controller::config::Flags;
use controller::server::Running;
use service::Shutdown;

use crate::idle_launcher::IdleLauncher;

/// Runs until a signal. Says first where it listens: the public and the internal address, on one line.
#[tokio::main]
pub async fn run(flags: &Flags) -> Result<()> {
    let config = flags.config().map_err(|errors| anyhow::anyhow!("{errors}"))?;
    service::telemetry::start(config.log_format, &config.log_filter);
    let shutdown = Shutdown::new();
    shutdown.on_signals_after(config.shutdown_delay).context("signals cannot be listened for")?;
    let running = Running::start_with(config, Arc::new(IdleLauncher::default()), shutdown.clone()).await?;
    writeln!(std::io::stdout().lock(), "{} {}", running.public, running.internal)?;
    shutdown.token().cancelled().await;
    running.stop().await
}
