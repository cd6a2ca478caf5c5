//! An HTTP server for tests of downloads, on loopback unless told otherwise: it serves bytes well, slowly, or not to
//! the end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// What a path answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The bytes, with their length.
    Whole(Vec<u8>),
    /// The bytes with a content type.
    Typed(Vec<u8>, &'static str),
    /// The bytes without a length.
    Unannounced(Vec<u8>),
    /// A redirect to a URL or path.
    Redirect(u16, String),
    /// A status with an empty body.
    Status(u16),
    /// Part of the bytes, then nothing more, with the connection left open.
    StallAfter(Vec<u8>, usize),
    /// Nothing at all: not even a status.
    Silent,
    /// The bytes in pieces of a size, with a pause before each.
    Drip(Vec<u8>, usize, Duration),
    /// Part of the bytes, with the length of all; then the connection is cut.
    CutAfter(Vec<u8>, usize),
    /// These bytes over and over, without a length and without an end.
    Endless(Vec<u8>),
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    pub path: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    seen: Mutex<Vec<SeenRequest>>,
}

/// Serves until dropped.
pub struct ArchiveServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl ArchiveServer {
    pub async fn start() -> Self {
        Self::listen(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()).await
    }

    /// For those who see this machine at `host`.
    pub async fn start_for(host: IpAddr) -> Self {
        Self::listen(Ipv4Addr::UNSPECIFIED.into(), host).await
    }

    async fn listen(on: IpAddr, host: IpAddr) -> Self {
        let listener = TcpListener::bind((on, 0)).await.expect("a free port");
        let address = SocketAddr::new(host, listener.local_addr().expect("a bound listener").port());
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { address, shared, task }
    }

    /// Lets `path` (with a leading slash, without a query) answer `reply`; gives its URL.
    pub fn serve(&self, path: &str, reply: Reply) -> Url {
        self.shared.replies.lock().unwrap().insert(path.to_owned(), reply);
        self.url(path)
    }

    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().expect("a path")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn seen(&self) -> Vec<SeenRequest> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for ArchiveServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    shared.seen.lock().unwrap().push(SeenRequest { path: path.clone(), authorization });
    let reply = shared.replies.lock().unwrap().get(&path).cloned();
    match reply {
        None => respond(StatusCode::NOT_FOUND, &[], Body::empty()),
        Some(Reply::Whole(bytes)) => respond(StatusCode::OK, &[], Body::from(bytes)),
        Some(Reply::Typed(bytes, kind)) => {
            respond(StatusCode::OK, &[(header::CONTENT_TYPE, kind.to_owned())], Body::from(bytes))
        }
        Some(Reply::Unannounced(bytes)) => {
            respond(StatusCode::OK, &[], pieces(bytes, 8192, Duration::ZERO, End::Whole))
        }
        Some(Reply::Redirect(code, to)) => respond(status(code), &[(header::LOCATION, to)], Body::empty()),
        Some(Reply::Status(code)) => respond(status(code), &[], Body::empty()),
        Some(Reply::Silent) => std::future::pending().await,
        Some(Reply::StallAfter(bytes, at)) => {
            let length = bytes.len();
            part(length, pieces(bytes[..at].to_vec(), 8192, Duration::ZERO, End::Never))
        }
        Some(Reply::CutAfter(bytes, at)) => {
            let length = bytes.len();
            part(length, pieces(bytes[..at].to_vec(), 8192, Duration::ZERO, End::Whole))
        }
        Some(Reply::Drip(bytes, size, pause)) => part(bytes.len(), pieces(bytes, size, pause, End::Whole)),
        Some(Reply::Endless(bytes)) => {
            let bytes = Bytes::from(bytes);
            respond(StatusCode::OK, &[], Body::from_stream(stream::repeat(Ok::<_, Infallible>(bytes))))
        }
    }
}

enum End {
    Whole,
    Never,
}

fn pieces(bytes: Vec<u8>, size: usize, pause: Duration, end: End) -> Body {
    let pieces: Vec<Bytes> = bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect();
    let sent = stream::iter(pieces).then(move |piece| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok::<_, Infallible>(piece)
    });
    match end {
        End::Whole => Body::from_stream(sent),
        End::Never => Body::from_stream(sent.chain(stream::pending())),
    }
}

fn part(length: usize, body: Body) -> Response {
    respond(StatusCode::OK, &[(header::CONTENT_LENGTH, length.to_string())], body)
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

fn respond(status: StatusCode, headers: &[(HeaderName, String)], body: Body) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body).expect("valid headers")
}
