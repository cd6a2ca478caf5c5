//! A controller and a gateway as processes of their own, which share a database, a key and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::archive_server::{ArchiveServer, Reply};
use testkit::cluster::code::tar_gz;
use testkit::cluster::replica::{Replica, field};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;
use tokio::sync::watch;
use url::Url;

pub struct World {
    pub api: Api,
    pub gateway: Api,
    /// Where the controller's internal port is.
    pub internal: SocketAddr,
    code: Url,
    pub controllers: Replica<Ports>,
    gateways: Replica<SocketAddr>,
    _archives: ArchiveServer,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn start(database_url: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let archives = ArchiveServer::start().await;
        let code = archives.serve("/empty.tar.gz", Reply::Whole(tar_gz(&[("README", b"nothing\n")])?));
        let path = |name: &str| folder.path().join(name).display().to_string();
        let shared = [
            ("CLISCALE_DATABASE_URL", database_url.to_owned()),
            ("CLISCALE_ENCRYPTION_KEY_FILE", path("encryption-key")),
            ("CLISCALE_LOG_FORMAT", "json".to_owned()),
            ("CLISCALE_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        let key = "key-of-a-test-of-two-processes";
        let settings = shared.clone().into_iter().chain([
            ("CLISCALE_INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_KEYS_DIR", path("keys")),
            ("CLISCALE_API_KEY", key.to_owned()),
            ("CLISCALE_LAUNCHER", "process".to_owned()),
            ("CLISCALE_WORK_DIR", path("work")),
            ("CLISCALE_CREATE_RATE", "10000/min".to_owned()),
            ("CLISCALE_ALLOW_PRIVATE_CODE_HOSTS", "true".to_owned()),
            ("CLISCALE_LINGER_SECS", "2".to_owned()),
        ]);
        std::fs::create_dir(folder.path().join("logs"))?;
        let (controllers, ports) = replica("cliscale-controller", settings, folder.path(), |lines| {
            let port = |name| field(lines, "the controller serves", |_| true, name);
            Some(Ports { public: port("public")?, internal: port("internal")? })
        });
        controllers.start(&[]).await?;
        let Ports { public, internal } = known(&ports)?;
        let api = Api::new(&format!("http://{public}"), key, SOON)?;
        let settings = shared.into_iter().chain([
            ("CLISCALE_ADMIN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_JWKS_URL", format!("{}/.well-known/jwks.json", api.api_url)),
            ("CLISCALE_CONTROLLER_URL", format!("http://{internal}")),
        ]);
        let (gateways, address) = replica("cliscale-gateway", settings, folder.path(), |lines| {
            field(lines, "listening", |fields| fields["what"] == "clients", "address")
        });
        gateways.start(&[]).await?;
        let gateway = Api::new(&format!("http://{}", known(&address)?), key, SOON)?;
        Ok(Self { api, gateway, internal, code, controllers, gateways, _archives: archives, folder })
    }

    pub fn request(&self, command: &str) -> Value {
        json!({ "code_url": self.code.as_str(), "command": command, "install_cmd": "" })
    }

    /// A session whose command runs, as it was answered, and its id.
    pub async fn running(&self, command: &str) -> Result<(Value, String)> {
        let entry = self.api.create(self.request(command)).await?;
        let id = entry["sessionId"].as_str().context("an id")?.to_owned();
        self.api.wait_for(&id, "running", |view| view["state"] == "running").await?;
        Ok((entry, id))
    }

    /// Opens an entry's terminal through the gateway.
    pub async fn open(&self, entry: &Value) -> Result<TerminalClient> {
        let mut url: Url = entry["webSocketUrl"].as_str().context("a URL")?.parse()?;
        let gateway: Url = self.gateway.api_url.parse()?;
        url.set_port(gateway.port()).map_err(|()| anyhow::anyhow!("a port"))?;
        TerminalClient::connect(url.as_str(), &[], &[TTY_R1]).await
    }

    /// Waits until both processes tell this of the database. Both call themselves ready all the time.
    pub async fn until_told(&self, healthy: bool) -> Result<()> {
        for process in [&self.api, &self.gateway] {
            let deadline = Instant::now() + SOON;
            loop {
                let began = Instant::now();
                let (status, health) = process.call(Method::GET, "/healthz", None).await?;
                ensure!(began.elapsed() < Duration::from_secs(5), "health took {:?}", began.elapsed());
                if (status, &health["db_healthy"]) == (200, &json!(healthy)) {
                    break;
                }
                ensure!(Instant::now() < deadline, "{} says {status}: {health}", process.api_url);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(process.call(Method::GET, "/readyz", None).await?.0, 200, "{}", process.api_url);
        }
        Ok(())
    }

    pub async fn stop(self) -> Result<()> {
        assert!(self.gateways.end("TERM").await?.success());
        assert!(self.controllers.end("TERM").await?.success(), "{}", self.logs());
        Ok(())
    }

    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(self.folder.path().join("logs")).into_iter().flatten().flatten();
        files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }
}

/// A controller's.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    public: SocketAddr,
    internal: SocketAddr,
}

fn replica<P: Copy + Send + Sync + 'static>(
    program: &'static str,
    settings: impl Iterator<Item = (&'static str, String)>,
    folder: &Path,
    ports: fn(&[Value]) -> Option<P>,
) -> (Replica<P>, watch::Receiver<Option<P>>) {
    let settings: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    let (tell, address) = watch::channel(None);
    // Nobody may be looking any more.
    let announce = move |address| {
        let _ = tell.send(address);
    };
    (Replica::new(program.to_owned(), program, settings, &folder.join("logs"), ports, announce), address)
}

fn known<P: Copy>(ports: &watch::Receiver<Option<P>>) -> Result<P> {
    ports.borrow().context("it serves")
}
