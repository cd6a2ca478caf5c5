//! What runners say: they are ready, they have come to another stage, they live. Each says so with its boot token or
//! with the secret that it drew, and only of itself and of the session that is its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service::Problem;
use session::problem::ProblemType;
use session::runner_api::{PROTOCOL_VERSION, Ready, StageReport};
use session::{Ended, RunnerId, Secret, SessionId, Stage};
use store::{Advance, Digest, EndOutcome, ReadyOutcome, RunnerCall, SessionRecord, Time};
use subtle::ConstantTimeEq;

use super::Lifecycle;
use crate::fault::{self, Point};
use crate::recording::Taking;

/// A report's largest part is the sentence about the end.
const MAX_BODY: usize = 64 * 1024;
/// Hundreds of these may wait at a time.
const MAX_HEARTBEAT: usize = 1024;
/// Characters of that sentence which are kept.
const MAX_MESSAGE: usize = 1000;
/// Between two looks at whether the launcher knows an address.
const LOOK: Duration = Duration::from_millis(20);
/// Characters of a signal's name.
const MAX_SIGNAL: usize = 32;

pub(super) type Answer<T> = Result<T, Problem>;
type Shared = State<Arc<Lifecycle>>;

impl Lifecycle {
    /// `/internal/runners/...`, for the internal port. The server must tell the peer's address as `ConnectInfo`.
    pub fn internal_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/internal/runners/{id}/ready", post(take_in))
            .route("/internal/runners/{id}/stage", post(note_stage))
            .route("/internal/runners/{id}/heartbeat", post(note_heartbeat).layer(DefaultBodyLimit::max(MAX_HEARTBEAT)))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(self))
            .merge(Taking { recordings: self.recordings().cloned(), sessions: Arc::clone(&self.store) }.router())
    }
}

/// A runner calls home. What waits for it is sent right away.
async fn take_in(
    State(lifecycle): Shared,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    let id = runner_id(&id)?;
    let boot_token = bearer(&headers)?;
    let ready = read_ready(&body)?;
    let named = ready.address.ip().to_canonical();
    let own = named == peer.ip().to_canonical() || lifecycle.has_address(id, named).await;
    if !own || ready.address.port() == 0 {
        tracing::warn!(runner = %id, address = %ready.address, %peer, "a runner named an address that is not its own");
        return Err(Problem::new(ProblemType::Conflict, "the address is not the connection's own"));
    }
    let call = RunnerCall {
        id,
        boot_token: Digest::of(boot_token.as_bytes()),
        secret: ready.secret,
        address: SocketAddr::new(named, ready.address.port()).to_string(),
    };
    match lifecycle.store.runner_ready(call, Time::now()).await? {
        ReadyOutcome::Accepted { session } => {
            tracing::debug!(runner = %id, address = %ready.address, "runner ready");
            fault::pass(Point::CalledHome);
            if session.is_some() {
                lifecycle.spawn_assign(id, None);
            }
            Ok(StatusCode::OK)
        }
        ReadyOutcome::Refused => {
            tracing::warn!(runner = %id, %peer, "a call home with a wrong boot token");
            Err(unauthorized())
        }
        ReadyOutcome::Conflict => {
            tracing::warn!(runner = %id, %peer, "a second runner called home under one id");
            Err(Problem::new(
                ProblemType::Conflict,
                "this runner has called home before, with another secret or address",
            ))
        }
    }
}

/// The version is judged before the rest, which another version may have changed.
fn read_ready(body: &[u8]) -> Answer<Ready> {
    #[derive(Deserialize)]
    struct Version {
        protocol: u32,
    }
    let Version { protocol } = read(body)?;
    if protocol != PROTOCOL_VERSION {
        let detail = format!(
            "this controller speaks version {PROTOCOL_VERSION} of the runners' protocol and the runner speaks \
             {protocol}: use runners and controllers of the same release"
        );
        tracing::error!(protocol, expected = PROTOCOL_VERSION, "a runner of another release called home");
        return Err(Problem::new(ProblemType::Conflict, detail));
    }
    let ready: Ready = read(body)?;
    let secret = ready.secret.expose();
    if secret.len() != 64 || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::new(ProblemType::InvalidRequest, "the secret must be 256 bits in hexadecimal"));
    }
    Ok(ready)
}

async fn note_stage(
    State(lifecycle): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    let (id, session) = lifecycle.authenticate(&id, &headers).await?;
    let report: StageReport = read(&body)?;
    let session = own_session(session.as_ref(), report.session, report.epoch)?;
    match (report.stage, report.ended) {
        (Stage::Ended, Some(ended)) => lifecycle.note_end(id, session, check_end(ended)?).await,
        (Stage::Ended, None) | (_, Some(_)) => {
            Err(Problem::new(ProblemType::InvalidRequest, "`ended` goes with the stage `ended`, and only with it"))
        }
        (stage, None) => lifecycle.note_progress(session, stage).await,
    }
}

