//! The answers of the public API. Requests are snake_case, answers camelCase; later versions only add members.
//! Times are RFC 3339 in UTC. Environment, prompt and credentials are in no answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::claims::Role;
use crate::ids::{RunnerId, SessionId};
use crate::secret::Secret;
use crate::state::{EndReason, SessionState, Stage};

pub use crate::spec::CreateSession;

/// A session, as `GET /api/sessions/{id}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub session_id: SessionId,
    pub state: SessionState,
    pub stage: Stage,
    pub code_url: String,
    pub command: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub created_at: String,
    /// When the command began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// When the session ends at the latest.
    pub expires_at: String,
    /// The latest that `POST .../extend` can move that to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The command's exit code, 0 to 255; 128 + n when signal n ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// One sentence about the end, where there is more to say than the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<RunnerId>,
    /// Local mode: the folder that the command runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

/// What creating a session, or asking for a further token, gives: a way in, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub session_id: SessionId,
    /// The one-time token (JWT, RS256); already part of both URLs.
    #[serde(rename = "sessionJWT")]
    pub session_jwt: Secret,
    /// Open this in a browser, once.
    pub terminal_url: String,
    /// Or connect a ttyd or `tty.r1` client to this, once.
    pub web_socket_url: String,
    pub role: Role,
    /// When the token can no longer be used.
    pub token_expires_at: String,
    pub expires_at: String,
    pub state: SessionState,
    pub stage: Stage,
}

/// What `POST /ws/{id}/share` gives to an operator's page: a way in for somebody who watches, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedLink {
    /// Open this in a browser, once. Whoever does sees the terminal, and can neither type nor resize it.
    pub url: Secret,
    /// When the link can no longer be used.
    pub expires_at: String,
}

/// A page of sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPage {
    pub sessions: Vec<SessionView>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The body of `POST /api/sessions/{id}/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MintToken {
    pub role: Role,
}

/// The body of `POST /api/sessions/{id}/extend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendSession {
    /// Seconds from now that the session may go on, at least 1; it never lives longer than its `max_ttl_seconds` in all.
    /// A deadline that is later already stays.
    pub ttl_seconds: u64,
}

/// The body of `PATCH /api/pools/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePool {
    /// A paused pool hands out what it has, and no standby is added.
    pub paused: bool,
}

/// A pool of standbys: runners of one template that wait for sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Of the template.
    pub name: String,
    pub paused: bool,
    /// Runners that have not called home yet.
    pub booting: u32,
    /// Standbys that wait.
    pub idle: u32,
    /// Runners that were standbys and have a session now, or show the end of one.
    pub claimed: u32,
    /// Standbys that failed in a row.
    pub failures: u32,
    /// Before that, no standby is added, since some have failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
}

/// What `GET /api/pools` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolList {
    /// By name.
    pub pools: Vec<PoolView>,
}

/// The body of `POST /ws/{id}/extend`, which an operator's page sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendTerminal {
    /// As `ttl_seconds` of `POST /api/sessions/{id}/extend`.
    pub seconds: u64,
}

/// What `POST /ws/{id}/extend` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extended {
    /// When the session ends at the latest.
    pub expires_at: String,
    /// The latest that it can be extended to.
    pub max_expires_at: String,
}

/// The answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or `degraded` while the database is away.
    pub status: String,
    pub version: String,
    pub uptime_secs: u64,
    pub db_healthy: bool,
}

/// The JSON Schema (2020-12) of every request and answer, committed as `docs/api.schema.json`.
pub fn schema() -> serde_json::Value {
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used: one document that refers to every type")]
    struct Api {
        create_session: CreateSession,
        entry: Entry,
        session: SessionView,
        session_page: SessionPage,
        mint_token: MintToken,
        extend_session: ExtendSession,
        extend_terminal: ExtendTerminal,
        extended: Extended,
        pool_list: PoolList,
        change_pool: ChangePool,
        shared_link: SharedLink,
        health: Health,
        problem: crate::problem::ProblemBody,
    }
    schemars::schema_for!(Api).to_value()
}
