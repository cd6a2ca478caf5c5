//! A runner with a controller of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use session::runner_api::{Assign, CLIENT_HEADER, FetchPolicy, ROLE_HEADER};
use session::{AllowedHosts, SessionId, SessionSecrets, SessionSpec};
use tempfile::TempDir;
use testkit::fake_controller::{FakeController, spec};

use crate::pin::Running;
use crate::socket::Socket;

/// A terminal that says as much as it can.
pub const FLOOD: &str = "exec base64 /dev/zero";

pub struct Runner {
    pub process: Running,
    /// From its start until it had called home.
    pub boot: Duration,
    controller: FakeController,
    pub address: String,
    pub secret: String,
    folder: TempDir,
}

impl Runner {
    /// One whose heartbeats fall into no measurement.
    pub async fn start(program: &Path) -> Result<Self> {
        Self::start_beating(program, Duration::from_secs(3600)).await
    }

    pub async fn start_beating(program: &Path, every: Duration) -> Result<Self> {
        let controller = FakeController::start().await?;
        let folder = tempfile::tempdir()?;
        for name in ["code", "workspace", "home"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let mut command = Command::new(program);
        command.args(["--controller-url", &controller.url(), "--runner-id", &controller.runner().to_string()]);
        command.args(["--listen", "127.0.0.1:0", "--heartbeat-secs", &every.as_secs().to_string()]);
        command.arg("--workspace").arg(folder.path().join("workspace")).arg("--home").arg(folder.path().join("home"));
        command.env("CLISCALE_BOOT_TOKEN", controller.boot_token()).stdin(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let process = Running::start(&mut command)?;
        let ready = controller.wait_ready().await?;
        let boot = began.elapsed();
        let (address, secret) = (ready.address.to_string(), ready.secret.expose().to_owned());
        Ok(Self { process, boot, controller, address, secret, folder })
    }

    /// Assigns a command, with the code at `code_url` or in an empty folder.
    pub async fn assign(&self, command: &str, code_url: Option<&str>) -> Result<()> {
        let folder = self.folder.path().join("code");
        let code = code_url.map_or_else(|| folder.display().to_string(), str::to_owned);
        let spec = SessionSpec { in_place: code_url.is_none(), ..spec(code, command) };
        let assign = Assign {
            session: SessionId::new(),
            epoch: 1,
            deadline_ms: 3_600_000,
            max_deadline_ms: None,
            spec,
            secrets: SessionSecrets::default(),
            fetch: FetchPolicy { allowed_hosts: AllowedHosts::any(), allow_private: true, allow_local: true },
            recording: None,
        };
        let status = self.controller.assign(&assign).await?;
        ensure!(status.is_success(), "the assignment was answered with {status}");
        Ok(())
    }

    /// An operator that has said its hello.
    pub fn attach(&self) -> Result<Socket> {
        self.attach_at(&self.address)
    }

    /// The same at a proxy that passes on what it is sent.
    pub fn attach_at(&self, address: &str) -> Result<Socket> {
        let bearer = format!("Bearer {}", self.secret);
        let headers = [("Authorization", bearer.as_str()), (ROLE_HEADER, "operator"), (CLIENT_HEADER, "bench")];
        Socket::attach(address, "/ws", &headers)
    }
}
