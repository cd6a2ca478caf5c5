//! The `cliscale-controller` process: reads its settings, starts tracing, and hands over.

use std::process::ExitCode;

use clap::Parser;
use controller::config::Flags;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Flags::parse().config() {
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