async fn note_heartbeat(
    State(lifecycle): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    lifecycle.heartbeats.take(runner_id(&id)?, Secret::new(bearer(&headers)?), body).await
}

impl Lifecycle {
    /// Whose secret it is, and the session that it has; a runner that is gone has no secret.
    async fn authenticate(&self, id: &str, headers: &HeaderMap) -> Answer<(RunnerId, Option<SessionRecord>)> {
        let id = runner_id(id)?;
        let given = bearer(headers)?;
        let runner = self.store.ready_runner(id).await?.ok_or_else(unauthorized)?;
        if is_shown(&runner.secret, given) { Ok((id, runner.session)) } else { Err(unauthorized()) }
    }

    /// Whether the launcher knows this to be the runner's address. What a watch has not seen yet is waited for.
    async fn has_address(&self, runner: RunnerId, address: IpAddr) -> bool {
        let patience = match self.launcher.kind().watches() {
            true => self.config.timing.address_patience,
            false => Duration::ZERO,
        };
        let known = async {
            while !self.launcher.has_address(runner, address) {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.launcher.has_address(runner, address) || tokio::time::timeout(patience, known).await.is_ok()
    }

    async fn note_progress(&self, session: &SessionRecord, stage: Stage) -> Answer<StatusCode> {
        match self.store.advance(session.id, session.epoch, stage, Time::now()).await? {
            Advance::Moved => {
                tracing::debug!(session = %session.id, %stage, "session moved");
                fault::pass(Point::StageStored);
                if session.stage == Stage::Queued {
                    self.metrics.note_start(session, Time::now());
                }
                Ok(StatusCode::NO_CONTENT)
            }
            Advance::Unchanged => {
                fault::pass(Point::StageStored);
                Ok(StatusCode::NO_CONTENT)
            }
            Advance::Fenced | Advance::Unknown => Err(fenced()),
        }
    }

    /// The runner itself goes on lingering, and exits when it has done so.
    async fn note_end(self: &Arc<Self>, runner: RunnerId, session: &SessionRecord, ended: Ended) -> Answer<StatusCode> {
        // The first reason stays, whatever this one is.
        if session.ended.is_none() && self.may_be_explained(&ended) {
            self.spawn_explained(runner, session, ended);
            return Ok(StatusCode::NO_CONTENT);
        }
        match self.note(self.store.end(session.id, Some(session.epoch), ended, Time::now()).await?) {
            EndOutcome::Ended(_) => Ok(StatusCode::NO_CONTENT),
            EndOutcome::Already(_) => {
                tracing::debug!(session = %session.id, %runner, "the session had ended for another reason before");
                Ok(StatusCode::NO_CONTENT)
            }
            EndOutcome::Fenced | EndOutcome::Unknown => Err(fenced()),
        }
    }
}

/// Whether this is the secret, compared in constant time.
pub(super) fn is_shown(secret: &Secret, given: &str) -> bool {
    secret.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

/// The session that a runner speaks of, provided that it is its own.
pub(super) fn own_session(has: Option<&SessionRecord>, named: SessionId, epoch: u64) -> Answer<&SessionRecord> {
    has.filter(|session| session.id == named && session.epoch == epoch).ok_or_else(fenced)
}

/// What a runner says of an end is shown to people: bounded, and a code that a process can have.
fn check_end(mut ended: Ended) -> Answer<Ended> {
    if ended.exit_code.is_some_and(|code| !(0..=255).contains(&code)) {
        return Err(Problem::new(ProblemType::InvalidRequest, "an exit code is 0 to 255"));
    }
    ended.message = ended.message.map(|text| text.chars().take(MAX_MESSAGE).collect());
    ended.signal = ended.signal.map(|text| text.chars().take(MAX_SIGNAL).collect());
    Ok(ended)
}

fn runner_id(text: &str) -> Answer<RunnerId> {
    text.parse().map_err(|_| Problem::new(ProblemType::NotFound, "that is not a runner's id"))
}

fn bearer(headers: &HeaderMap) -> Answer<&str> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty()).ok_or_else(unauthorized)
}

/// The parser's own words are not repeated: they may quote a secret.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is not what it should be, at line {} column {}", error.line(), error.column());
        Problem::new(ProblemType::InvalidRequest, detail)
    })
}

pub(super) fn unauthorized() -> Problem {
    Problem::new(ProblemType::Unauthorized, "no runner has this token")
}

fn fenced() -> Problem {
    Problem::new(ProblemType::Conflict, "the session is not this runner's any more: stop")
}
