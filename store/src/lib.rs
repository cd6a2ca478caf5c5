//! Where sessions, runners, one-time tokens, tickets, idempotency, API keys and the audit trail are kept.
//!
//! The database is the truth; everything here is one transaction, and takes `now` from its caller so that time can be
//! tested. What callers branch on is in the answer; [`StoreError`] is for what went wrong.

mod access;
pub mod migrations;
pub mod pools;
pub mod postgres;
mod records;
mod runners;
mod seal;
mod sessions;
pub mod sqlite;

use async_trait::async_trait;
use session::state::Ended;
use session::{ApiKeyId, RunnerId, SessionId, Stage};
use tokio::sync::broadcast;

pub use access::{ApiKey, AuditEntry, Entrance, NewApiKey, NewTicket, NewToken, Return, TicketOutcome};
pub use pools::{Hold, PoolRecord, PoolTarget, Refill, Retired};
pub use records::{ActiveSession, Filter, Pruned, Retention, Route, RunnerRecord, RunnerState, SessionRecord};
pub use runners::{Assignment, Beat, NewRunner, ReadyOutcome, ReadyRunner, Replacement, RunnerCall};
pub use seal::{SealError, SealKey};
pub use sessions::{Advance, Creation, EndOutcome, Extension, Idempotency, Idle, NewSession, Placement, Rate};

/// A moment, in UTC, kept to the millisecond.
pub type Time = jiff::Timestamp;

