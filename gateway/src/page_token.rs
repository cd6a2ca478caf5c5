//! The page token: what a tab that is in a session shows with its requests under `/ws/{id}/...`.
//!
//! It is looked at first, so that nobody else learns anything of the session, not even whether there is one.
//!
//! Whoever enters a terminal is given one. `POST /ws/{id}/page-token` gives one for a one-time token without entering: to
//! the page that shows a recording, when there may be no terminal any more.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use service::Problem;
use session::{ProblemType, Role, Secret, SessionId};
use store::Digest;

use crate::Inner;
use crate::admission::explain;

/// Ours have 43 characters.
const MAX_PAGE_TOKEN: usize = 128;

/// Whose page asks. A session that is not there has no page tokens, and an id that is none has none either.
pub async fn holder(
    gateway: &Inner,
    session: Option<SessionId>,
    headers: &HeaderMap,
) -> Result<(SessionId, Role), Problem> {
    let refused =
        || Problem::new(ProblemType::PageTokenInvalid, "send the tab's page token as: Authorization: Bearer TOKEN");
    let token = bearer(headers).filter(|token| token.len() <= MAX_PAGE_TOKEN).ok_or_else(refused)?;
    let session = session.ok_or_else(refused)?;
    let role = gateway.store.page_token(Digest::of(token.as_bytes()), session).await?.ok_or_else(refused)?;
    Ok((session, role))
}

/// Answers a one-time token, which is used up by it, with a page token.
pub async fn exchange_token(
    State(gateway): State<Arc<Inner>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let session: Option<SessionId> = path.ok().and_then(|Path(id)| id.parse().ok());
    match exchange(&gateway, session, &headers).await {
        Ok((page_token, role)) => {
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            let answer = json!({ "pageToken": page_token.expose(), "role": role.as_str() });
            (no_store, axum::Json(answer)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn exchange(gateway: &Inner, session: Option<SessionId>, headers: &HeaderMap) -> Result<(Secret, Role), Problem> {
    let missing = || Problem::new(ProblemType::TokenMissing, "send the link's token as: Authorization: Bearer TOKEN");
    let token = bearer(headers).ok_or_else(missing)?;
    let session = session.ok_or_else(|| explain(ProblemType::TokenInvalid))?;
    gateway.admission.exchange(session, token).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
