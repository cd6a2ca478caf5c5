//! One transfer from or to a runner: a connection of its own, which ends with it.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use service::Problem;
use session::runner_api::ROLE_HEADER;
use session::{ProblemType, Role, Secret, SessionId};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::watched::{Watch, Watched};
use super::{RETRY_SECS, STALL_LIMIT, answer, empty};

/// The network is the cluster's own, or loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Of a request, what the runner is told.
const TOLD: [header::HeaderName; 2] = [header::RANGE, header::IF_RANGE];
/// Of an answer, what the client is told.
const HANDED_ON: [header::HeaderName; 3] = [header::CONTENT_LENGTH, header::CONTENT_RANGE, header::ACCEPT_RANGES];

/// Whose runner, and where it is.
pub struct Link<'a> {
    pub session: SessionId,
    /// `HOST:PORT`
    pub address: &'a str,
    pub secret: &'a Secret,
    /// Kept for as long as bytes are on their way.
    pub place: OwnedSemaphorePermit,
}

/// What the client is answered.
pub struct Answer {
    pub response: Response,
    /// Why the runner refuses, if it does.
    pub refused: Option<ProblemType>,
}

/// Why nothing came of it. For the log.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no connection in time")]
    TimedOut,
    #[error("nothing moved any more")]
    Stalled,
    #[error("the request failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("this cannot stand in a request: {0}")]
    Request(#[from] http::Error),
    #[error("the runner answers {0} and no problem of the caller's")]
    Strange(StatusCode),
}

impl Link<'_> {
    /// Asks for `target` with what the client sends, and hands the answer on.
    pub async fn transfer(self, target: &str, request: Request) -> Result<Answer, Problem> {
        let session = self.session;
        self.try_to(target, request).await.map_err(|error| {
            tracing::warn!(%error, %session, "the runner's files cannot be had");
            Problem::new(ProblemType::Unavailable, "the session's runner cannot be reached").retry_after(RETRY_SECS)
        })
    }

    async fn try_to(self, target: &str, request: Request) -> Result<Answer, LinkError> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address))
            .await
            .map_err(|_| LinkError::TimedOut)?
            .map_err(LinkError::Connect)?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Dropped, it closes the connection: whoever gives up gives the runner up, too.
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a transfer's connection to a runner failed");
            }
        }));
        let bodiless = request.method() == Method::HEAD;
        let (request, mut sent) = self.request(target, request)?;
        let answered = tokio::select! {
            answered = sender.send_request(request) => answered?,
            () = silence(&mut sent) => return Err(LinkError::Stalled),
        };
        let status = answered.status();
        if status.is_success() {
            return Ok(Answer { response: self.hand_on(answered, connection), refused: None });
        }
        if bodiless {
            return answer::without_body(answered).ok_or(LinkError::Strange(status));
        }
        let read = timeout(STALL_LIMIT, answer::read(answered)).await.map_err(|_| LinkError::Stalled)?;
        read.ok_or(LinkError::Strange(status))
    }

    fn request(&self, target: &str, request: Request) -> Result<(http::Request<Watched<Body>>, Watch), LinkError> {
        let (head, body) = request.into_parts();
        // What comes with a GET is nobody's.
        let body = if head.method == Method::PUT { body } else { Body::empty() };
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", self.secret.expose())).map_err(http::Error::from)?;
        bearer.set_sensitive(true);
        let mut told = http::Request::builder()
            .method(head.method)
            .uri(target)
            .header(header::HOST, self.address)
            .header(header::AUTHORIZATION, bearer)
            .header(ROLE_HEADER, Role::Operator.as_str());
        for name in TOLD {
            if let Some(value) = head.headers.get(&name) {
                told = told.header(name, value);
            }
        }
        let (body, sent) = Watched::new(body);
        Ok((told.body(body)?, sent))
    }

    /// The answer, whose bytes come as the client takes them. Once it takes none, or the runner sends none, the connection
    /// is closed and the answer breaks off.
    fn hand_on(self, answered: http::Response<Incoming>, connection: AbortOnDropHandle<()>) -> Response {
        let (head, body) = answered.into_parts();
        let mut response = empty(head.status);
        for name in HANDED_ON {
            if let Some(value) = head.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        let (body, mut taken) = Watched::new(body);
        *response.body_mut() = Body::new(body);
        let (session, place) = (self.session, self.place);
        tokio::spawn(async move {
            if !taken.moves_to_its_end().await {
                tracing::debug!(%session, "a transfer stood still and was given up");
            }
            drop((connection, place));
        });
        response
    }
}

/// Returns when nothing was sent for too long, or no answer came for as long after all of it.
async fn silence(sent: &mut Watch) {
    if sent.moves_to_its_end().await {
        tokio::time::sleep(STALL_LIMIT).await;
    }
}
