//! Rows as the other parts see them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use session::frames::Wire;
use session::state::Ended;
use session::{ApiKeyId, RunnerId, Secret, SessionId, SessionSpec, SessionState, Stage};

use crate::Time;

/// A session, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    pub id: SessionId,
    pub spec: SessionSpec,
    pub stage: Stage,
    pub ended: Option<Ended>,
    pub api_key: ApiKeyId,
    pub created_at: Time,
    /// When the command began to run.
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// When it ends at the latest.
    pub expires_at: Time,
    /// The wire that its backend speaks.
    pub wire: Wire,
    pub runner: Option<RunnerId>,
    /// Grows with every assignment to a runner.
    pub epoch: u64,
    /// The last time that its runner said an operator was attached or output came; the creation before that.
    pub active_at: Time,
}

impl SessionRecord {
    pub fn state(&self) -> SessionState {
        self.stage.state()
    }

    /// The latest that the deadline can be moved to.
    pub fn max_expires_at(&self) -> Time {
        self.created_at.saturating_add(Duration::from_secs(self.spec.max_ttl_secs())).unwrap_or(Time::MAX)
    }

    /// What there is to watch about it; `None` once it has ended.
    pub fn active(&self) -> Option<ActiveSession> {
        let &Self { id, stage, wire, runner, epoch, expires_at, active_at, .. } = self;
        let active =
            ActiveSession { id, stage, wire, runner, epoch, expires_at, active_at, idle_secs: self.spec.idle_secs };
        self.ended.is_none().then_some(active)
    }
}

/// What there is to watch about a session that has not ended: of these there may be ten thousand at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveSession {
    pub id: SessionId,
    pub stage: Stage,
    pub wire: Wire,
    pub runner: Option<RunnerId>,
    pub epoch: u64,
    pub expires_at: Time,
    pub active_at: Time,
    /// How long nobody may be attached and nothing be printed.
    pub idle_secs: u64,
}

/// What of a session's stored specification an [`ActiveSession`] has. The rest is passed over.
#[derive(Deserialize)]
pub(crate) struct WatchedSpec {
    pub idle_secs: u64,
}

/// Where a runner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerState {
    /// Launched, or about to be; it has not called home.
    Booting,
    /// Ready, and nobody's.
    Idle,
    /// Ready, and a session's.
    Claimed,
    /// No more.
    Gone,
}

impl RunnerState {
    pub const ALL: [RunnerState; 4] = [Self::Booting, Self::Idle, Self::Claimed, Self::Gone];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Idle => "idle",
            Self::Claimed => "claimed",
            Self::Gone => "gone",
        }
    }
}

/// A runner, without its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerRecord {
    pub id: RunnerId,
    pub state: RunnerState,
    pub session: Option<SessionId>,
    /// `HOST:PORT`, once it called home (fixed backends have it from the start).
    pub address: Option<String>,
    /// The launcher's own note.
    pub handle: Option<String>,
    /// Of a standby, also once a session has it.
    pub pool: Option<String>,
    pub created_at: Time,
    /// The last time that it called.
    pub seen_at: Option<Time>,
}

/// What a gateway needs: how far the session is, and where its terminal is.
#[derive(Debug, Clone)]
pub struct Route {
    pub session: SessionId,
    pub stage: Stage,
    pub ended: Option<Ended>,
    pub wire: Wire,
    pub epoch: u64,
    /// `HOST:PORT` of a runner that is ready and not gone.
    pub address: Option<String>,
    /// The runner's secret; a stock ttyd has none.
    pub secret: Option<Secret>,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only sessions older than this one.
    pub before: Option<SessionId>,
    /// At most this many; 0 means all.
    pub limit: u32,
    pub state: Option<SessionState>,
    /// Only sessions that carry all of these.
    pub labels: BTreeMap<String, String>,
}

/// How long what is over is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Ended sessions, with their tickets and page tokens.
    pub sessions: Duration,
    /// Idempotency rows.
    pub idempotency: Duration,
    /// Audit entries.
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            sessions: Duration::from_secs(7 * 24 * 3600),
            idempotency: Duration::from_secs(24 * 3600),
            audit: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// How many rows of each kind a pruning deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    pub sessions: u64,
    pub tokens: u64,
    pub tickets: u64,
    pub idempotency: u64,
    pub runners: u64,
    pub audit: u64,
}
