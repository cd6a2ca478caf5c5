//! `POST /ws/{id}/share`: an operator's page asks for a link that others can watch by, once.
//!
//! The page shows its page token. It is looked at first, so that nobody else learns anything of the session, not even
//! whether there is one, nor can use its limit up.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use service::Problem;
use service::address::terminal_at;
use session::api::SharedLink;
use session::{ProblemType, Role, Secret, SessionId};
use tokio_util::sync::CancellationToken;

use crate::Inner;
use crate::page_token::holder;

/// Links per session that one gateway hands out. People ask for one now and then.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(12).expect("not zero");
/// How often sessions that nobody shares any more are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// Links that were handed out of late, by session.
pub struct ShareLimit(DefaultKeyedRateLimiter<SessionId>);

impl Default for ShareLimit {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(PER_MINUTE)))
    }
}

impl ShareLimit {
    fn count(&self, session: SessionId) -> Result<(), Problem> {
        self.0.check_key(&session).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let detail = format!("too many links asked for; the limit is {PER_MINUTE} a minute for one session");
            Problem::new(ProblemType::RateLimited, detail).retry_after(wait.as_secs() + 1)
        })
    }

    /// Only operators' sessions get into the table; it still must not grow with all that there ever were.
    pub async fn keep_bounded(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FORGET_INTERVAL)).await.is_some() {
            self.0.retain_recent();
            self.0.shrink_to_fit();
        }
    }
}

/// Answers with a link to watch by.
pub async fn share_session(
    State(gateway): State<Arc<Inner>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let session: Option<SessionId> = path.ok().and_then(|Path(id)| id.parse().ok());
    let shared = share(&gateway, session, &headers).await;
    gateway.metrics.shared(shared.as_ref().err().map(|problem| problem.kind));
    match shared {
        Ok(link) => {
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::OK, no_store, axum::Json(link)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn share(gateway: &Inner, session: Option<SessionId>, headers: &HeaderMap) -> Result<SharedLink, Problem> {
    let (session, role) = holder(gateway, session, headers).await?;
    if role != Role::Operator {
        return Err(Problem::new(ProblemType::Forbidden, "whoever watches cannot let others watch; an operator can"));
    }
    let Some(tokens) = &gateway.viewer_tokens else {
        let detail = "this gateway does not know its controller (--controller-url, CLISCALE_CONTROLLER_URL)";
        return Err(Problem::new(ProblemType::ShareForbidden, detail));
    };
    let base = gateway.config.public.base(headers).ok_or_else(|| {
        Problem::new(ProblemType::InvalidRequest, "the Host header names no host that a URL could be made of")
    })?;
    gateway.shares.count(session)?;
    let token = tokens.viewer_token(session).await?;
    tracing::info!(%session, "a read-only link was handed out");
    Ok(SharedLink { url: Secret::new(terminal_at(&base, session, &token.token)), expires_at: token.expires_at })
}
