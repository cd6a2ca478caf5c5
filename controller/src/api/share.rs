//! What gateways ask for, at `/internal/gateway/...` of the internal port: a token to watch with, for an operator who
//! hands out a read-only link. The gateway knows its operators by their page tokens; here it is known by its own.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use service::Problem;
use session::gateway_api::{EXTEND, LOG, RECORDING, VIEWER_TOKENS, ViewerToken};
use session::{ProblemType, Role, Secret, SessionId};
use subtle::ConstantTimeEq;

use super::extend::extend_for_gateway;
use super::recording::{log_for_gateway, recording_for_gateway};
use super::sessions::{IdPath, session_id, unknown_session, whole};
use super::{Controller, forbid_storing, json};
use crate::auth;

/// Who asked, as the audit trail names them.
pub(super) const GATEWAY: &str = "gateway";

#[derive(Clone)]
pub(super) struct ForGateways {
    pub controller: Controller,
    token: Secret,
}

impl ForGateways {
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let shown = auth::bearer_of(headers).unwrap_or_default();
        if bool::from(shown.as_bytes().ct_eq(self.token.expose().as_bytes())) {
            return Ok(());
        }
        tracing::warn!("somebody who is no gateway of ours asked for what gateways get");
        Err(Problem::new(ProblemType::Unauthorized, "no gateway has this token"))
    }
}

impl Controller {
    /// `/internal/gateway/...`, for the internal port, to gateways that show `token`.
    pub fn gateway_router(&self, token: Secret) -> Router {
        Router::new()
            .route(VIEWER_TOKENS, post(mint_viewer_token))
            .route(EXTEND, post(extend_for_gateway))
            .route(RECORDING, get(recording_for_gateway))
            .route(LOG, get(log_for_gateway))
            .layer(axum::middleware::map_response(forbid_storing))
            .with_state(ForGateways { controller: self.clone(), token })
    }

    /// A token to watch this session with, where the session allows that links are handed out.
    pub async fn viewer_token(&self, session: SessionId) -> Result<ViewerToken, Problem> {
        let record = self.0.store.session(session).await?.ok_or_else(unknown_session)?;
        if !record.spec.share {
            let detail = "this session was created with share: false, so no read-only links to it are handed out";
            return Err(Problem::new(ProblemType::ShareForbidden, detail));
        }
        let token = self.further_token(&record, Role::Viewer).await?;
        auth::record(&*self.0.store, GATEWAY.to_owned(), "session.share", session.to_string()).await;
        let signed = self.sign(session, token).await?;
        Ok(ViewerToken { token: signed.token, expires_at: signed.expires_at.to_string() })
    }
}

async fn mint_viewer_token(
    State(state): State<ForGateways>,
    id: IdPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    state.admit(&headers)?;
    let id = session_id(id)?;
    let token = whole(async move { state.controller.viewer_token(id).await }).await?;
    Ok(json(StatusCode::CREATED, &token))
}
