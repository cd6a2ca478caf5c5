//! The `cliscale-runner` binary: parse, shield, trace, hand over.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use runner::settings::{Args, LogFormat, Settings};
use runner::{boot, install, shield};
use session::Secret;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// sysexits.h: the command line or environment was wrong.
const EX_USAGE: u8 = 64;
/// sysexits.h: the runner itself failed.
const EX_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    let oom = match shield::raise() {
        Ok(oom) => oom,
        Err(error) => return complain(EX_UNAVAILABLE, &format!("the runner cannot be shielded: {error}")),
    };
    let args = Args::parse();
    if let Some(folder) = &args.install_to {
        return match install::install_to(folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(EX_UNAVAILABLE, &error.to_string()),
        };
    }
    trace(args.log_format);
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return complain(EX_USAGE, &error.to_string()),
    };
    if settings.lifeline {
        // Away from the launcher's terminal and job: its Ctrl-C is the launcher's to act on. It fails only for a
        // group's leader, and that is apart already.
        let _ = rustix::process::setsid();
    }
    let (boot_token, orphaned) = match boot_token(&settings) {
        Ok(found) => found,
        Err(error) => return complain(EX_USAGE, &error.to_string()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(EX_UNAVAILABLE, &error.to_string()),
    };
    let ended = runtime.block_on(runner::run(settings, boot_token, oom, orphaned));
    // A blocking read of some file must not keep an ended runner.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| complain(EX_UNAVAILABLE, &format!("{error:#}")))
}

fn boot_token(settings: &Settings) -> Result<(Secret, CancellationToken), boot::TokenError> {
    if !settings.lifeline {
        return Ok((boot::token_from_environment()?, CancellationToken::new()));
    }
    // Its own file, unbuffered: the standard one would read ahead of the first line.
    let mut lifeline = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let token = boot::token_from_lifeline(&mut lifeline)?;
    Ok((token, boot::watch_lifeline(lifeline)?))
}

fn trace(format: LogFormat) {
    // Targets and levels, and not the filter that also knows spans and fields: its regular expressions alone would be
    // a tenth of what a blank runner has resident.
    let asked = std::env::var("CLISCALE_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

fn complain(code: u8, why: &str) -> ExitCode {
    for line in why.lines() {
        eprintln!("cliscale-runner: {line}");
    }
    ExitCode::from(code)
}
