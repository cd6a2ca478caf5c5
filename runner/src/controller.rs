//! The way to the controller: one call per connection over plain HTTP/1.1, each within a deadline.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use session::recording::{Chunk, MEDIA_TYPE};
use session::{RunnerId, Secret};
use tokio::net::TcpStream;
use url::Url;

/// How long one call may take, from connecting to the status line.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The controller's internal address, and the id under which it knows this runner.
pub struct Controller {
    base: Url,
    runner: RunnerId,
}

/// A call that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the controller cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the controller did not answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the controller did not answer within {} s", CALL_LIMIT.as_secs())]
    TimedOut,
}

impl Controller {
    pub fn new(base: Url, runner: RunnerId) -> Self {
        Self { base, runner }
    }

    /// Posts what `body` makes of this side's own address of the connection, which is how the controller sees us.
    pub async fn post<T: Serialize>(
        &self,
        call: &str,
        bearer: &Secret,
        body: impl FnOnce(IpAddr) -> T,
    ) -> Result<StatusCode, CallError> {
        let path = format!("/internal/runners/{}/{call}", self.runner);
        // These types cannot fail to serialise.
        let body = |local| serde_json::to_vec(&body(local)).expect("reports serialise").into();
        self.within_limit(Method::POST, &path, "application/json", bearer, body).await
    }

    /// Puts a piece of the recording.
    pub async fn put_chunk(&self, chunk: &Chunk, bearer: &Secret, lines: Bytes) -> Result<StatusCode, CallError> {
        self.within_limit(Method::PUT, &chunk.path(self.runner), MEDIA_TYPE, bearer, |_| lines).await
    }

    async fn within_limit(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        bearer: &Secret,
        body: impl FnOnce(IpAddr) -> Bytes,
    ) -> Result<StatusCode, CallError> {
        let exchange = self.exchange(method, path, kind, bearer, body);
        tokio::time::timeout(CALL_LIMIT, exchange).await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        bearer: &Secret,
        body: impl FnOnce(IpAddr) -> Bytes,
    ) -> Result<StatusCode, CallError> {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        let local = stream.local_addr()?.ip().to_canonical();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ids, words and numbers make the path.
        let path = format!("{}{path}", self.base.path().trim_end_matches('/'));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{host}:{port}"))
            .header(AUTHORIZATION, format!("Bearer {}", bearer.expose()))
            .header(CONTENT_TYPE, kind)
            .body(Full::new(body(local)))
            .map_err(std::io::Error::other)?;
        let answer = async move { Ok(sender.send_request(request).await?.status()) };
        tokio::pin!(answer);
        tokio::select! {
            status = &mut answer => status,
            // The connection may close with the answer already in.
            _ = connection => answer.await,
        }
    }
}

/// Waiting times that double up to a limit, each drawn from its upper half so that many runners do not call at once.
pub struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { next: first, limit }
    }

    pub async fn wait(&mut self) {
        let wait = jittered(self.next, 0.5, 1.0);
        self.next = (self.next * 2).min(self.limit);
        tokio::time::sleep(wait).await;
    }
}

/// `whole` times a factor between `least` and `most`.
pub fn jittered(whole: Duration, least: f64, most: f64) -> Duration {
    // The low bits of a random UUID (RFC 9562): all that is asked of them is that runners differ.
    let drawn = (uuid::Uuid::new_v4().as_u128() & 0xffff) as f64 / f64::from(0xffff);
    whole.mul_f64(least + (most - least) * drawn)
}
