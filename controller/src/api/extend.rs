//! `POST /api/sessions/{id}/extend`, and the same for gateways, whose operators ask through their pages: moves the deadline
//! of a session that has not ended to later, within what the session itself allows.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use service::Problem;
use session::api::{ExtendSession, Extended};
use session::problem::FieldError;
use session::{ProblemType, SessionId};
use store::{Extension, SessionRecord, Time};

use super::sessions::{IdPath, session_id, unknown_session, whole};
use super::share::{ForGateways, GATEWAY};
use super::view::session_view;
use super::{Controller, json, read};
use crate::auth;

/// Who asks for all that is left should get it, although some of it goes by on the way here.
const SLACK: SignedDuration = SignedDuration::from_secs(10);

pub async fn extend_session(
    State(controller): State<Controller>,
    id: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let key = auth::authenticate(&*controller.0.store, request.headers()).await?;
    let body = read::read_body(request).await?;
    let ExtendSession { ttl_seconds } = read::from_json(&body)?;
    let id = session_id(id)?;
    let extending = controller.clone();
    let session = whole(async move {
        let session = extending.extend(id, ttl_seconds).await?;
        extending.record(&key, "session.extend", id).await;
        Ok(session)
    })
    .await?;
    Ok(json(StatusCode::OK, &session_view(session, &controller.0.lifecycle)))
}

/// For a gateway, which has seen to it that an operator asks.
pub(super) async fn extend_for_gateway(
    State(state): State<ForGateways>,
    id: IdPath,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    state.admit(&headers)?;
    let body = read::read_body(request).await?;
    let ExtendSession { ttl_seconds } = read::from_json(&body)?;
    let id = session_id(id)?;
    let session = whole(async move {
        let session = state.controller.extend(id, ttl_seconds).await?;
        auth::record(&*state.controller.0.store, GATEWAY.to_owned(), "session.extend", id.to_string()).await;
        Ok(session)
    })
    .await?;
    let (expires_at, max_expires_at) = (session.expires_at.to_string(), session.max_expires_at().to_string());
    Ok(json(StatusCode::OK, &Extended { expires_at, max_expires_at }))
}

impl Controller {
    async fn extend(&self, id: SessionId, ttl_seconds: u64) -> Result<SessionRecord, Problem> {
        let session = self.0.store.session(id).await?.ok_or_else(unknown_session)?;
        if session.ended.is_some() {
            return Err(is_over());
        }
        let expires_at = moved(&session, ttl_seconds, Time::now())?;
        match self.0.store.extend(id, expires_at).await? {
            Extension::Extended(session) => {
                tracing::info!(session = %id, expires_at = %session.expires_at, "session extended");
                self.0.lifecycle.tell_deadline(id);
                Ok(*session)
            }
            Extension::Ended => Err(is_over()),
            Extension::Unknown => Err(unknown_session()),
        }
    }
}

fn is_over() -> Problem {
    Problem::new(ProblemType::Conflict, "the session has ended, and nothing extends it")
}

/// The new deadline. More than the session may have is refused, never shortened.
fn moved(session: &SessionRecord, ttl_seconds: u64, now: Time) -> Result<Time, Problem> {
    let latest = session.max_expires_at();
    let left = latest.duration_since(now).as_secs().max(0).unsigned_abs();
    let wanted = i64::try_from(ttl_seconds).ok().filter(|seconds| *seconds > 0);
    let wanted = wanted.and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
    match wanted {
        Some(wanted) if wanted <= latest.saturating_add(SLACK).unwrap_or(Time::MAX) => Ok(wanted.min(latest)),
        _ => {
            let detail =
                format!("is {ttl_seconds}; at least 1 and at most the {left} s until maxExpiresAt are possible");
            let text = format!("ttl_seconds {detail}");
            Err(Problem::new(ProblemType::ValidationFailed, text)
                .with_fields(vec![FieldError::new("ttl_seconds", detail)]))
        }
    }
}
