//! A controller and a gateway of their own, whose runners come up when the test lets them and not before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::api::Api;
use testkit::archive_server::{ArchiveServer, Reply};
use testkit::cluster::code::tar_gz;
use testkit::cluster::replica::{Replica, field};
use testkit::stack::{SOON, binary};
use tokio::sync::watch;

const KEY: &str = "a-key-of-a-test-and-nothing-else";

/// Ended when dropped, with its sessions.
pub struct Replicas {
    /// Where terminals are.
    pub clients: SocketAddr,
    /// Where the gateway tells what it counts.
    pub admin: SocketAddr,
    pub api: Api,
    code_url: String,
    go: PathBuf,
    controller: Replica<SocketAddr>,
    _gateway: Replica<(SocketAddr, SocketAddr)>,
    _archives: ArchiveServer,
    _folder: tempfile::TempDir,
}

impl Replicas {
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let archives = ArchiveServer::start().await;
        let archive = tar_gz(&[("README", b"nothing to run here\n")])?;
        let code_url = archives.serve("/code.tar.gz", Reply::Whole(archive)).to_string();
        let go = folder.path().join("go");
        let runner = write_slow_runner(folder.path(), &go)?;

        let path = |name: &str| folder.path().join(name).display().to_string();
        let both = [
            ("CLISCALE_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_LOG_FORMAT", "json".to_owned()),
            ("CLISCALE_DATABASE_URL", format!("sqlite:{}", path("c.db"))),
            ("CLISCALE_ENCRYPTION_KEY_FILE", path("seal.key")),
        ];
        let own = [
            ("CLISCALE_INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_KEYS_DIR", path("keys")),
            ("CLISCALE_API_KEY", KEY.to_owned()),
            ("CLISCALE_WORK_DIR", path("work")),
            ("CLISCALE_RUNNER_BIN", runner.display().to_string()),
            // Longer than any silence here: what is waited for must not be given up meanwhile.
            ("CLISCALE_BOOT_DEADLINE_SECS", "600".to_owned()),
            ("CLISCALE_ALLOW_PRIVATE_CODE_HOSTS", "true".to_owned()),
        ];
        let read = |lines: &[Value]| field(lines, "the controller serves", |_| true, "public");
        let (controller, public) = start("cliscale-controller", both.iter().chain(&own), folder.path(), read).await?;
        let own = [
            ("CLISCALE_ADMIN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_JWKS_URL", format!("http://{public}/.well-known/jwks.json")),
        ];
        let read = |lines: &[Value]| {
            let of = |what: &'static str| field(lines, "listening", |fields| fields["what"] == what, "address");
            of("clients").zip(of("metrics and health"))
        };
        let (gateway, (clients, admin)) =
            start("cliscale-gateway", both.iter().chain(&own), folder.path(), read).await?;
        let api = Api::new(&format!("http://{public}"), KEY, SOON)?;
        Ok(Self {
            clients,
            admin,
            api,
            code_url,
            go,
            controller,
            _gateway: gateway,
            _archives: archives,
            _folder: folder,
        })
    }

    /// A session, which has no runner yet.
    pub async fn create(&self, command: &str) -> Result<Value> {
        self.api.create(json!({ "code_url": self.code_url, "command": command, "install_cmd": "" })).await
    }

    /// From now on runners come up.
    pub fn let_runners_come(&self) -> Result<()> {
        Ok(std::fs::write(&self.go, "")?)
    }

    /// Stops the controller in good order, and with it the sessions' processes.
    pub async fn stop(self) -> Result<()> {
        self.let_runners_come()?;
        self.controller.end("TERM").await?;
        Ok(())
    }
}

async fn start<'a, P: Copy + Send + Sync + 'static>(
    program: &'static str,
    settings: impl Iterator<Item = &'a (&'static str, String)>,
    logs: &Path,
    read_ports: fn(&[Value]) -> Option<P>,
) -> Result<(Replica<P>, P)> {
    let settings: BTreeMap<String, String> =
        settings.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let (tell, told) = watch::channel(None);
    let announce = move |ports| {
        tell.send_replace(ports);
    };
    let replica = Replica::new(program.to_owned(), program, settings, logs, read_ports, announce);
    replica.start(&[]).await?;
    let ports = *told.borrow();
    Ok((replica, ports.context("ports")?))
}

/// A runner that comes up only once a file is there, and goes with the folder.
fn write_slow_runner(folder: &Path, go: &Path) -> Result<PathBuf> {
    let (path, runner) = (folder.join("slow-runner"), binary("cliscale-runner"));
    let (go, runner, here) = (go.display(), runner.display(), folder.display());
    let script = format!(
        "#!/bin/sh\nwhile [ ! -e '{go}' ]; do [ -e '{here}' ] || exit 1; sleep 0.2; done\nexec '{runner}' \"$@\"\n"
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
