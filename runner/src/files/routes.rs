//! The routes of the files on the runner's port. Whoever asks is the gateway, for an operator.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, Uri};
use session::runner_api::ROLE_HEADER;
use session::{ProblemType, Role};
use tokio::sync::OwnedSemaphorePermit;

use super::path::FilePath;
use super::refusal::Refusal;
use super::root::Root;
use super::{MAX_TRANSFERS, archive, download, upload};
use crate::server::{Authorized, Server};

const PREFIX: &str = "/files/";

pub fn routes() -> Router<Arc<Server>> {
    Router::new().route("/files/{*path}", get(get_file).put(put_file)).route("/files.tar.gz", get(get_archive))
}

/// Somebody who may, files that are there, and a place.
pub struct Transfer {
    pub root: Arc<Root>,
    pub place: OwnedSemaphorePermit,
}

impl FromRequestParts<Arc<Server>> for Transfer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Response> {
        Authorized::from_request_parts(parts, server).await?;
        let role = parts.headers.get(ROLE_HEADER).and_then(|role| role.to_str().ok()?.parse::<Role>().ok());
        let refuse = |kind, detail: String| Refusal::new(kind, detail).into_response();
        if role != Some(Role::Operator) {
            return Err(refuse(ProblemType::Forbidden, "files are for operators".to_owned()));
        }
        let assigned = server.assigned();
        let Some((root, places)) =
            assigned.and_then(|held| Some((held.files.root.get()?.clone(), held.files.places.clone())))
        else {
            return Err(refuse(
                ProblemType::Conflict,
                "the session has no files (yet): its code is not there".to_owned(),
            ));
        };
        match places.try_acquire_owned() {
            Ok(place) => Ok(Self { root, place }),
            Err(_) => {
                let detail = format!("{MAX_TRANSFERS} files of this session are on their way, which is the limit");
                Err(refuse(ProblemType::TooManyTransfers, detail))
            }
        }
    }
}

async fn get_file(transfer: Transfer, uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    download::send_file(transfer, path(&uri)?, &headers).await
}

async fn put_file(transfer: Transfer, uri: Uri, body: Body) -> Result<Response, Refusal> {
    Ok(upload::take_file(transfer, path(&uri)?, body).await?.into_response())
}

async fn get_archive(transfer: Transfer) -> Result<Response, Refusal> {
    archive::send_archive(transfer).await
}

/// From the request as it was sent: names may have bytes that are no text.
fn path(uri: &Uri) -> Result<FilePath, Refusal> {
    FilePath::parse(uri.path().strip_prefix(PREFIX).unwrap_or_default())
}

/// Files are slow at times, and connections are not to wait for them.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
