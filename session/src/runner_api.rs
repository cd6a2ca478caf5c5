//! What a runner and the controller say to each other. JSON over HTTP/1.1, inside the cluster or over loopback.
//!
//! Runner to controller (internal port), authorised by `Authorization: Bearer`:
//! - `POST /internal/runners/{id}/ready` with [`Ready`], boot token as bearer -> 200 | 401 | 409 (another secret came first)
//! - `POST /internal/runners/{id}/stage` with [`StageReport`], runner secret as bearer -> 204 | 401 | 409 (fenced: stop)
//! - `PUT /internal/runners/{id}/recording/{epoch}/{number}?offset=N[&last=true]` ([`crate::recording::Chunk`]) with at most
//!   [`crate::recording::MAX_CHUNK`] bytes of whole asciicast lines, runner secret as bearer -> 204 | 401 | 404 (nothing is
//!   kept here: stop recording) | 409 (fenced: stop recording) | 413 (as much as is kept: stop recording) | 503 (again)
//! - `POST /internal/runners/{id}/heartbeat` with [`Heartbeat`], runner secret as bearer -> 204 | 401 | 409 (fenced: stop)
//!
//! Controller to runner (its one port), runner secret as bearer:
//! - `PUT /assign` with [`Assign`] -> 200 (again for the same session and epoch) | 401 | 409
//! - `PUT /deadline` with [`MoveDeadline`] -> 204 (again for the same) | 401 | 409 (not this session or epoch)
//! - `POST /end` with [`End`] -> 202 (again while ending or ended) | 401
//! - `GET /healthz` -> 200, open to all | 401 when a secret is shown that is not this runner's
//!
//! Gateway to runner, runner secret as bearer:
//! - `GET /ws` upgrade, with [`ROLE_HEADER`] and [`CLIENT_HEADER`] -> 101 | 400 | 401 | 409 (no session after half a second)
//! - `GET /files/{path}` (one `Range` if wanted), `PUT /files/{path}`, `GET /files.tar.gz`, with [`ROLE_HEADER`] `operator`;
//!   paths are percent-encoded, below the folder that the command runs in -> 200, 206 | 201 (new), 204 (replaced) | a problem

use serde::{Deserialize, Serialize};

use crate::code_url::AllowedHosts;
use crate::ids::SessionId;
use crate::recording::RecordingPolicy;
use crate::secret::Secret;
use crate::spec::{SessionSecrets, SessionSpec};
use crate::state::{EndReason, Ended, Stage};

/// Raised when a runner and a controller could no longer understand each other.
pub const PROTOCOL_VERSION: u32 = 1;

/// The client's role, as the gateway admitted it: `operator` or `viewer`.
pub const ROLE_HEADER: &str = "cliscale-role";
/// The client's id, as the gateway knows it from token or ticket.
pub const CLIENT_HEADER: &str = "cliscale-client";

/// A runner calls home: it listens, and waits to be assigned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    pub protocol: u32,
    /// `IP:PORT` where it listens. The IP must be the connection's own peer address, or the one that the launcher knows.
    pub address: std::net::SocketAddr,
    /// The secret that it just drew: 256 random bits in hex.
    pub secret: Secret,
}

/// The session that a runner is to serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assign {
    pub session: SessionId,
    /// Fences late answers: grows with every assignment of a session.
    pub epoch: u64,
    pub spec: SessionSpec,
    pub secrets: SessionSecrets,
    /// Milliseconds until the session's deadline. Relative, since clocks differ.
    pub deadline_ms: u64,
    /// Milliseconds until the latest that the deadline can be moved to; `None` where it cannot be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deadline_ms: Option<u64>,
    pub fetch: FetchPolicy,
    /// `None`: nothing is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingPolicy>,
}

/// The session's deadline has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveDeadline {
    pub session: SessionId,
    pub epoch: u64,
    /// [`Assign::deadline_ms`]
    pub deadline_ms: u64,
    /// [`Assign::max_deadline_ms`]
    pub max_deadline_ms: u64,
}

/// What a runner may fetch from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchPolicy {
    pub allowed_hosts: AllowedHosts,
    /// Private, loopback and link-local addresses may be fetched from.
    pub allow_private: bool,
    /// `file://` and plain folders may be read.
    pub allow_local: bool,
}

/// A runner has come to another stage of its session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageReport {
    pub session: SessionId,
    pub epoch: u64,
    pub stage: Stage,
    /// Present exactly when `stage` is `ended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// A runner lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Present once it is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    #[serde(default)]
    pub epoch: u64,
    /// Operators attached now.
    #[serde(default)]
    pub operators: u32,
    /// Milliseconds since the last output.
    #[serde(default)]
    pub quiet_ms: u64,
}

/// The controller ends a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct End {
    pub session: SessionId,
    pub reason: EndReason,
}
