//! Runners: launching, calling home, being assigned, living and going.

use session::{RunnerId, Secret, SessionId, SessionSecrets};

use crate::{Digest, SessionRecord, Time};

/// A runner that is about to be launched.
#[derive(Debug, Clone)]
pub struct NewRunner {
    pub id: RunnerId,
    /// Of the boot token that it is given.
    pub boot_token: Digest,
}

/// A runner calls home.
#[derive(Debug, Clone)]
pub struct RunnerCall {
    pub id: RunnerId,
    pub boot_token: Digest,
    /// The secret that it drew; stored sealed.
    pub secret: Secret,
    /// `IP:PORT`, already checked against the connection's peer.
    pub address: String,
}

/// How a call home was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyOutcome {
    /// Accepted, now or before; `session` is the one that waits for it.
    Accepted { session: Option<SessionId> },
    /// No such runner, or another boot token.
    Refused,
    /// It called before with another secret or address, or is gone.
    Conflict,
}

/// All that a runner is sent.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub session: SessionRecord,
    pub secrets: SessionSecrets,
    pub runner: RunnerId,
    /// `HOST:PORT`.
    pub address: String,
    pub runner_secret: Secret,
}

/// A runner that has called home and is not gone: where it is, what it shows, and whose it is.
#[derive(Debug, Clone)]
pub struct ReadyRunner {
    pub id: RunnerId,
    /// `HOST:PORT`.
    pub address: String,
    /// The one that it drew.
    pub secret: Secret,
    /// The session that it has, ended or not; none for a standby and for one that was replaced.
    pub session: Option<SessionRecord>,
}

/// A session's next runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replacement {
    /// Of the assignment to this one.
    pub epoch: u64,
    pub runner: RunnerId,
    /// It is an idle one that had been ready since then; else it is the new one, to be launched.
    pub idle_since: Option<Time>,
}

/// A sign of life.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    pub runner: RunnerId,
    /// Operators attached now.
    pub operators: u32,
    /// Milliseconds since the last output.
    pub quiet_ms: u64,
}
