//! A controller and a gateway that are told to go while others still send clients to them: not ready any more, and useful
//! to the last moment.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::archive_server::{ArchiveServer, Reply};
use testkit::cluster::code::tar_gz;
use testkit::connector::Connector;
use testkit::stack::{SOON, binary, signal};
use testkit::terminal_client::TerminalClient;
use tokio::process::{Child, Command};

/// Far longer than a test: only a second signal ends it in time.
const DELAY: &str = "600";

struct Process {
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    fn start(folder: &Path, program: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let log = folder.join(format!("{program}.log"));
        let child = Command::new(binary(program))
            .env("CLISCALE_LISTEN", "127.0.0.1:0")
            .env("CLISCALE_LOG_FORMAT", "json")
            .env("CLISCALE_SHUTDOWN_DELAY_SECS", DELAY)
            .env("CLISCALE_DATABASE_URL", format!("sqlite:{}", folder.join("c.db").display()))
            .env("CLISCALE_ENCRYPTION_KEY_FILE", folder.join("seal.key"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// A field of the first log line that has the others' values.
    async fn logged(&self, having: &[(&str, &str)], field: &str) -> Result<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let log = std::fs::read_to_string(&self.log)?;
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut fields = lines.map(|line| line["fields"].clone());
            let found = fields.find(|fields| having.iter().all(|(name, value)| fields[*name] == *value));
            if let Some(found) = found {
                return Ok(found[field].as_str().context("a text")?.to_owned());
            }
            if Instant::now() > deadline {
                bail!("waited in vain for {having:?}: {log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn tell(&self, name: &str) -> Result<()> {
        signal(self.child.id().context("it runs")?, name).await
    }

    async fn exits_well(mut self) -> Result<()> {
        let status = tokio::time::timeout(SOON, self.child.wait()).await.context("it did not stop")??;
        anyhow::ensure!(status.success(), "{status}: {}", std::fs::read_to_string(&self.log)?);
        Ok(())
    }
}

async fn status(address: &str, path: &str) -> Result<u16> {
    let http = Connector::default().http()?.build()?;
    Ok(http.get(format!("http://{address}{path}")).send().await?.status().as_u16())
}

async fn wait_until_unready(address: &str) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while status(address, "/readyz").await? != 503 {
        anyhow::ensure!(Instant::now() < deadline, "{address} is still ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test]
async fn who_leaves_is_unready_at_once_and_serves_until_a_second_signal() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let archives = ArchiveServer::start().await;
    let code_url = archives.serve("/empty.tar.gz", Reply::Whole(tar_gz(&[("README", b"nothing\n")])?)).to_string();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let key = "a-key-of-a-test-and-nothing-else";
    let controller = Process::start(
        folder.path(),
        "cliscale-controller",
        &[
            ("CLISCALE_INTERNAL_LISTEN", "127.0.0.1:0"),
            ("CLISCALE_ADMIN_LISTEN", "127.0.0.1:0"),
            ("CLISCALE_KEYS_DIR", &path("keys")),
            ("CLISCALE_API_KEY", key),
            ("CLISCALE_WORK_DIR", &path("work")),
            ("CLISCALE_ALLOW_PRIVATE_CODE_HOSTS", "true"),
        ],
    )?;
    let public = controller.logged(&[("message", "the controller serves")], "public").await?;
    let gateway = Process::start(
        folder.path(),
        "cliscale-gateway",
        &[("CLISCALE_ADMIN", "127.0.0.1:0"), ("CLISCALE_JWKS_URL", &format!("http://{public}/.well-known/jwks.json"))],
    )?;
    let clients = gateway.logged(&[("message", "listening"), ("what", "clients")], "address").await?;
    assert_eq!((status(&public, "/readyz").await?, status(&clients, "/readyz").await?), (200, 200));

    controller.tell("TERM").await?;
    gateway.tell("TERM").await?;
    wait_until_unready(&public).await?;
    wait_until_unready(&clients).await?;
    assert_eq!((status(&public, "/healthz").await?, status(&clients, "/healthz").await?), (200, 200));
    let api = Api::new(&format!("http://{public}"), key, SOON)?;
    let entry = api.create(json!({ "code_url": code_url, "command": "read line", "install_cmd": "" })).await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let at = url.find("/ws/").context("a path")?;
    let mut terminal = TerminalClient::connect(&format!("ws://{clients}{}", &url[at..]), &[], &[TTY_R1]).await?;
    terminal.wait_for("› running", SOON).await?;

    gateway.tell("TERM").await?;
    assert_eq!(terminal.wait_closed(SOON).await?, Some(1012));
    gateway.exits_well().await?;
    controller.tell("TERM").await?;
    controller.exits_well().await
}
