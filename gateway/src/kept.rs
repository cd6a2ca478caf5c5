//! `GET /ws/{id}/recording.cast` and `GET /ws/{id}/log`: what the controller keeps of a session, for whoever is in it or
//! has been: operators and viewers alike, who have seen it all.
//!
//! Bytes come as fast as the client takes them. One that takes none for [`STALL_LIMIT`] is let go of.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Frame;
use service::Problem;
use session::gateway_api::{log_path, recording_path};
use session::problem::ProblemBody;
use session::recording::MEDIA_TYPE;
use session::{ProblemType, SessionId};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::Inner;
use crate::files::{MAX_TRANSFERS, Transfer};
use crate::page_token::holder;

const STALL_LIMIT: Duration = Duration::from_secs(130);
/// A problem is far shorter.
const MAX_PROBLEM: usize = 16 * 1024;
/// What a caller is told to wait.
const RETRY_SECS: u64 = 2;
/// Pieces that are held for a client that is slower than the controller.
const HELD: usize = 2;

/// Of a request, what the controller is told.
const TOLD: [header::HeaderName; 2] = [header::RANGE, header::IF_RANGE];
/// Of an answer, what the client is told.
const HANDED_ON: [header::HeaderName; 4] =
    [header::CONTENT_LENGTH, header::CONTENT_RANGE, header::ACCEPT_RANGES, header::ETAG];

pub async fn get_recording(State(gateway): State<Arc<Inner>>, request: Request) -> Response {
    respond(&gateway, Transfer::Recording, request).await
}

pub async fn get_log(State(gateway): State<Arc<Inner>>, request: Request) -> Response {
    respond(&gateway, Transfer::Log, request).await
}

async fn respond(gateway: &Inner, transfer: Transfer, request: Request) -> Response {
    let served = serve(gateway, transfer, request).await;
    gateway.metrics.transferred(transfer, served.as_ref().err().map(|problem| problem.kind));
    served.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(gateway: &Inner, transfer: Transfer, request: Request) -> Result<Response, Problem> {
    let session = request.uri().path().split('/').nth(2).and_then(|id| id.parse().ok());
    let (session, _any) = holder(gateway, session, request.headers()).await?;
    let asked = Asked::read(transfer, session, request.uri().query().unwrap_or_default())?;
    let controller = gateway.controller.as_ref().ok_or_else(|| {
        let detail = "this gateway does not know its controller (--controller-url, CLISCALE_CONTROLLER_URL)";
        Problem::new(ProblemType::NotFound, detail)
    })?;
    let place = Arc::clone(&gateway.transfers).try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_TRANSFERS} files are on their way through this gateway, which is the limit");
        Problem::new(ProblemType::TooManyTransfers, detail).retry_after(RETRY_SECS)
    })?;
    let mut told = http::Request::builder().method(request.method()).uri(&asked.target);
    for name in TOLD {
        if let Some(value) = request.headers().get(&name) {
            told = told.header(name, value);
        }
    }
    let away = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, %session, kept = transfer.as_str(), "what is kept of a session cannot be had");
        Problem::new(ProblemType::Unavailable, "what is kept of the session cannot be had at the moment")
            .retry_after(RETRY_SECS)
    };
    let told = told.body(Bytes::new()).map_err(|error| away(&error))?;
    let answered = controller.send(told).await.map_err(|error| away(&error))?;
    let status = answered.status();
    if !status.is_success() {
        let problem = read_problem(answered).await;
        return Err(problem.unwrap_or_else(|| away(&format_args!("the controller answers {status}"))));
    }
    Ok(hand_on(answered, &asked, place))
}

/// What is wanted, in the controller's words and in the client's.
struct Asked {
    target: String,
    kind: &'static str,
    name: String,
}

impl Asked {
    fn read(transfer: Transfer, session: SessionId, query: &str) -> Result<Self, Problem> {
        if transfer == Transfer::Recording {
            let (target, name) = (recording_path(session), format!("{session}.cast"));
            return Ok(Self { target, kind: MEDIA_TYPE, name });
        }
        let format = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "format");
        let format = format.map_or("text".into(), |(_, value)| value);
        // Of a closed set, as it becomes part of an address.
        let (kind, name) = match &*format {
            "text" => ("text/plain; charset=utf-8", format!("{session}.log")),
            "raw" => ("application/octet-stream", format!("{session}.raw.log")),
            _ => return Err(Problem::new(ProblemType::InvalidRequest, "format is text or raw")),
        };
        Ok(Self { target: format!("{}?format={format}", log_path(session)), kind, name })
    }
}

/// The answer, as it is read. Nothing that the session wrote is shown by a browser as if this server had written it.
fn hand_on(answered: http::Response<Body>, asked: &Asked, place: OwnedSemaphorePermit) -> Response {
    let (head, body) = answered.into_parts();
    let mut response = Response::new(pump(body, place));
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    for name in HANDED_ON {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asked.kind));
    // An id and an ending.
    if let Ok(attachment) = HeaderValue::try_from(format!("attachment; filename=\"{}\"", asked.name)) {
        headers.insert(header::CONTENT_DISPOSITION, attachment);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

/// Reads the body for as long as somebody takes it: else the controller, and what it reads from, would be held by whoever
/// has gone to sleep in the middle of a download.
fn pump(mut body: Body, place: OwnedSemaphorePermit) -> Body {
    let (sender, pumped) = mpsc::channel(HELD);
    tokio::spawn(async move {
        loop {
            let frame = body.frame().await;
            let done = !matches!(frame, Some(Ok(_)));
            if !matches!(timeout(STALL_LIMIT, sender.send(frame)).await, Ok(Ok(()))) || done {
                break;
            }
        }
        drop(place);
    });
    Body::new(Pumped(pumped))
}

/// `None` is the end. One that never comes is an error, so that what broke off never looks complete.
struct Pumped(mpsc::Receiver<Option<Piece>>);
type Piece = Result<Frame<Bytes>, axum::Error>;

impl hyper::body::Body for Pumped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        let given_up = || Some(Err(axum::Error::new(io::Error::other("given up, as nobody took it"))));
        self.0.poll_recv(context).map(|received| received.unwrap_or_else(given_up))
    }
}

/// What the controller says to the caller; `None`: what it says is between the two of us.
pub async fn read_problem(answered: http::Response<Body>) -> Option<Problem> {
    let body = Limited::new(answered.into_body(), MAX_PROBLEM).collect().await.ok()?.to_bytes();
    let said: ProblemBody = serde_json::from_slice(&body).ok()?;
    let kind: ProblemType = said.kind.rsplit('/').next()?.parse().ok()?;
    // An older controller has no such path.
    if matches!(kind, ProblemType::Unauthorized | ProblemType::NotFound | ProblemType::Internal) {
        return None;
    }
    let problem = Problem::new(kind, said.detail);
    Some(match said.retry_after_secs {
        Some(seconds) => problem.retry_after(seconds),
        None => problem,
    })
}
