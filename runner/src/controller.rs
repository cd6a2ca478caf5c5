//! The way to the controller: one POST per connection over plain HTTP/1.1, each within a deadline.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde::Serialize;
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
        tokio::time::timeout(CALL_LIMIT, self.exchange(call, bearer, body)).await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn exchange<T: Serialize>(
        &self,
        call: &str,
        bearer: &Secret,
        body: impl FnOnce(IpAddr) -> T,
    ) -> Result<StatusCode, CallError> {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        let local = stream.local_addr()?.ip().to_canonical();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let path = format!("{}/internal/runners/{}/{call}", self.base.path().trim_end_matches('/'), self.runner);
        // Ids and words make the path, and these types cannot fail to serialise.
        let json = serde_json::to_vec(&body(local)).expect("reports serialise");
        let request = Request::post(path)
            .header(HOST, format!("{host}:{port}"))
            .header(AUTHORIZATION, format!("Bearer {}", bearer.expose()))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(json)))
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
