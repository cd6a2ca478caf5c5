//! The embedded backend: SQLite in WAL mode, on one file.
//!
//! One thread writes and another reads, each with a connection of its own; in WAL mode neither blocks the other, and a
//! read sees all that was committed before it began. Several processes may have the file open: every writing
//! transaction takes the write lock as it begins (BEGIN IMMEDIATE) and waits up to 5 s for it.
//!
//! [`Store::changes`] tells of this process's own changes only.

mod create;
pub(crate) mod failure;
mod keys;
pub(crate) mod open;
mod pools;
mod rows;
mod runners;
mod sessions;
mod tickets;
mod tokens;
mod upkeep;
mod worker;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use session::{ApiKeyId, Ended, Role, RunnerId, SessionId, Stage};
use tokio::sync::broadcast;

use self::failure::Attempt;
use self::worker::Worker;
use crate::{
    ActiveSession, Advance, ApiKey, Assignment, AuditEntry, Beat, Creation, Digest, EndOutcome, Entrance, Extension,
    Filter, NewApiKey, NewRunner, NewSession, NewTicket, NewToken, PoolRecord, PoolTarget, Pruned, ReadyOutcome,
    ReadyRunner, Refill, Replacement, Result, Retention, Retired, Return, Route, RunnerCall, RunnerRecord, SealKey,
    SessionRecord, Store, StoreError, Time,
};

/// Changes that a slow reader may be behind before it loses some.
const CHANGES: usize = 1024;

/// The database in one file. Dropping it ends its threads and closes the file.
pub struct SqliteStore {
    writer: Worker,
    reader: Worker,
    key: Arc<SealKey>,
    changes: broadcast::Sender<SessionId>,
    file: open::DatabaseFile,
}

/// A writing transaction, and what it changes.
struct Write<'c> {
    db: rusqlite::Transaction<'c>,
    key: &'c SealKey,
    changed: Vec<SessionId>,
}

impl Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}

