//! A runner puts a chunk of its session's recording. It sends the same chunk until it is told that it is there, so a chunk
//! overwrites itself; and whatever goes wrong here, its session goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::routing::put;
use http::{HeaderMap, StatusCode};
use object_store::ObjectStoreExt;
use serde::Deserialize;
use service::Problem;
use session::recording::MAX_CHUNK;
use session::{ProblemType, RunnerId, SessionId};
use store::{ReadyRunner, Store};
use subtle::ConstantTimeEq;

use super::Recordings;
use super::failure;
use super::storage::Storage;
use crate::auth;

/// How long a chunk may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the store may take to have it.
const STORE_TIMEOUT: Duration = Duration::from_secs(8);

/// What the routes need: recordings, where there are any, and who the runners are.
#[derive(Clone)]
pub struct Taking {
    pub recordings: Option<Arc<Recordings>>,
    pub sessions: Arc<dyn Store>,
}

#[derive(Deserialize)]
struct Place {
    offset: u64,
    #[serde(default)]
    last: bool,
}

impl Taking {
    /// For the internal port.
    pub fn router(self) -> Router {
        Router::new().route("/internal/runners/{id}/recording/{epoch}/{number}", put(put_chunk)).with_state(self)
    }
}

async fn put_chunk(
    State(taking): State<Taking>,
    Path((id, epoch, number)): Path<(String, u64, u64)>,
    Query(place): Query<Place>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let session = recorder(&*taking.sessions, &id, epoch, request.headers()).await?;
    let Some(recordings) = taking.recordings else {
        return Err(Problem::new(ProblemType::RecordingNotFound, "nothing is recorded here (--recordings): stop"));
    };
    let chunk = read_chunk(request).await?;
    recordings.take(session, epoch, number, place, chunk).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The session that a runner may record now.
async fn recorder(store: &dyn Store, id: &str, epoch: u64, headers: &HeaderMap) -> Result<SessionId, Problem> {
    let unauthorized = || Problem::new(ProblemType::Unauthorized, "no runner with a session has this token");
    let id: RunnerId = id.parse().map_err(|_| unauthorized())?;
    let shown = auth::bearer_of(headers).ok_or_else(unauthorized)?;
    let ReadyRunner { secret, session, .. } = store.ready_runner(id).await?.ok_or_else(unauthorized)?;
    let same: bool = secret.expose().as_bytes().ct_eq(shown.as_bytes()).into();
    let session = session.filter(|_| same).ok_or_else(unauthorized)?;
    if session.epoch != epoch {
        return Err(Problem::new(ProblemType::Conflict, "the session is not this runner's any more: stop"));
    }
    Ok(session.id)
}

async fn read_chunk(request: Request) -> Result<Bytes, Problem> {
    let body = axum::body::to_bytes(request.into_body(), MAX_CHUNK);
    let chunk = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(chunk)) => chunk,
        Ok(Err(_)) => {
            let detail = format!("a chunk arrives whole and has at most {MAX_CHUNK} bytes");
            return Err(Problem::new(ProblemType::PayloadTooLarge, detail));
        }
        Err(_) => return Err(Problem::new(ProblemType::RequestTimeout, "the chunk did not arrive in time")),
    };
    // What is joined later must not be torn: every chunk is whole lines.
    if std::str::from_utf8(&chunk).is_err() || chunk.last().is_some_and(|byte| *byte != b'\n') {
        return Err(Problem::new(ProblemType::InvalidRequest, "a chunk is whole lines of UTF-8"));
    }
    Ok(chunk)
}

impl Recordings {
    async fn take(
        self: &Arc<Self>,
        session: SessionId,
        epoch: u64,
        number: u64,
        place: Place,
        chunk: Bytes,
    ) -> Result<(), Problem> {
        let length = chunk.len() as u64;
        if place.offset.saturating_add(length) > self.max_bytes {
            self.metrics.full.inc();
            let detail = format!("a recording has at most {} bytes (--recording-max-bytes): stop", self.max_bytes);
            return Err(Problem::new(ProblemType::RecordingFull, detail));
        }
        if length > 0 {
            self.keep_chunk(session, epoch, number, chunk).await?;
            self.metrics.chunks.inc();
            self.metrics.bytes.inc_by(length);
        }
        if place.last {
            self.settle(session);
        }
        Ok(())
    }

    async fn keep_chunk(&self, session: SessionId, epoch: u64, number: u64, chunk: Bytes) -> Result<(), Problem> {
        // Where the store hangs, chunks that wait for it would fill the memory.
        let Ok(_place) = self.storing.try_acquire() else { return Err(failure::unavailable()) };
        let chunk_path = Storage::chunk(session, epoch, number);
        let stored = self.storage.store.put(&chunk_path, chunk.into());
        match tokio::time::timeout(STORE_TIMEOUT, stored).await {
            Ok(Ok(_)) => {
                self.note_success();
                Ok(())
            }
            Ok(Err(error)) => {
                self.note_failure(&error, "a recording's chunk cannot be stored");
                Err(failure::unavailable())
            }
            Err(_) => {
                self.note_hanging();
                Err(failure::unavailable())
            }
        }
    }
}
