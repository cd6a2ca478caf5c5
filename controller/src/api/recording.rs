//! `GET /api/sessions/{id}/recording` and `.../log`, and the same for gateways, which have seen to it that whoever asks is, or
//! was, in the session.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use service::Problem;
use session::SessionId;

use super::Controller;
use super::sessions::{IdPath, find_session};
use super::share::ForGateways;
use crate::auth;
use crate::recording::{LogFormat, Recordings, not_found};

type Answered = Result<Response, Problem>;

pub async fn show_recording(State(controller): State<Controller>, id: IdPath, headers: HeaderMap) -> Answered {
    auth::authenticate(&*controller.0.store, &headers).await?;
    controller.recording(id, &headers).await
}

pub async fn show_log(
    State(controller): State<Controller>,
    id: IdPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answered {
    auth::authenticate(&*controller.0.store, &headers).await?;
    controller.log(id, query.as_deref()).await
}

pub async fn recording_for_gateway(State(state): State<ForGateways>, id: IdPath, headers: HeaderMap) -> Answered {
    state.admit(&headers)?;
    state.controller.recording(id, &headers).await
}

pub async fn log_for_gateway(
    State(state): State<ForGateways>,
    id: IdPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answered {
    state.admit(&headers)?;
    state.controller.log(id, query.as_deref()).await
}

impl Controller {
    async fn recording(&self, id: IdPath, asked: &HeaderMap) -> Answered {
        let (session, recordings) = self.recordings_of(id).await?;
        recordings.answer_recording(session, asked).await
    }

    async fn log(&self, id: IdPath, query: Option<&str>) -> Answered {
        let format = LogFormat::of_query(query)?;
        let (session, recordings) = self.recordings_of(id).await?;
        recordings.answer_log(session, format).await
    }

    /// Whether there is something to watch of a session whose terminal is gone.
    pub(super) async fn is_recorded(&self, session: SessionId) -> bool {
        match self.0.lifecycle.recordings() {
            Some(recordings) => recordings.has(session).await,
            None => false,
        }
    }

    /// A session that is not there any more has no recording either, whatever is left of it.
    async fn recordings_of(&self, id: IdPath) -> Result<(SessionId, &Arc<Recordings>), Problem> {
        let session = find_session(self, id).await?;
        Ok((session.id, self.0.lifecycle.recordings().ok_or_else(not_found)?))
    }
}
