//! The backend for many processes: PostgreSQL, through a pool of connections.
//!
//! Its methods mean what those of the embedded backend mean (`crate::sqlite`); the contract tests run on both. Rows and
//! advisory locks keep exact what several processes do at once (`locks`, `create`, `tickets`); every transaction runs in
//! READ COMMITTED. The server's clock is never asked: `now` is the caller's.
//!
//! A gateway needs these rights, and no more: SELECT on sessions, runners and refinery_schema_history; SELECT and DELETE
//! on tokens; SELECT, INSERT, UPDATE and DELETE on tickets and page_tokens.

mod config;
mod connect;
mod create;
mod database;
mod failure;
mod keys;
mod lease;
mod locks;
mod notices;
mod open;
mod pools;
mod rehearsal;
mod rows;
mod runners;
mod sessions;
mod tickets;
mod tls;
mod tokens;
mod upkeep;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session::{ApiKeyId, Ended, Role, RunnerId, SessionId, Stage};
use tokio::sync::broadcast;

pub use self::config::PostgresConfig;
pub use self::connect::connect;
use self::database::{Database, Repeat};
use self::locks::{Lock, Locks};
use self::notices::Listener;
pub use self::rehearsal::Part;
pub use self::url::{InvalidUrl, PostgresUrl, Roots, SslMode, Tls};
use crate::{
    ActiveSession, Advance, ApiKey, Assignment, AuditEntry, Beat, Creation, Digest, EndOutcome, Entrance, Extension,
    Filter, NewApiKey, NewRunner, NewSession, NewTicket, NewToken, PoolRecord, PoolTarget, Pruned, ReadyOutcome,
    ReadyRunner, Refill, Replacement, Result, Retention, Retired, Return, Route, RunnerCall, RunnerRecord, SealKey,
    SessionRecord, Store, Time,
};

/// Changes that a slow reader may be behind before it loses some.
const CHANGES: usize = 1024;

/// A database on a server. Dropping it ends its connections once the operations that run have ended.
pub struct PostgresStore {
    database: Arc<Database>,
    _listener: Listener,
}

impl PostgresStore {
    /// Connects to a database whose schema is there already. Where it is away, this waits for up to `wait`; a schema that
    /// is older than this release is an error at once, and a newer one is taken as it is.
    pub async fn open(config: &PostgresConfig, key: SealKey, wait: Duration) -> Result<Self> {
        let (connector, pool) = open::open(config, wait).await?;
        let origin = notices::draw_origin().map_err(|failure| failure.during("opening the database"))?;
        let changes = broadcast::channel(CHANGES).0;
        let listener = notices::listen(connector, Arc::clone(&origin), changes.clone());
        let patience = config.patience();
        let database = Arc::new(Database { pool, key: Arc::new(key), changes, origin, patience });
        Ok(Self { database, _listener: listener })
    }

