//! A real S3-compatible server (moto's) with one bucket, on a port of its own. It checks signatures and rights once it is
//! told to, and may be killed or held up.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::stack::signal;

pub const BUCKET: &str = "terminals";
/// It imports a lot before it listens.
const START: Duration = Duration::from_secs(90);

pub struct S3Server {
    child: Child,
    port: u16,
}

impl S3Server {
    /// Installs the server where that was not done before.
    pub async fn start() -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self::on_port(0).await
    }

    async fn on_port(port: u16) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/object-store/server");
        let installed = Command::new(script).stderr(Stdio::inherit()).output().await?;
        ensure!(installed.status.success(), "the S3-compatible server cannot be installed");
        let program = String::from_utf8(installed.stdout)?;
        let mut child = Command::new(program.trim())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("its standard error")?).lines();
        let deadline = Instant::now() + START;
        let port = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = tokio::time::timeout(left, lines.next_line()).await.context("it does not start")??;
            let Some(line) = line else { bail!("the S3-compatible server ended") };
            if let Some((_, rest)) = line.split_once("http://127.0.0.1:") {
                break rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse()?;
            }
        };
        // It logs each request.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let server = Self { child, port };
        let made = reqwest::Client::new().put(format!("{}/{BUCKET}", server.endpoint())).send().await?;
        ensure!(made.status().is_success(), "the bucket cannot be made: {}", made.status());
        Ok(server)
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on whoever has no rights here is refused, which is everybody.
    pub async fn refuse_all(&self, refuse: bool) -> Result<()> {
        // How many requests are answered to anybody.
        let count = if refuse { "0" } else { "inf" };
        let url = format!("{}/moto-api/reset-auth", self.endpoint());
        let told = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/octet-stream")
            .body(count)
            .send()
            .await?;
        ensure!(told.status().is_success(), "it cannot be told: {}", told.status());
        Ok(())
    }

    /// Holds it up: it takes connections and answers nothing.
    pub async fn pause(&self) -> Result<()> {
        signal(self.child.id().context("it has ended")?, "STOP").await
    }

    pub async fn resume(&self) -> Result<()> {
        signal(self.child.id().context("it has ended")?, "CONT").await
    }

    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The same address again, with an empty bucket.
    pub async fn restart(&mut self) -> Result<()> {
        *self = Self::on_port(self.port).await?;
        Ok(())
    }
}
