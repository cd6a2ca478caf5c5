//! `cliscale up`: serves until it is told to stop.

use std::process::ExitCode;

use service::{Shutdown, telemetry};
use session::api::CreateSession;

use super::USAGE;
use crate::api::Client;
use crate::up::{RunningUp, Up, UpFlags, announce, demo_code};

pub async fn up(flags: &UpFlags) -> anyhow::Result<ExitCode> {
    let (config, log) = match flags.read() {
        Ok(read) => read,
        Err(errors) => {
            eprintln!("cliscale up: {errors}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    telemetry::start(log.format, &log.filter);
    let told = Shutdown::new();
    told.on_signals()?;
    let stop = told.token();
    if config.expose {
        tracing::warn!(
            "exposed: whoever gets a link or the API key runs commands as this user, and without TLS in front both \
             can be read on the way"
        );
    }
    let demo = config.demo;
    let up = tokio::select! {
        up = Up::start(config) => up?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let demo_url = if demo { start_demo(&up).await } else { None };
    if let Err(error) = announce(&up, demo_url.as_deref(), std::io::stdout().lock()) {
        tracing::warn!(%error, "the addresses could not be printed");
    }
    stop.cancelled().await;
    if !up.stop().await {
        tracing::warn!("stopped with some work unfinished");
    }
    Ok(ExitCode::SUCCESS)
}

/// A first session, as any caller of the API would make it. Without it the server is still worth running.
async fn start_demo(up: &RunningUp) -> Option<String> {
    let created = async {
        let request = CreateSession {
            code_url: demo_code(&up.data_dir)?.into(),
            command: "node index.js run".to_owned(),
            prompt: Some("Hello!".to_owned()),
            labels: [("demo".to_owned(), "sample-cli".to_owned())].into(),
            ..CreateSession::default()
        };
        let client = Client::new(up.api_url.clone(), up.api_key.clone())?;
        anyhow::Ok(client.create(&request).await?.terminal_url)
    };
    created.await.inspect_err(|error| tracing::error!(error = format!("{error:#}"), "no demo session")).ok()
}
