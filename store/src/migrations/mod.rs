//! The schema: every migration with its undo, applied and taken back on both backends, by any number of processes at
//! once.
//!
//! refinery applies them and keeps their history; what it lacks is here: the undo, the lock, the deadlines, and a
//! judgement of what it finds. Each run and each rollback is one transaction together with its record, so that a kill
//! leaves either all of it or nothing. docs/migrations.md is the manual.

mod create;
mod error;
pub mod files;
mod history;
mod postgres;
pub(crate) mod sqlite;

use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

pub use create::{CreateError, create};
pub use error::{MigrateError, Result};
pub use history::{Entry, State, Status};
pub use postgres::require_current;

// `const SQLITE: &[Script]` and `const POSTGRES: &[Script]`, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// One migration, with what takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    pub version: i32,
    pub name: &'static str,
    pub up: &'static str,
    pub undo: &'static str,
}

impl Script {
    /// `V1__initial`, as the file is named.
    pub fn title(&self) -> String {
        format!("V{}__{}", self.version, self.name)
    }

    fn migration(&self) -> Result<refinery::Migration> {
        refinery::Migration::unapplied(&self.title(), self.up)
            .map_err(|error| MigrateError::Database(format!("{}: {error}", self.title())))
    }
}

/// The migrations of one backend, by version.
#[derive(Debug, Clone)]
pub struct Scripts(Vec<Script>);

impl Scripts {
    /// This release's.
    pub fn sqlite() -> Self {
        Self(SQLITE.to_vec())
    }

    /// This release's.
    pub fn postgres() -> Self {
        Self(POSTGRES.to_vec())
    }

    /// Those up to a version, as an older release has them.
    pub fn up_to(mut self, version: i32) -> Self {
        self.0.retain(|script| script.version <= version);
        self
    }

    /// With one more, as a newer release has it; its version is the next one.
    pub fn and(mut self, name: &'static str, up: &'static str, undo: &'static str) -> Self {
        let version = self.latest() + 1;
        self.0.push(Script { version, name, up, undo });
        self
    }

    /// The last version; 0 where there is none.
    pub fn latest(&self) -> i32 {
        self.0.iter().map(|script| script.version).max().unwrap_or(0)
    }

    pub fn get(&self, version: i32) -> Option<&Script> {
        self.0.iter().find(|script| script.version == version)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Script> {
        self.0.iter()
    }

    /// All that a run applies is one transaction (grouped). A newer release's migrations may be there already: each
    /// release runs on the next one's schema.
    fn runner(&self) -> Result<refinery::Runner> {
        let migrations = self.iter().map(Script::migration).collect::<Result<Vec<_>>>()?;
        Ok(refinery::Runner::new(&migrations).set_grouped(true).set_abort_missing(false))
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All waiting for others together: another migration that runs, a transaction that holds a lock.
    pub wait: Duration,
    /// Each wait for a lock on a table (PostgreSQL). While a migration waits for one, everybody else who needs the
    /// table waits behind it; so it soon gives way, and comes back.
    pub lock: Duration,
    /// Each statement of a script (PostgreSQL).
    pub statement: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(60), lock: Duration::from_secs(2), statement: Duration::from_secs(600) }
    }
}

/// What a run found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was applied now, in its order.
    pub applied: Vec<String>,
    /// What a newer release had applied before.
    pub newer: Vec<String>,
}

/// Brings one database's schema up to date, back, or into words.
pub struct Migrator {
    database: Database,
    scripts: Scripts,
    limits: Limits,
}

enum Database {
    Sqlite(PathBuf),
    Postgres(Box<tokio_postgres::Client>),
}

impl Migrator {
    /// On a file, which [`Migrator::up`] creates (mode 0600) where there is none.
    pub fn sqlite(path: &Path) -> Self {
        Self { database: Database::Sqlite(path.to_owned()), scripts: Scripts::sqlite(), limits: Limits::default() }
    }

    /// On a connection of its own: its settings are changed, and its end gives the lock back. It must be a session of
    /// the server's, not one that a pooler lends for each transaction.
    pub fn postgres(client: tokio_postgres::Client) -> Self {
        let database = Database::Postgres(Box::new(client));
        Self { database, scripts: Scripts::postgres(), limits: Limits::default() }
    }

    /// Another release's migrations.
    pub fn with_scripts(self, scripts: Scripts) -> Self {
        Self { scripts, ..self }
    }

    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// How every migration stands. Changes nothing, and takes no lock.
    pub async fn status(&mut self) -> Result<Status> {
        match &mut self.database {
            Database::Sqlite(path) => {
                let (path, scripts) = (path.clone(), self.scripts.clone());
                sqlite::patiently(self.limits.wait, move || sqlite::status_at(&path, &scripts)).await
            }
            Database::Postgres(client) => postgres::status(&**client, &self.scripts).await,
        }
    }

    /// Refuses a status that [`Migrator::up`] would refuse.
    pub fn check(&self, status: &Status) -> Result<()> {
        status.check(&self.scripts)
    }

    /// Applies what is pending.
    pub async fn up(&mut self) -> Result<Report> {
        match &mut self.database {
            Database::Sqlite(path) => {
                let (path, scripts) = (path.clone(), self.scripts.clone());
                sqlite::patiently(self.limits.wait, move || sqlite::up_at(&path, &scripts)).await
            }
            Database::Postgres(client) => postgres::up(client, &self.scripts, self.limits).await,
        }
    }

    /// Takes the last migration back, and tells which one that was; `None` when none was applied.
    pub async fn rollback(&mut self) -> Result<Option<String>> {
        match &mut self.database {
            Database::Sqlite(path) => {
                let (path, scripts) = (path.clone(), self.scripts.clone());
                sqlite::patiently(self.limits.wait, move || sqlite::rollback_at(&path, &scripts)).await
            }
            Database::Postgres(client) => postgres::rollback(client, &self.scripts, self.limits).await,
        }
    }
}

/// The pauses of whoever waits for something that may pass, jittered, since several may wait for the same.
pub fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build()
}

/// Sleeps for the next of the pauses, though not past the deadline; `false` when that is over.
pub async fn pause(pauses: &mut ExponentialBackoff, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let Some(length) = pauses.next().filter(|_| !left.is_zero()) else { return false };
    tokio::time::sleep(length.min(left)).await;
    true
}
