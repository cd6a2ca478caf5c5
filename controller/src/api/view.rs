//! What callers see of a session, and the way in that they are given.

use http::HeaderMap;
use service::address::terminal_at;
use service::{Problem, PublicAddress};
use session::api::{Entry, SessionView};
use session::{ProblemType, Role, Secret};
use store::{SessionRecord, Time};

use crate::lifecycle::Lifecycle;

pub fn session_view(session: SessionRecord, lifecycle: &Lifecycle) -> SessionView {
    let workspace = session.runner.and_then(|runner| lifecycle.workspace(runner));
    let max_expires_at = session.max_expires_at().to_string();
    let (state, stage) = (session.state(), session.stage);
    let ended = session.ended;
    SessionView {
        session_id: session.id,
        state,
        stage,
        code_url: session.spec.code_url,
        command: session.spec.command,
        labels: session.spec.labels,
        created_at: session.created_at.to_string(),
        started_at: session.started_at.map(|time| time.to_string()),
        ended_at: session.ended_at.map(|time| time.to_string()),
        expires_at: session.expires_at.to_string(),
        max_expires_at: Some(max_expires_at),
        end_reason: ended.as_ref().map(|ended| ended.reason),
        exit_code: ended.as_ref().and_then(|ended| ended.exit_code),
        signal: ended.as_ref().and_then(|ended| ended.signal.clone()),
        end_message: ended.and_then(|ended| ended.message),
        runner_id: session.runner,
        workspace: workspace.map(|path| path.display().to_string()),
    }
}

/// Where the public reaches us, in the two forms that an answer gives.
pub struct Addresses {
    http: String,
    web_socket: String,
}

impl Addresses {
    pub fn of_request(public: &PublicAddress, headers: &HeaderMap) -> Result<Self, Problem> {
        let http = public.base(headers).ok_or_else(|| {
            Problem::new(ProblemType::InvalidRequest, "the Host header names no host that a URL could be made of")
        })?;
        // `http` becomes `ws`, `https` becomes `wss`.
        let web_socket = http.strip_prefix("http").map(|rest| format!("ws{rest}")).unwrap_or_else(|| http.clone());
        Ok(Self { http, web_socket })
    }
}

/// A one-time token, signed.
pub struct Signed {
    pub token: Secret,
    pub role: Role,
    pub expires_at: Time,
}

pub fn entry(session: &SessionRecord, signed: Signed, addresses: &Addresses) -> Entry {
    Entry {
        session_id: session.id,
        terminal_url: terminal_at(&addresses.http, session.id, &signed.token),
        web_socket_url: terminal_at(&addresses.web_socket, session.id, &signed.token),
        session_jwt: signed.token,
        role: signed.role,
        token_expires_at: signed.expires_at.to_string(),
        expires_at: session.expires_at.to_string(),
        state: session.state(),
        stage: session.stage,
    }
}