/// SHA-256 of a token, key or body: what is stored instead of the thing itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        // SHA-256 has 32 bytes.
        Self(digest.as_ref().try_into().expect("32 bytes"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

/// What went wrong with the database. The text is for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, busy for too long, or out of space: may work later.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// A statement failed that should not have.
    #[error("database error: {0}")]
    Database(String),
    /// A row that does not say what it must.
    #[error("unreadable row: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Seal(#[from] SealError),
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// The database, as every other part sees it. One contract test suite runs on each implementation.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // Sessions.

    /// One transaction: idempotency, rate, capacity, session row, claim of an idle runner or a new one reserved for
    /// it, the first one-time token, and the entry in the audit trail. Nobody is woken by it: whoever waits for a session
    /// knows its id.
    async fn create_session(&self, new: NewSession, now: Time) -> Result<Creation>;
    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>>;
    /// Newest first.
    async fn sessions(&self, filter: Filter) -> Result<Vec<SessionRecord>>;
    /// All that have not ended, in any order.
    async fn active_sessions(&self) -> Result<Vec<ActiveSession>>;
    /// Records that the session has come to `stage`, unless it is past it or `epoch` is not its own. The session's
    /// secrets are dropped from `assigned` on, since the runner has them. `Stage::Ended` is an error here: [`Store::end`]
    /// takes the reason with it.
    async fn advance(&self, id: SessionId, epoch: u64, stage: Stage, now: Time) -> Result<Advance>;
    /// Ends a session: legal in every state; the first reason wins. `epoch` fences a runner's own report; `None` is
    /// for those who may end any assignment (the API, the reconciler).
    async fn end(&self, id: SessionId, epoch: Option<u64>, ended: Ended, now: Time) -> Result<EndOutcome>;
    /// Moves a session's deadline to `expires_at`, unless it is later already. How far it may be moved is the caller's to
    /// judge.
    async fn extend(&self, id: SessionId, expires_at: Time) -> Result<Extension>;

    // Ways in.

    /// Adds a one-time token to a session; `false` when there is no such session.
    async fn add_token(&self, session: SessionId, token: NewToken) -> Result<bool>;
    /// Whether a token could still be consumed.
    async fn token_waits(&self, jti: &str, session: SessionId, now: Time) -> Result<bool>;
    /// Consumes a token, and records the ticket that its holder gets, in one transaction. `None`: it was used, has
    /// expired, or never was. Of any number of simultaneous attempts exactly one gets the role.
    async fn consume_token(
        &self,
        jti: &str,
        session: SessionId,
        ticket: Option<NewTicket>,
        now: Time,
    ) -> Result<Option<session::Role>>;
    /// [`Store::route`] and [`Store::consume_token`] in one: the token is consumed, and the ticket recorded, where the
    /// session's backend speaks `tty.r1`, and left as it is where it speaks anything else, in front of which not every
    /// token may enter. `None`: there is no such session.
    async fn enter(&self, jti: &str, session: SessionId, ticket: NewTicket, now: Time) -> Result<Option<Entrance>>;
    /// [`Store::route`], and a resume ticket redeemed for its successor, in one transaction. A superseded ticket stays good
    /// for 60 s or until its successor is used, and being redeemed again replaces the successor that was not used. One
    /// presented after its successor was used ends its family. `None`: there is no such session.
    async fn redeem_ticket(
        &self,
        ticket: Digest,
        session: SessionId,
        successor: NewTicket,
        now: Time,
    ) -> Result<Option<Return>>;
    /// Whom a page token speaks for.
    async fn page_token(&self, token: Digest, session: SessionId) -> Result<Option<session::Role>>;
    /// What a gateway needs to know of a session.
    async fn route(&self, id: SessionId) -> Result<Option<Route>>;

    // Keys and the audit trail.

    /// Adds a key; one with the same hash that is there already stays, and is the answer.
    async fn add_api_key(&self, key: NewApiKey, now: Time) -> Result<ApiKey>;
    /// The key with this hash, unless it was revoked.
    async fn api_key(&self, hash: Digest) -> Result<Option<ApiKey>>;
    /// All that are not revoked, oldest first.
    async fn api_keys(&self) -> Result<Vec<ApiKey>>;
    async fn revoke_api_key(&self, id: ApiKeyId, now: Time) -> Result<bool>;
    async fn audit(&self, entry: AuditEntry, now: Time) -> Result<()>;

    // Runners.

    /// A runner calls home. Idempotent for the same boot token and secret; any other secret is refused.
    async fn runner_ready(&self, call: RunnerCall, now: Time) -> Result<ReadyOutcome>;
    async fn runner(&self, id: RunnerId) -> Result<Option<RunnerRecord>>;
    /// All that are not gone.
    async fn runners(&self) -> Result<Vec<RunnerRecord>>;
    /// All that a call to or from a runner needs, in one read; `None` before it called home and after it is gone, and for
    /// fixed backends.
    async fn ready_runner(&self, id: RunnerId) -> Result<Option<ReadyRunner>>;
    /// Those of several runners that are ready, in any order.
    async fn ready_runners(&self, ids: Vec<RunnerId>) -> Result<Vec<ReadyRunner>>;
    /// Keeps the launcher's own note about a runner (a process id, a Job's name). Answers whether the runner is wanted
    /// still: it is not gone, and its session, if it has one, has not ended.
    async fn set_runner_handle(&self, id: RunnerId, handle: String) -> Result<bool>;
    /// What to send to a runner that is ready and has a session that is not ended; `None` otherwise, and for fixed
    /// backends. The secrets are empty once a stage says that the runner has them.
    async fn assignment(&self, runner: RunnerId) -> Result<Option<Assignment>>;
    /// Gives a queued session another runner in place of one that cannot be reached, with the next epoch: an idle one of
    /// its pool, or the new one. `None` when the session has ended, has another runner by now, or was accepted (then its
    /// secrets are no longer here). The old runner is gone, and no longer has a session.
    async fn replace_runner(
        &self,
        session: SessionId,
        old: RunnerId,
        new: NewRunner,
        now: Time,
    ) -> Result<Option<Replacement>>;
    /// Records that runners live, in one batch.
    async fn beat(&self, beats: Vec<Beat>, now: Time) -> Result<()>;
    /// Records that a runner is gone, and drops its secret; the session is left as it is. A standby that dies before it
    /// called home, or soon after, makes its pool wait before the next. Answers the session that it
    /// had, if it had one and was not replaced, and again when asked again.
    async fn runner_gone(&self, id: RunnerId, now: Time) -> Result<Option<SessionId>>;

    // Pools of standbys.

    /// Makes a pool this controller's way, whatever it was before: to be called once, when a controller starts.
    async fn adopt_pool(&self, target: PoolTarget, now: Time) -> Result<()>;
    /// Adds as many of the new runners to a pool as it lacks and may have now; they are to be launched. Exact, however
    /// many controllers do this at once. Also confirms the pool, even with nobody to add: one that is not refilled for a
    /// minute counts as abandoned.
    async fn refill_pool(&self, target: PoolTarget, new: Vec<NewRunner>, now: Time) -> Result<Refill>;
    /// Takes the standbys out of a pool that are of another template, have waited too long, or are too many. They are
    /// gone, unless a session has claimed them first.
    async fn retire_standbys(&self, target: PoolTarget, now: Time) -> Result<Vec<Retired>>;
    /// The same for pools that no controller has confirmed for a while, which are forgotten then.
    async fn retire_abandoned(&self, now: Time) -> Result<Vec<Retired>>;
    /// By name.
    async fn pools(&self) -> Result<Vec<PoolRecord>>;
    /// Pauses or resumes the filling of a pool; `false` where there is no such pool.
    async fn pause_pool(&self, name: String, paused: bool) -> Result<bool>;

    // Upkeep.

    /// Deletes what is over: ended sessions with all that is theirs, expired tokens, tickets and idempotency rows,
    /// runners that are gone.
    async fn prune(&self, retention: Retention, now: Time) -> Result<Pruned>;
    /// One round trip to the database.
    async fn ping(&self) -> Result<()>;
    /// Wakes readers when a session may have changed. A hint: it may be lost, and SQLite does not tell of the changes of
    /// other processes, so readers also look now and then.
    fn changes(&self) -> broadcast::Receiver<SessionId>;
}
