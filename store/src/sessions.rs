//! Creating, advancing and ending sessions: what goes in, and what comes out.

use session::{ApiKeyId, RunnerId, SessionId, SessionSecrets, SessionSpec};

use crate::{Assignment, Digest, NewRunner, NewToken, SessionRecord, Time};

/// A session to create.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: SessionId,
    pub spec: SessionSpec,
    pub secrets: SessionSecrets,
    pub api_key: ApiKeyId,
    pub expires_at: Time,
    pub idempotency: Option<Idempotency>,
    /// `None`: unlimited.
    pub rate: Option<Rate>,
    /// The most sessions that may be active at once; `None`: unlimited.
    pub max_sessions: Option<u32>,
    pub token: NewToken,
    pub placement: Placement,
}

/// A caller's promise that requests with the same key are the same request.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// As sent; scoped by the API key.
    pub key: String,
    /// Of the request's body.
    pub body: Digest,
}

/// At most `per_minute` creations by `scope` in any 60 seconds.
#[derive(Debug, Clone)]
pub struct Rate {
    pub scope: String,
    pub per_minute: u32,
}

/// Where a session's terminal will be.
#[derive(Debug, Clone)]
pub enum Placement {
    /// An idle runner of the template's pool, or this new one.
    Runner(NewRunner),
    /// An idle runner of the template's pool. Where there is none, nothing is created: no other can be launched now, or
    /// shall be.
    IdleRunner,
    /// A ttyd-compatible server at a fixed address, `HOST:PORT`.
    Fixed { runner: RunnerId, address: String },
}

/// The idle runner that a session was given.
#[derive(Debug, Clone)]
pub struct Idle {
    /// When it called home.
    pub since: Time,
    /// What [`crate::Store::assignment`] would answer now; `None`: that has to be asked.
    pub assignment: Option<Box<Assignment>>,
}

/// How a creation went.
#[derive(Debug, Clone)]
pub enum Creation {
    /// `idle`: an idle runner was taken, so the new one must not be launched.
    Created {
        session: SessionRecord,
        runner: RunnerId,
        idle: Option<Idle>,
    },
    /// The same key and body came before. The new token belongs to that session.
    Repeated(SessionRecord),
    /// The same key came before with another body.
    IdempotencyMismatch,
    RateLimited {
        retry_after_secs: u64,
    },
    AtCapacity {
        active: u32,
    },
    /// An idle runner was wanted, and there is none.
    NoIdleRunner,
}

/// How a report of a stage was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    Moved,
    /// Late or repeated: the session is there already or past it.
    Unchanged,
    /// The session has ended, or another runner has it: the reporter must stop.
    Fenced,
    Unknown,
}

/// How a moved deadline was taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Extension {
    /// The session as it is now; a deadline that was later already stays.
    Extended(Box<SessionRecord>),
    /// The session is over.
    Ended,
    Unknown,
}

/// How an end was taken.
#[derive(Debug, Clone, PartialEq)]
pub enum EndOutcome {
    /// This reason is the one.
    Ended(SessionRecord),
    /// An earlier reason stays.
    Already(SessionRecord),
    /// The epoch is not the session's own.
    Fenced,
    Unknown,
}
