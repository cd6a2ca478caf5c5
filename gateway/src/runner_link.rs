//! Shaking hands with a runner, or with a stock ttyd: one attempt, which harms nobody when it fails.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use http::header::{self, HeaderValue, InvalidHeaderValue};
use session::frames::Wire;
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use session::{ClientId, Role, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_key};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;

use crate::upgraded::Upgraded;

/// The network is the cluster's own, or loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that an answer has, with what is often sent right after it.
const USUAL_ANSWER: usize = 1024;
const MAX_ANSWER: usize = 16 * 1024;

/// Why there is no connection to the runner. For the log.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("the handshake broke off: {0}")]
    Broken(io::Error),
    #[error("the upgrade was answered with {0}")]
    Refused(StatusCode),
    #[error("the upgrade's answer is no WebSocket answer for what was asked")]
    WrongAnswer,
    #[error("the address or the secret cannot stand in a request: {0}")]
    Value(#[from] InvalidHeaderValue),
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

    async fn shake_hands(&self, mut stream: TcpStream) -> Result<Upgraded, LinkError> {
        let key = generate_key();
        stream.write_all(self.request(&key)?.as_bytes()).await.map_err(LinkError::Broken)?;
        let mut read = BytesMut::with_capacity(USUAL_ANSWER);
        let (used, response) = loop {
            if stream.read_buf(&mut read).await.map_err(LinkError::Broken)? == 0 {
                return Err(LinkError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            match Response::try_parse(&read) {
                Ok(Some(parsed)) => break parsed,
                Ok(None) if read.len() < MAX_ANSWER => {}
                Ok(None) | Err(_) => return Err(LinkError::WrongAnswer),
            }
        };
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
        Ok(Upgraded::new(stream, &read[used..]))
    }

    /// Written out, since nothing in it varies but a few words: what a client of HTTP needs beside it would cost more
    /// than all the rest of a handshake.
    fn request(&self, key: &str) -> Result<String, LinkError> {
        let mut request = format!(
            "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\nsec-websocket-protocol: {}\r\n\
             {ROLE_HEADER}: {}\r\n{CLIENT_HEADER}: {}\r\n",
            as_value(self.address)?,
            self.wire.as_str(),
            self.role.as_str(),
            self.client,
        );
        if let Some(secret) = self.secret {
            request.push_str("authorization: Bearer ");
            request.push_str(as_value(secret.expose())?);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        Ok(request)
    }
}

/// What a runner has told of itself must not end the line that it stands in.
fn as_value(text: &str) -> Result<&str, LinkError> {
    HeaderValue::from_str(text)?;
    Ok(text)
}
