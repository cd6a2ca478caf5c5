//! The handlers of `/api/sessions`.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use service::Problem;
use session::api::{CreateSession, MintToken, SessionPage};
use session::{EndReason, Ended, ProblemType, SessionId};
use store::{EndOutcome, SessionRecord};

use super::create::Answer;
use super::metrics::CreateOutcome;
use super::view::{Addresses, session_view};
use super::{Controller, idempotency, json, list, read};
use crate::auth;

type Answered = Result<Response, Problem>;
pub type IdPath = Result<Path<String>, PathRejection>;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

pub async fn create_session(
    State(controller): State<Controller>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let began = Instant::now();
    let answer = answer_creation(&controller, peer, request).await;
    let outcome = match &answer {
        Ok(Answer::Created(_)) => CreateOutcome::Created,
        Ok(Answer::Repeated(_)) => CreateOutcome::Repeated,
        Err(problem) => CreateOutcome::of_problem(problem.kind),
    };
    controller.0.metrics.count_creation(outcome, began.elapsed().as_secs_f64());
    let (status, entry) = match answer {
        Ok(Answer::Created(entry)) => (StatusCode::CREATED, entry),
        Ok(Answer::Repeated(entry)) => (StatusCode::OK, entry),
        Err(problem) => return problem.into_response(),
    };
    let mut response = json(status, &entry);
    if let Ok(location) = HeaderValue::try_from(format!("/api/sessions/{}", entry.session_id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if status == StatusCode::OK {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

async fn answer_creation(controller: &Controller, peer: SocketAddr, request: Request) -> Result<Answer, Problem> {
    if controller.0.shutdown.is_stopping() {
        // A request on a connection that was open before; those that are being answered are finished.
        return Err(
            Problem::new(ProblemType::Unavailable, "this server is stopping; nothing was changed").retry_after(1)
        );
    }
    let caller = controller.admit_creator(request.headers(), peer).await?;
    let headers = request.headers().clone();
    let body = read::read_body(request).await?;
    let idempotency = idempotency::of_request(&headers, &body)?;
    let wanted: CreateSession = read::from_json(&body)?;
    let controller = controller.clone();
    whole(async move { controller.create(caller, wanted, idempotency).await }).await
}

pub async fn list_sessions(
    State(controller): State<Controller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answered {
    auth::authenticate(&*controller.0.store, &headers).await?;
    let mut filter = list::filter_of_query(query.as_deref().unwrap_or_default())?;
    let limit = filter.limit as usize;
    // One more than a page tells whether there is another.
    filter.limit += 1;
    let mut sessions = controller.0.store.sessions(filter).await?;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next_cursor = sessions.last().filter(|_| more).map(|session| session.id.to_string());
    let lifecycle = &controller.0.lifecycle;
    let sessions = sessions.into_iter().map(|session| session_view(session, lifecycle)).collect();
    Ok(json(StatusCode::OK, &SessionPage { sessions, next_cursor }))
}

pub async fn show_session(State(controller): State<Controller>, id: IdPath, headers: HeaderMap) -> Answered {
    auth::authenticate(&*controller.0.store, &headers).await?;
    let session = find_session(&controller, id).await?;
    Ok(json(StatusCode::OK, &session_view(session, &controller.0.lifecycle)))
}

/// Valid in every state; a session that has ended keeps its first reason.
pub async fn end_session(State(controller): State<Controller>, id: IdPath, headers: HeaderMap) -> Answered {
    let key = auth::authenticate(&*controller.0.store, &headers).await?;
    let id = session_id(id)?;
    let ending = controller.clone();
    let session = whole(async move {
        let ended = Ended::because(EndReason::Cancelled, "ended through the API");
        match ending.0.lifecycle.end(id, ended).await? {
            EndOutcome::Ended(session) => {
                tracing::info!(session = %id, key = %key.id, "session ended through the API");
                ending.record(&key, "session.end", id).await;
                Ok(session)
            }
            EndOutcome::Already(session) => Ok(session),
            EndOutcome::Fenced | EndOutcome::Unknown => Err(unknown_session()),
        }
    })
    .await?;
    Ok(json(StatusCode::OK, &session_view(session, &controller.0.lifecycle)))
}

pub async fn mint_token(State(controller): State<Controller>, id: IdPath, request: Request) -> Answered {
    let key = auth::authenticate(&*controller.0.store, request.headers()).await?;
    let addresses = Addresses::of_request(&controller.0.config.public, request.headers())?;
    let body = read::read_body(request).await?;
    let MintToken { role } = read::from_json(&body)?;
    let session = find_session(&controller, id).await?;
    let entry = controller.mint(&key, session, role, &addresses).await?;
    Ok(json(StatusCode::CREATED, &entry))
}

pub async fn find_session(controller: &Controller, id: IdPath) -> Result<SessionRecord, Problem> {
    controller.0.store.session(session_id(id)?).await?.ok_or_else(unknown_session)
}

/// An id that no session could have is as unknown as one that none has.
pub fn session_id(id: IdPath) -> Result<SessionId, Problem> {
    id.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(unknown_session)
}

pub fn unknown_session() -> Problem {
    Problem::new(ProblemType::SessionUnknown, "no session has this id")
}

/// Runs what must not stop half-way when the caller hangs up: between the transaction and the runner's start a
/// dropped request would leave a session that nobody serves.
pub async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request's work broke off");
        Err(Problem::internal())
    })
}