    /// Makes the connections of a server that is about to serve, and has PostgreSQL parse and plan on each what starts
    /// sessions, so that the first of them do not wait for it. Nothing is changed. A server may serve without it, or after
    /// it has failed.
    pub async fn rehearse(&self, part: Part) -> Result<()> {
        rehearsal::rehearse(&self.database, part, Time::now()).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn create_session(&self, new: NewSession, now: Time) -> Result<Creation> {
        self.database
            .write_one("creating a session", Repeat::Never, (new, now), |db, (new, now)| {
                Box::pin(create::create_session(db, new, *now))
            })
            .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>> {
        self.database.read("reading a session", id, |db, &id| Box::pin(rows::session(db, id))).await
    }

    async fn sessions(&self, filter: Filter) -> Result<Vec<SessionRecord>> {
        self.database.read("listing sessions", filter, |db, filter| Box::pin(sessions::list(db, filter))).await
    }

    async fn active_sessions(&self) -> Result<Vec<ActiveSession>> {
        self.database.read("listing active sessions", (), |db, ()| Box::pin(sessions::active(db))).await
    }

    async fn advance(&self, id: SessionId, epoch: u64, stage: Stage, now: Time) -> Result<Advance> {
        self.database
            .write_one("advancing a session", Repeat::Never, (id, epoch, stage, now), |db, &(id, epoch, stage, now)| {
                Box::pin(sessions::advance(db, id, epoch, stage, now))
            })
            .await
    }

    async fn end(&self, id: SessionId, epoch: Option<u64>, ended: Ended, now: Time) -> Result<EndOutcome> {
        self.database
            .write_one("ending a session", Repeat::Never, (id, epoch, ended, now), |db, (id, epoch, ended, now)| {
                Box::pin(sessions::end(db, *id, *epoch, ended, *now))
            })
            .await
    }

    async fn extend(&self, id: SessionId, expires_at: Time) -> Result<Extension> {
        self.database
            .write("extending a session", Repeat::Never, (id, expires_at), |db, (id, expires_at)| {
                Box::pin(sessions::extend(db, *id, *expires_at))
            })
            .await
    }

    async fn add_token(&self, session: SessionId, token: NewToken) -> Result<bool> {
        self.database
            .write("adding a token", Repeat::Never, (session, token), |db, (session, token)| {
                Box::pin(tokens::add(db, *session, token))
            })
            .await
    }

    async fn token_waits(&self, jti: &str, session: SessionId, now: Time) -> Result<bool> {
        self.database
            .read("looking for a token", (jti.to_owned(), session, now), |db, (jti, session, now)| {
                Box::pin(tokens::waits(db, jti, *session, *now))
            })
            .await
    }

    async fn consume_token(
        &self,
        jti: &str,
        session: SessionId,
        ticket: Option<NewTicket>,
        now: Time,
    ) -> Result<Option<Role>> {
        self.database
            .write_one(
                "consuming a token",
                Repeat::Never,
                (jti.to_owned(), session, ticket, now),
                |db, (jti, session, ticket, now)| Box::pin(tokens::consume(db, jti, *session, ticket.as_ref(), *now)),
            )
            .await
    }

    async fn enter(&self, jti: &str, session: SessionId, ticket: NewTicket, now: Time) -> Result<Option<Entrance>> {
        self.database
            .write_one(
                "entering a session",
                Repeat::Never,
                (jti.to_owned(), session, ticket, now),
                |db, (jti, session, ticket, now)| Box::pin(tokens::enter(db, jti, *session, ticket, *now)),
            )
            .await
    }

    async fn redeem_ticket(
        &self,
        ticket: Digest,
        session: SessionId,
        successor: NewTicket,
        now: Time,
    ) -> Result<Option<Return>> {
        self.database
            .write_one(
                "redeeming a ticket",
                Repeat::Never,
                (ticket, session, successor, now),
                |db, (ticket, session, successor, now)| {
                    Box::pin(tickets::redeem(db, *ticket, *session, successor, *now))
                },
            )
            .await
    }

    async fn page_token(&self, token: Digest, session: SessionId) -> Result<Option<Role>> {
        self.database
            .read("looking for a page token", (token, session), |db, &(token, session)| {
                Box::pin(tickets::page_token(db, token, session))
            })
            .await
    }

    async fn route(&self, id: SessionId) -> Result<Option<Route>> {
        self.database.read("routing to a session", id, |db, &id| Box::pin(sessions::route(db, id))).await
    }

    async fn add_api_key(&self, key: NewApiKey, now: Time) -> Result<ApiKey> {
        self.database
            .write("adding an API key", Repeat::Harmless, (key, now), |db, (key, now)| {
                Box::pin(keys::add(db, key, *now))
            })
            .await
    }

    async fn api_key(&self, hash: Digest) -> Result<Option<ApiKey>> {
        self.database.read("looking for an API key", hash, |db, &hash| Box::pin(keys::find(db, hash))).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.database.read("listing API keys", (), |db, ()| Box::pin(keys::list(db))).await
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: Time) -> Result<bool> {
        self.database
            .write("revoking an API key", Repeat::Never, (id, now), |db, &(id, now)| {
                Box::pin(keys::revoke(db, id, now))
            })
            .await
    }

    async fn audit(&self, entry: AuditEntry, now: Time) -> Result<()> {
        self.database
            .write("writing the audit trail", Repeat::Never, (entry, now), |db, (entry, now)| {
                Box::pin(keys::audit(db, entry, *now))
            })
            .await
    }

    async fn runner_ready(&self, call: RunnerCall, now: Time) -> Result<ReadyOutcome> {
        self.database
            .write("recording a call home", Repeat::Harmless, (call, now), |db, (call, now)| {
                Box::pin(runners::ready(db, call, *now))
            })
            .await
    }

    async fn runner(&self, id: RunnerId) -> Result<Option<RunnerRecord>> {
        self.database.read("reading a runner", id, |db, &id| Box::pin(rows::runner(db, id))).await
    }

    async fn runners(&self) -> Result<Vec<RunnerRecord>> {
        self.database.read("listing runners", (), |db, ()| Box::pin(runners::list(db))).await
    }

    async fn ready_runner(&self, id: RunnerId) -> Result<Option<ReadyRunner>> {
        self.database.read("reading a runner's call", id, |db, &id| Box::pin(runners::find_ready(db, id))).await
    }

    async fn ready_runners(&self, ids: Vec<RunnerId>) -> Result<Vec<ReadyRunner>> {
        self.database.read("reading runners' calls", ids, |db, ids| Box::pin(runners::find_all_ready(db, ids))).await
    }

    async fn set_runner_handle(&self, id: RunnerId, handle: String) -> Result<bool> {
        self.database
            .write_one("noting a runner's handle", Repeat::Harmless, (id, handle), |db, (id, handle)| {
                Box::pin(runners::set_handle(db, *id, handle))
            })
            .await
    }

    async fn assignment(&self, runner: RunnerId) -> Result<Option<Assignment>> {
        self.database
            .read("reading an assignment", runner, |db, &runner| Box::pin(runners::assignment(db, runner)))
            .await
    }

    async fn replace_runner(
        &self,
        session: SessionId,
        old: RunnerId,
        new: NewRunner,
        now: Time,
    ) -> Result<Option<Replacement>> {
        self.database
            .write("replacing a runner", Repeat::Never, (session, old, new, now), |db, (session, old, new, now)| {
                Box::pin(runners::replace(db, *session, *old, new, *now))
            })
            .await
    }

    async fn beat(&self, beats: Vec<Beat>, now: Time) -> Result<()> {
        self.database
            .write("recording heartbeats", Repeat::Harmless, (beats, now), |db, (beats, now)| {
                Box::pin(runners::beat(db, beats, *now))
            })
            .await
    }

    async fn runner_gone(&self, id: RunnerId, now: Time) -> Result<Option<SessionId>> {
        self.database
            .write("recording that a runner is gone", Repeat::Harmless, (id, now), |db, &(id, now)| {
                Box::pin(runners::gone(db, id, now))
            })
            .await
    }

    async fn adopt_pool(&self, target: PoolTarget, now: Time) -> Result<()> {
        self.database
            .write("adopting a pool", Repeat::Harmless, (target, now), |db, (target, now)| {
                Box::pin(pools::adopt(db, target, *now))
            })
            .await
    }

    async fn refill_pool(&self, target: PoolTarget, new: Vec<NewRunner>, now: Time) -> Result<Refill> {
        let locks = Locks::on(Lock::Pool, &target.name);
        self.database
            .write_under(locks, "filling a pool", Repeat::Never, (target, new, now), |db, (target, new, now)| {
                Box::pin(pools::refill(db, target, new, *now))
            })
            .await
    }

    async fn retire_standbys(&self, target: PoolTarget, now: Time) -> Result<Vec<Retired>> {
        self.database
            .write("retiring standbys", Repeat::Never, (target, now), |db, (target, now)| {
                Box::pin(pools::retire(db, target, *now))
            })
            .await
    }

    async fn retire_abandoned(&self, now: Time) -> Result<Vec<Retired>> {
        self.database
            .write("retiring abandoned standbys", Repeat::Never, now, |db, &now| {
                Box::pin(pools::retire_abandoned(db, now))
            })
            .await
    }

    async fn pools(&self) -> Result<Vec<PoolRecord>> {
        self.database.read("listing pools", (), |db, ()| Box::pin(pools::list(db))).await
    }

    async fn pause_pool(&self, name: String, paused: bool) -> Result<bool> {
        self.database
            .write("pausing a pool", Repeat::Harmless, (name, paused), |db, (name, paused)| {
                Box::pin(pools::pause(db, name, *paused))
            })
            .await
    }

    async fn prune(&self, retention: Retention, now: Time) -> Result<Pruned> {
        let mut all = Pruned::default();
        loop {
            let step = (retention, now);
            let step = self
                .database
                .write_under(Locks::on(Lock::Upkeep, ""), "pruning", Repeat::Harmless, step, |db, &(retention, now)| {
                    Box::pin(upkeep::prune(db, retention, now))
                })
                .await?;
            all += step.pruned;
            if !step.more {
                return Ok(all);
            }
        }
    }

    /// Also an error when the server takes no writes.
    async fn ping(&self) -> Result<()> {
        self.database.read("pinging", (), |db, ()| Box::pin(upkeep::touch(db))).await
    }

    fn changes(&self) -> broadcast::Receiver<SessionId> {
        self.database.changes.subscribe()
    }
}
