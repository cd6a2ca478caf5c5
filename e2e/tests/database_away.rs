//! PostgreSQL goes away, or stalls, under a controller and a gateway that are processes of their own: nothing begins and
//! nobody enters, open terminals go on, no end and no token is lost, and all recovers by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use session::frames::{TTY_R1, close};
use testkit::api::Api;
use testkit::archive_server::{ArchiveServer, Reply};
use testkit::cluster::code::tar_gz;
use testkit::cluster::replica::{Replica, field};
use testkit::postgres::{self, Server};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// How long any answer may take while the database is in trouble.
const BOUND: Duration = Duration::from_secs(15);
/// Says what it reads.
const ECHO: &str = "while read line; do echo got $line; done";

struct World {
    api: Api,
    gateway: Api,
    code: Url,
    controllers: Replica<SocketAddr>,
    gateways: Replica<SocketAddr>,
    _archives: ArchiveServer,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(database_url: &str) -> Result<Self> {
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
        let key = "key-of-a-test-that-takes-the-database-away";
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
        let (controllers, address) = replica("cliscale-controller", settings, folder.path(), |lines| {
            field(lines, "the controller serves", |_| true, "public")
        });
        controllers.start(&[]).await?;
        let api = Api::new(&format!("http://{}", address_of(&address)?), key, SOON)?;
        let settings = shared.into_iter().chain([
            ("CLISCALE_ADMIN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_JWKS_URL", format!("{}/.well-known/jwks.json", api.api_url)),
        ]);
        let (gateways, address) = replica("cliscale-gateway", settings, folder.path(), |lines| {
            field(lines, "listening", |fields| fields["what"] == "clients", "address")
        });
        gateways.start(&[]).await?;
        let gateway = Api::new(&format!("http://{}", address_of(&address)?), key, SOON)?;
        Ok(Self { api, gateway, code, controllers, gateways, _archives: archives, folder })
    }

    fn request(&self, command: &str) -> Value {
        json!({ "code_url": self.code.as_str(), "command": command, "install_cmd": "" })
    }

    /// A session whose command runs, as it was answered, and its id.
    async fn running(&self, command: &str) -> Result<(Value, String)> {
        let entry = self.api.create(self.request(command)).await?;
        let id = entry["sessionId"].as_str().context("an id")?.to_owned();
        self.api.wait_for(&id, "running", |view| view["state"] == "running").await?;
        Ok((entry, id))
    }

    /// Opens an entry's terminal through the gateway.
    async fn open(&self, entry: &Value) -> Result<TerminalClient> {
        let mut url: Url = entry["webSocketUrl"].as_str().context("a URL")?.parse()?;
        let gateway: Url = self.gateway.api_url.parse()?;
        url.set_port(gateway.port()).map_err(|()| anyhow::anyhow!("a port"))?;
        TerminalClient::connect(url.as_str(), &[], &[TTY_R1]).await
    }

    /// Waits until both processes tell this of the database. Both call themselves ready all the time.
    async fn until_told(&self, healthy: bool) -> Result<()> {
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

    /// Nothing begins, and an unused token lets nobody in.
    async fn is_closed(&self, unused: &Value) -> Result<()> {
        let began = Instant::now();
        let answer = self.api.try_create("away", &self.request("exit 3")).await?;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.retry_after.is_some(), "{answer:?}");
        let mut stranger = self.open(unused).await?;
        assert_eq!(stranger.wait_closed(BOUND).await?, Some(close::UNAVAILABLE));
        assert!(stranger.tickets.is_none(), "somebody entered without a database");
        ensure!(began.elapsed() < BOUND, "the refusals took {:?}", began.elapsed());
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        assert!(self.gateways.end("TERM").await?.success());
        assert!(self.controllers.end("TERM").await?.success(), "{}", self.logs());
        Ok(())
    }

    fn logs(&self) -> String {
        let files = std::fs::read_dir(self.folder.path().join("logs")).into_iter().flatten().flatten();
        files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }
}

type Address = watch::Receiver<Option<SocketAddr>>;

