//! Shaking hands with a runner, or with a stock ttyd: one attempt, which harms nobody when it fails.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use session::frames::Wire;
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use session::{ClientId, Role, Secret};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::upgraded::{NotTcp, Upgraded};

/// The network is the cluster's own, or loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection to the runner. For the log.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("the handshake failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the upgrade was answered with {0}")]
    Refused(StatusCode),
    #[error("the upgrade's answer is no WebSocket answer for what was asked")]
    WrongAnswer,
    #[error(transparent)]
    NotTcp(#[from] NotTcp),
    #[error("the address cannot stand in a request: {0}")]
    Address(#[from] http::Error),
}

/// Whom to connect, and where to.
pub struct Link<'a> {
    /// `HOST:PORT`
    pub address: &'a str,
    /// A stock ttyd has none.
    pub secret: Option<&'a Secret>,
    pub role: Role,
    pub client: ClientId,
    pub wire: Wire,
}

impl Link<'_> {
    pub async fn connect(&self) -> Result<Upgraded, LinkError> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address))
            .await
            .map_err(|_| LinkError::TimedOut)?
            .map_err(LinkError::Connect)?;
        timeout(HANDSHAKE_TIMEOUT, self.shake_hands(stream)).await.map_err(|_| LinkError::TimedOut)?
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<Upgraded, LinkError> {
        let key = generate_key();
        let request = self.request(&key)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = connection.with_upgrades();
        let upgrade = async {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(LinkError::Refused(response.status()));
            }
            let says = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            if says(header::SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str())
                || says(header::SEC_WEBSOCKET_PROTOCOL) != Some(self.wire.as_str())
                || says(header::SEC_WEBSOCKET_EXTENSIONS).is_some()
            {
                return Err(LinkError::WrongAnswer);
            }
            Ok(hyper::upgrade::on(response).await?)
        };
        // The connection's own future only drives the handshake; it ends with the upgrade, and is dropped with it.
        let drive = async {
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            upgraded = upgrade => Ok(Upgraded::try_from(upgraded?)?),
            never = drive => match never {},
        }
    }

    fn request(&self, key: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
        let mut request = Request::get("/ws")
            .header(header::HOST, self.address)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, key)
            .header(header::SEC_WEBSOCKET_PROTOCOL, self.wire.as_str())
            .header(ROLE_HEADER, self.role.as_str())
            .header(CLIENT_HEADER, self.client.to_string());
        if let Some(secret) = self.secret {
            let mut bearer = http::HeaderValue::try_from(format!("Bearer {}", secret.expose()))?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        request.body(Empty::new())
    }
}
