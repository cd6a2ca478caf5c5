//! `POST /ws/{id}/extend`: an operator's page asks for more time, which the session's own maximum bounds.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use service::Problem;
use session::api::{ExtendSession, ExtendTerminal, Extended};
use session::gateway_api::extend_path;
use session::{ProblemType, Role, SessionId};

use crate::Inner;
use crate::kept::read_problem;
use crate::page_token::holder;

/// A number and its name, an answer of two times.
const MAX_BODY: usize = 4096;
/// What a caller is told to wait when the controller cannot be asked.
const RETRY_SECS: u64 = 2;

pub async fn extend_session(
    State(gateway): State<Arc<Inner>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let session: Option<SessionId> = path.ok().and_then(|Path(id)| id.parse().ok());
    let (head, body) = request.into_parts();
    match extend(&gateway, session, &head.headers, body).await {
        Ok(extended) => {
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (no_store, axum::Json(extended)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn extend(
    gateway: &Inner,
    session: Option<SessionId>,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<Extended, Problem> {
    let (session, role) = holder(gateway, session, headers).await?;
    if role != Role::Operator {
        return Err(Problem::new(ProblemType::Forbidden, "whoever watches cannot extend the session; an operator can"));
    }
    let unread = |detail: &str| Problem::new(ProblemType::InvalidRequest, detail.to_owned());
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| unread("the body is too long, or was cut"))?;
    let wanted: ExtendTerminal = serde_json::from_slice(&body).map_err(|_| unread("send {\"seconds\": N}"))?;
    let Some(controller) = &gateway.controller else {
        let detail = "this gateway does not know its controller (--controller-url, CLISCALE_CONTROLLER_URL)";
        return Err(Problem::new(ProblemType::NotFound, detail));
    };
    let away = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, %session, "a session cannot be extended");
        Problem::new(ProblemType::Unavailable, "the session cannot be extended at the moment").retry_after(RETRY_SECS)
    };
    let told = serde_json::to_vec(&ExtendSession { ttl_seconds: wanted.seconds }).map_err(|error| away(&error))?;
    let told = http::Request::builder()
        .method(Method::POST)
        .uri(extend_path(session))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(told))
        .map_err(|error| away(&error))?;
    let answered = controller.send(told).await.map_err(|error| away(&error))?;
    let status = answered.status();
    if !status.is_success() {
        let problem = read_problem(answered).await;
        return Err(problem.unwrap_or_else(|| away(&format_args!("the controller answers {status}"))));
    }
    let body = to_bytes(answered.into_body(), MAX_BODY).await.map_err(|error| away(&error))?;
    serde_json::from_slice(&body).map_err(|error| away(&error))
}
