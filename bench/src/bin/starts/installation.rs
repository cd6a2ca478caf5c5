//! A controller on PostgreSQL, and a client of its API.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::pin::{Running, SUBJECT, pinned};
use bench::proc::{self, Usage};
use session::SessionId;
use session::api::{CreateSession, Entry};
use tempfile::TempDir;
use testkit::postgres::{Server, TestDatabase};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

use crate::http::Connection;

const API_KEY: &str = "of-a-bench-and-of-nothing-else";
/// Lines for [`crate::idle_launcher::News`].
pub type LaunchNews = Lines<BufReader<pipe::Receiver>>;

/// Longer than anything is measured for.
const HOUR: &str = "3600";

/// Everything ends with it.
pub struct Installation {
    pub process: Running,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    /// The launcher's, until somebody takes it.
    pub news: Option<LaunchNews>,
    _database: TestDatabase,
    _server: Server,
    _folder: TempDir,
}

/// Processor time that was used.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub controller_secs: f64,
    pub database_secs: f64,
}

impl Installation {
    pub async fn start() -> Result<Self> {
        let (server, folder) = (Server::start_new().await?, tempfile::tempdir()?);
        let database = server.database().await?;
        let mut command = pinned(std::env::current_exe()?, SUBJECT);
        command.args([
            "controller",
            "--create-rate",
            "1000000/min",
            "--boot-deadline-secs",
            HOUR,
            "--linger-secs",
            "0",
        ]);
        // Its launcher is another, whatever is said here.
        command.args(["--launcher", "static", "--static-backend", "127.0.0.1:9"]);
        for flag in ["--listen", "--internal-listen", "--admin-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.arg("--encryption-key-file").arg(folder.path().join("seal-key"));
        command.arg("--keys-dir").arg(folder.path().join("keys"));
        command.env("CLISCALE_DATABASE_URL", &database.url).env("CLISCALE_API_KEY", API_KEY);
        // The log is written as by default.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Running::start(&mut command)?;
        let output = process.0.stdout.take().context("its output")?;
        let mut news = BufReader::new(pipe::Receiver::from_owned_fd(output.into())?).lines();
        let addresses = news.next_line().await?.context("the controller does not serve")?;
        let (public, internal) = addresses.split_once(' ').context("two addresses")?;
        let (public, internal) = (public.parse()?, internal.parse()?);
        Ok(Self { process, public, internal, news: Some(news), _database: database, _server: server, _folder: folder })
    }

    pub fn spent(&self) -> Result<Spent> {
        let controller_secs = Usage::of(self.process.pid())?.cpu_secs;
        Ok(Spent { controller_secs, database_secs: proc::secs_of_children("postgres")? })
    }

    pub fn resident_mib(&self) -> Result<f64> {
        Ok(Usage::of(self.process.pid())?.resident_kib / 1024.0)
    }
}

impl Spent {
    pub fn since(self, earlier: Self) -> Self {
        Self {
            controller_secs: self.controller_secs - earlier.controller_secs,
            database_secs: self.database_secs - earlier.database_secs,
        }
    }

    /// In one second of a time over which this was spent.
    pub fn a_second_of(self, time: Duration) -> Self {
        self.times(1.0 / time.as_secs_f64())
    }

    pub fn controller_ms(self) -> f64 {
        self.controller_secs * 1000.0
    }

    pub fn database_ms(self) -> f64 {
        self.database_secs * 1000.0
    }

    pub fn times(self, factor: f64) -> Self {
        Self { controller_secs: self.controller_secs * factor, database_secs: self.database_secs * factor }
    }
}

/// Creates sessions over one connection.
pub struct Creator {
    connection: Connection,
    request: CreateSession,
}

impl Creator {
    pub async fn connect(public: SocketAddr) -> Result<Self> {
        let request = CreateSession {
            code_url: "https://github.com/owner/repository.git".into(),
            command: "npm start".into(),
            ..Default::default()
        };
        Ok(Self { connection: Connection::open(Ipv4Addr::LOCALHOST, public).await?, request })
    }

    pub async fn create(&mut self) -> Result<SessionId> {
        let answer = self.connection.post("/api/sessions", API_KEY, &self.request).await?;
        Ok(serde_json::from_slice::<Entry>(&answer)?.session_id)
    }
}