fn replica(
    program: &'static str,
    settings: impl Iterator<Item = (&'static str, String)>,
    folder: &Path,
    ports: fn(&[Value]) -> Option<SocketAddr>,
) -> (Replica<SocketAddr>, Address) {
    let settings: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    let (tell, address) = watch::channel(None);
    // Nobody may be looking any more.
    let announce = move |address| {
        let _ = tell.send(address);
    };
    (Replica::new(program.to_owned(), program, settings, &folder.join("logs"), ports, announce), address)
}

fn address_of(address: &Address) -> Result<SocketAddr> {
    address.borrow().context("it serves")
}

/// Types a line and sees it answered.
async fn talk(client: &mut TerminalClient, line: &str) -> Result<()> {
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    client.type_at_offset(format!("{line}\r").as_bytes()).await?;
    client.wait_for(&format!("got {line}"), SOON).await
}

#[tokio::test]
async fn while_the_database_is_away_what_runs_goes_on_and_no_end_and_no_token_is_lost() -> Result<()> {
    if postgres::missing() {
        return Ok(());
    }
    let server = Server::start_new().await?;
    let database = server.database().await?;
    let world = World::start(&database.url).await?;
    let (entry, id) = world.running(ECHO).await?;
    let unused = world.api.token(&id, "operator").await?;
    let mut open = world.open(&entry).await?;
    talk(&mut open, "before").await?;
    let (ending, ended) = world.running("read line; exit 7").await?;
    let mut ending = world.open(&ending).await?;
    ending.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;

    server.stop().await?;
    world.until_told(false).await?;
    world.is_closed(&unused).await?;
    talk(&mut open, "meanwhile").await?;
    // A command that ends now is seen by who is there, and reported when somebody can take it down.
    ending.type_at_offset(b"now\r").await?;
    ending.wait_closed(SOON).await?;
    assert_eq!(ending.exit.as_ref().and_then(|exit| exit.code), Some(7));

    server.start().await?;
    world.until_told(true).await?;
    let view = world.api.wait_ended(&ended).await?;
    assert_eq!((&view["endReason"], &view["exitCode"]), (&json!("exited"), &json!(7)), "{view}");
    // The token was not used up by those who were turned away. On PostgreSQL tokens outlive an orderly stop.
    let mut late = world.open(&unused).await?;
    late.wait_for("got meanwhile", SOON).await?;
    talk(&mut open, "after").await?;
    let fresh = world.api.create(world.request("exit 3")).await?;
    let view = world.api.wait_ended(fresh["sessionId"].as_str().context("an id")?).await?;
    assert_eq!(view["exitCode"], 3, "{view}");
    assert_eq!(world.api.show(&id).await?["state"], "running");
    world.stop().await
}

/// A way to the server that can be made to carry nothing, as a network does that drops what it is given.
struct Way {
    address: SocketAddr,
    stalled: Arc<AtomicBool>,
}

impl Way {
    async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let way = Self { address: listener.local_addr()?, stalled: Arc::default() };
        let stalled = Arc::clone(&way.stalled);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let stalled = Arc::clone(&stalled);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = carry(from_client, to_server, &stalled) => {}
                        () = carry(from_server, to_client, &stalled) => {}
                    }
                });
            }
        });
        Ok(way)
    }

    fn carries(&self, carries: bool) {
        self.stalled.store(!carries, Ordering::SeqCst);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    stalled: &AtomicBool,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        while stalled.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_database_that_stalls_holds_nobody_up_for_long() -> Result<()> {
    if postgres::missing() {
        return Ok(());
    }
    let server = Server::shared().await?;
    let database = server.database().await?;
    let way = Way::to(server.port()).await?;
    let url = server.url_at(&way.address.to_string(), &database.name, "sslmode=disable");
    let world = World::start(&url).await?;
    let (entry, id) = world.running(ECHO).await?;
    let unused = world.api.token(&id, "operator").await?;
    let mut open = world.open(&entry).await?;
    talk(&mut open, "before").await?;

    way.carries(false);
    world.until_told(false).await?;
    world.is_closed(&unused).await?;
    talk(&mut open, "meanwhile").await?;

    way.carries(true);
    world.until_told(true).await?;
    talk(&mut open, "after").await?;
    let fresh = world.api.create(world.request("exit 3")).await?;
    let view = world.api.wait_ended(fresh["sessionId"].as_str().context("an id")?).await?;
    assert_eq!(view["exitCode"], 3, "{view}");
    assert_eq!(world.api.show(&id).await?["state"], "running");
    world.stop().await
}