impl SqliteStore {
    /// Opens the database at `path`, creates it (mode 0600) where there is none, and applies the migrations.
    pub async fn open(path: &Path, key: SealKey) -> Result<Self> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open::open(&path))
            .await
            .map_err(|_| StoreError::Database("opening the database: panicked".to_owned()))??;
        let start = |name, connection| {
            Worker::start(name, connection)
                .map_err(|error| StoreError::Unavailable(format!("starting a database thread: {error}")))
        };
        Ok(Self {
            writer: start("sqlite-write", opened.writer)?,
            reader: start("sqlite-read", opened.reader)?,
            key: Arc::new(key),
            changes: broadcast::channel(CHANGES).0,
            file: opened.file,
        })
    }

    /// One writing transaction. Its changes are told after the commit, by the thread itself, so that they are told even
    /// when the caller no longer waits.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Write<'_>) -> Attempt<T> + Send + 'static,
    ) -> Result<T> {
        // What is written to a file that lost its name is gone with the process.
        self.file.check()?;
        let (key, changes) = (Arc::clone(&self.key), self.changes.clone());
        let transaction = move |connection: &mut Connection| {
            // Immediate, as the connection is set.
            let db = connection.transaction()?;
            let mut write = Write { db, key: &key, changed: Vec::new() };
            let answer = work(&mut write)?;
            let Write { db, changed, .. } = write;
            db.commit()?;
            for id in changed {
                // Nobody may be listening.
                let _ = changes.send(id);
            }
            Ok(answer)
        };
        self.writer.run(operation, transaction).await
    }

    /// One statement that reads.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection, &SealKey) -> Attempt<T> + Send + 'static,
    ) -> Result<T> {
        self.file.check()?;
        let key = Arc::clone(&self.key);
        self.reader.run(operation, move |connection| work(connection, &key)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_session(&self, new: NewSession, now: Time) -> Result<Creation> {
        self.write("creating a session", move |db| create::create_session(db, &new, now)).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>> {
        self.read("reading a session", move |db, _| rows::session(db, id)).await
    }

    async fn sessions(&self, filter: Filter) -> Result<Vec<SessionRecord>> {
        self.read("listing sessions", move |db, _| sessions::list(db, &filter)).await
    }

    async fn active_sessions(&self) -> Result<Vec<ActiveSession>> {
        self.read("listing active sessions", |db, _| sessions::active(db)).await
    }

    async fn advance(&self, id: SessionId, epoch: u64, stage: Stage, now: Time) -> Result<Advance> {
        self.write("advancing a session", move |db| sessions::advance(db, id, epoch, stage, now)).await
    }

    async fn end(&self, id: SessionId, epoch: Option<u64>, ended: Ended, now: Time) -> Result<EndOutcome> {
        self.write("ending a session", move |db| sessions::end(db, id, epoch, &ended, now)).await
    }

    async fn extend(&self, id: SessionId, expires_at: Time) -> Result<Extension> {
        self.write("extending a session", move |db| sessions::extend(db, id, expires_at)).await
    }

    async fn add_token(&self, session: SessionId, token: NewToken) -> Result<bool> {
        self.write("adding a token", move |db| tokens::add(db, session, &token)).await
    }

    async fn token_waits(&self, jti: &str, session: SessionId, now: Time) -> Result<bool> {
        let jti = jti.to_owned();
        self.read("looking for a token", move |db, _| tokens::waits(db, &jti, session, now)).await
    }

    async fn consume_token(
        &self,
        jti: &str,
        session: SessionId,
        ticket: Option<NewTicket>,
        now: Time,
    ) -> Result<Option<Role>> {
        let jti = jti.to_owned();
        self.write("consuming a token", move |db| tokens::consume(db, &jti, session, ticket, now)).await
    }

    async fn enter(&self, jti: &str, session: SessionId, ticket: NewTicket, now: Time) -> Result<Option<Entrance>> {
        let jti = jti.to_owned();
        self.write("entering a session", move |db| tokens::enter(db, &jti, session, ticket, now)).await
    }

    async fn redeem_ticket(
        &self,
        ticket: Digest,
        session: SessionId,
        successor: NewTicket,
        now: Time,
    ) -> Result<Option<Return>> {
        self.write("redeeming a ticket", move |db| tickets::redeem(db, ticket, session, &successor, now)).await
    }

    async fn page_token(&self, token: Digest, session: SessionId) -> Result<Option<Role>> {
        self.read("looking for a page token", move |db, _| tickets::page_token(db, token, session)).await
    }

    async fn route(&self, id: SessionId) -> Result<Option<Route>> {
        self.read("routing to a session", move |db, key| sessions::route(db, key, id)).await
    }

    async fn add_api_key(&self, key: NewApiKey, now: Time) -> Result<ApiKey> {
        self.write("adding an API key", move |db| keys::add(db, &key, now)).await
    }

    async fn api_key(&self, hash: Digest) -> Result<Option<ApiKey>> {
        self.read("looking for an API key", move |db, _| keys::find(db, hash)).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.read("listing API keys", |db, _| keys::list(db)).await
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: Time) -> Result<bool> {
        self.write("revoking an API key", move |db| keys::revoke(db, id, now)).await
    }

    async fn audit(&self, entry: AuditEntry, now: Time) -> Result<()> {
        self.write("writing the audit trail", move |db| keys::audit(db, &entry, now)).await
    }

    async fn runner_ready(&self, call: RunnerCall, now: Time) -> Result<ReadyOutcome> {
        self.write("recording a call home", move |db| runners::ready(db, &call, now)).await
    }

    async fn runner(&self, id: RunnerId) -> Result<Option<RunnerRecord>> {
        self.read("reading a runner", move |db, _| rows::runner(db, id)).await
    }

    async fn runners(&self) -> Result<Vec<RunnerRecord>> {
        self.read("listing runners", |db, _| runners::list(db)).await
    }

    async fn ready_runner(&self, id: RunnerId) -> Result<Option<ReadyRunner>> {
        self.read("reading a runner's call", move |db, key| runners::find_ready(db, key, id)).await
    }

    async fn ready_runners(&self, ids: Vec<RunnerId>) -> Result<Vec<ReadyRunner>> {
        self.read("reading runners' calls", move |db, key| {
            ids.iter().filter_map(|&id| runners::find_ready(db, key, id).transpose()).collect()
        })
        .await
    }

    async fn set_runner_handle(&self, id: RunnerId, handle: String) -> Result<bool> {
        self.write("noting a runner's handle", move |db| runners::set_handle(db, id, &handle)).await
    }

    async fn assignment(&self, runner: RunnerId) -> Result<Option<Assignment>> {
        self.read("reading an assignment", move |db, key| runners::assignment(db, key, runner)).await
    }

    async fn replace_runner(
        &self,
        session: SessionId,
        old: RunnerId,
        new: NewRunner,
        now: Time,
    ) -> Result<Option<Replacement>> {
        self.write("replacing a runner", move |db| runners::replace(db, session, old, &new, now)).await
    }

    async fn beat(&self, beats: Vec<Beat>, now: Time) -> Result<()> {
        self.write("recording heartbeats", move |db| runners::beat(db, &beats, now)).await
    }

    async fn runner_gone(&self, id: RunnerId, now: Time) -> Result<Option<SessionId>> {
        self.write("recording that a runner is gone", move |db| runners::gone(db, id, now)).await
    }

    async fn adopt_pool(&self, target: PoolTarget, now: Time) -> Result<()> {
        self.write("adopting a pool", move |db| pools::adopt(db, &target, now)).await
    }

    async fn refill_pool(&self, target: PoolTarget, new: Vec<NewRunner>, now: Time) -> Result<Refill> {
        self.write("filling a pool", move |db| pools::refill(db, &target, &new, now)).await
    }

    async fn retire_standbys(&self, target: PoolTarget, now: Time) -> Result<Vec<Retired>> {
        self.write("retiring standbys", move |db| pools::retire(db, &target, now)).await
    }

    async fn retire_abandoned(&self, now: Time) -> Result<Vec<Retired>> {
        self.write("retiring abandoned standbys", move |db| pools::retire_abandoned(db, now)).await
    }

    async fn pools(&self) -> Result<Vec<PoolRecord>> {
        self.read("listing pools", |db, _| pools::list(db)).await
    }

    async fn pause_pool(&self, name: String, paused: bool) -> Result<bool> {
        self.write("pausing a pool", move |db| pools::pause(db, &name, paused)).await
    }

    async fn prune(&self, retention: Retention, now: Time) -> Result<Pruned> {
        self.write("pruning", move |db| upkeep::prune(db, retention, now)).await
    }

    /// Also an error when the file is no longer at its path, which SQLite alone would not notice.
    async fn ping(&self) -> Result<()> {
        self.file.check()?;
        self.reader.run("pinging", |db| upkeep::touch(db)).await?;
        self.writer.run("pinging", |db| upkeep::touch(db)).await
    }

    fn changes(&self) -> broadcast::Receiver<SessionId> {
        self.changes.subscribe()
    }
}
