//! The server that `run` starts for itself when there is none: everything of it is gone afterwards, except the copy
//! that the command ran in.

use std::path::Path;

use anyhow::Context;
use service::telemetry::{self, LogFormat};
use session::SpecLimits;
use session::spec::MAX_IDLE_SECS;
use std::time::Duration;
use tempfile::TempDir;

use crate::api::Client;
use crate::up::{RunningUp, Up, UpConfig};

/// The terminal is the command's; only what stops it from working may be written across it.
const QUIET: &str = "error";
/// Long enough for the last output to be read.
const LINGER: Duration = Duration::from_secs(10);

pub struct Embedded {
    up: RunningUp,
    pub client: Client,
    data: TempDir,
    work: TempDir,
}

impl Embedded {
    pub async fn start() -> anyhow::Result<Self> {
        let filter = std::env::var("CLISCALE_LOG").unwrap_or_else(|_| QUIET.to_owned());
        telemetry::start(LogFormat::Text, &filter);
        let data = tempfile::Builder::new().prefix("cliscale-run-").tempdir()?;
        let work = tempfile::Builder::new().prefix("cliscale-work-").tempdir()?;
        let limits = SpecLimits::default();
        let config = UpConfig {
            work_dir: Some(work.path().to_owned()),
            keep_workspaces: true,
            linger: LINGER,
            // It lives as long as the command does: the limits that protect a server from being forgotten would only
            // cut a long build short.
            limits: SpecLimits {
                default_ttl: limits.max_ttl,
                default_idle: Duration::from_secs(MAX_IDLE_SECS),
                local: true,
                ..limits
            },
            // Whoever runs this command could fetch from there themselves.
            allow_private_code_hosts: true,
            ..UpConfig::local(data.path().to_owned())
        };
        let up = Up::start(config).await.context("starting a server for this run")?;
        let client = Client::new(up.api_url.clone(), up.api_key.clone())?;
        Ok(Self { up, client, data, work })
    }

    /// Stops it. Keeps the workspaces' folder when `workspace` lies in it, and removes all else.
    pub async fn stop(self, workspace: Option<&Path>) {
        if !self.up.stop().await {
            tracing::warn!("stopped with some work unfinished");
        }
        let own = self.work.path().canonicalize().unwrap_or_else(|_| self.work.path().to_owned());
        if workspace.is_some_and(|path| path.starts_with(&own)) {
            let _ = self.work.keep();
        }
        drop(self.data);
    }
}
