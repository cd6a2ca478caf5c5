//! A real PostgreSQL for tests: a server of the test process's own, on a free port, in a temporary directory, with
//! passwords and TLS, and fresh databases on it. Nothing of it outlives the test process, however that ends.
//!
//! It trades safety for speed: what it has written survives its own crash, though not the machine's.

mod certificates;
mod process;
mod programs;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use store::migrations::Migrator;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use self::process::{Cluster, Process, Signal};
use self::programs::Programs;

/// How long the server may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);
const TEMPLATE: &str = "cliscale_template";

/// Whether PostgreSQL is not installed here. Then the test that asks is skipped by name, except under CI, where that
/// fails it.
pub fn missing() -> bool {
    if Programs::find().is_some() {
        return false;
    }
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{test}: PostgreSQL is missing");
    println!("skipped: {test}: PostgreSQL is not installed (sudo apt-get install postgresql)");
    true
}

/// A server. Dropping it ends it.
pub struct Server {
    cluster: Cluster,
    /// `None` while it is stopped.
    process: Mutex<Option<Process>>,
    template: OnceCell<()>,
    databases: AtomicU32,
    /// Databases that no test has any more.
    released: Arc<Mutex<Vec<String>>>,
}

/// A database of one test's own. It is dropped some time after the test is done with it.
pub struct TestDatabase {
    /// With user and password, without TLS.
    pub url: String,
    pub name: String,
    released: Arc<Mutex<Vec<String>>>,
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Ok(mut released) = self.released.lock() {
            released.push(std::mem::take(&mut self.name));
        }
    }
}

impl TestDatabase {
    /// A connection past everything that is tested.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.url).await
    }
}

impl Server {
    /// The one that all tests of this process share: it is neither stopped nor changed.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start_new).await
    }

    /// One for a test that stops it.
    pub async fn start_new() -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into()).await
    }

    /// One that listens on this address as well as on loopback.
    pub async fn start_on(address: IpAddr) -> Result<Self> {
        let programs = Programs::find().context("PostgreSQL is not installed")?;
        let cluster = tokio::task::spawn_blocking(move || Cluster::create(programs, address)).await??;
        let server = Self {
            cluster,
            process: Mutex::default(),
            template: OnceCell::new(),
            databases: AtomicU32::new(0),
            released: Arc::default(),
        };
        server.start().await?;
        Ok(server)
    }

    /// Starts it, on the port that it has had, unless it runs. Answers once it takes connections.
    pub async fn start(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let url = self.url("postgres");
        loop {
            self.ensure_started()?;
            match connect(&url).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    bail!("PostgreSQL does not start: {error:#}\n{}", self.cluster.log());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Starts it again where it ended by itself: beside the children that one that was killed leaves for a moment, none
    /// starts.
    fn ensure_started(&self) -> Result<()> {
        let mut process = self.process.lock().expect("no panic");
        if let Some(running) = process.as_mut()
            && !running.has_ended()?
        {
            return Ok(());
        }
        if let Some(ended) = process.take() {
            ended.end(Signal::Forget)?;
        }
        *process = Some(self.cluster.start()?);
        Ok(())
    }

    /// Stops it in good order; its connections are closed. Its data stays.
    pub async fn stop(&self) -> Result<()> {
        self.end(Signal::Stop).await
    }

    /// Kills it: its memory is lost, and it recovers when it is started again.
    pub async fn crash(&self) -> Result<()> {
        self.end(Signal::Kill).await
    }

    async fn end(&self, signal: Signal) -> Result<()> {
        let process = self.process.lock().expect("no panic").take();
        let Some(process) = process else { return Ok(()) };
        tokio::task::spawn_blocking(move || process.end(signal)).await?
    }

    /// A fresh database with this release's schema.
    pub async fn database(&self) -> Result<TestDatabase> {
        self.template.get_or_try_init(async || self.create_template().await).await?;
        self.create(Some(TEMPLATE)).await
    }

    /// A fresh database with nothing in it.
    pub async fn empty_database(&self) -> Result<TestDatabase> {
        self.create(None).await
    }

    async fn create_template(&self) -> Result<()> {
        let admin = connect(&self.url("postgres")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await?;
        // Nobody may be connected to what is copied.
        let mut migrator = Migrator::postgres(connect(&self.url(TEMPLATE)).await?);
        migrator.up().await?;
        drop(migrator);
        let deadline = Instant::now() + PATIENCE;
        let connected = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1";
        while admin.query_one(connected, &[&TEMPLATE]).await?.get::<_, i64>(0) > 0 {
            anyhow::ensure!(Instant::now() < deadline, "a connection to {TEMPLATE} stays open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn create(&self, template: Option<&str>) -> Result<TestDatabase> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&self.url("postgres")).await?;
        for name in self.take_released() {
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        }
        let template = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
        admin.batch_execute(&format!("CREATE DATABASE {name}{template}")).await?;
        Ok(TestDatabase { url: self.url(&name), name, released: Arc::clone(&self.released) })
    }

    /// Several at once, since the server writes everything down before it drops one.
    fn take_released(&self) -> Vec<String> {
        let mut released = self.released.lock().expect("no panic");
        if released.len() < 8 { Vec::new() } else { std::mem::take(&mut *released) }
    }

    pub fn url(&self, database: &str) -> String {
        self.url_at(&format!("127.0.0.1:{}", self.cluster.port), database, "sslmode=disable")
    }

    /// The same database under another address, such as a proxy's, and with other parameters.
    pub fn url_at(&self, address: &str, database: &str, parameters: &str) -> String {
        format!("postgres://postgres:{}@{address}/{database}?{parameters}", self.cluster.password)
    }

    pub fn port(&self) -> u16 {
        self.cluster.port
    }

    /// The authority that signed the server's certificate, which is for `localhost` alone.
    pub fn ca(&self) -> PathBuf {
        self.cluster.ca()
    }

    /// An authority that signed nothing of the server's.
    pub fn other_ca(&self) -> PathBuf {
        self.cluster.other_ca()
    }
}

/// A client of any server, without TLS.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        // Its end is told to whoever uses the client.
        let _ = connection.await;
    });
    Ok(client)
}
