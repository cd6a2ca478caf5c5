//! The client's side: upgrade requests, how they are answered, and what is sent on an open connection.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, header};
use session::frames::{ServerFrame, TTY_R1, Tickets};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::harness::soon;

/// What an upgrade request was answered with.
pub enum Dialled {
    Open(Box<Client>),
    Refused { status: u16, headers: HeaderMap, problem: serde_json::Value },
}

impl Dialled {
    /// The client, with the tickets taken off where there are any.
    pub async fn open(self) -> Client {
        match self {
            Self::Open(mut client) => {
                if client.protocol() == TTY_R1 {
                    match client.frame().await {
                        Got::Frame(ServerFrame::Tickets(tickets)) => client.tickets = Some(tickets),
                        other => panic!("expected tickets, got {other:?}"),
                    }
                }
                *client
            }
            Self::Refused { status, problem, .. } => panic!("refused with {status}: {problem}"),
        }
    }

    /// The close code and reason that a client of ours is refused with.
    pub async fn closed(self) -> (u16, String) {
        match self {
            Self::Open(mut client) => match client.frame().await {
                Got::Close(code, reason) => (code, reason),
                other => panic!("expected a close, got {other:?}"),
            },
            Self::Refused { status, problem, .. } => panic!("refused with {status}: {problem}"),
        }
    }

    /// The status and problem that a stock client is refused with.
    pub fn refused(self) -> (u16, String) {
        match self {
            Self::Open(client) => panic!("accepted as {}", client.protocol()),
            Self::Refused { status, problem, headers } => {
                assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
                let kind = problem["type"].as_str().unwrap_or_default();
                (status, kind.trim_start_matches("/docs/errors/").to_owned())
            }
        }
    }
}

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    pub headers: HeaderMap,
    pub tickets: Option<Tickets>,
}

/// What a client was sent.
pub enum Got {
    Frame(ServerFrame),
    Close(u16, String),
    /// The connection ended without a close frame.
    Cut,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "{:?}", String::from_utf8_lossy(&frame.encode())),
            Self::Close(code, reason) => write!(f, "close {code} {reason}"),
            Self::Cut => write!(f, "cut"),
        }
    }
}

impl Client {
    pub fn protocol(&self) -> &str {
        self.headers.get(header::SEC_WEBSOCKET_PROTOCOL).map_or("", |value| value.to_str().unwrap())
    }

    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The next frame or close; pings are skipped.
    pub async fn frame(&mut self) -> Got {
        soon("a frame", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => return Got::Frame(ServerFrame::decode(bytes).unwrap()),
                    Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                        return Got::Close(code.into(), reason.to_string());
                    }
                    Some(Ok(Message::Close(None))) => return Got::Close(1005, String::new()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Got::Cut,
                }
            }
        })
        .await
    }

    /// The next output, with whatever is said about waiting skipped.
    pub async fn output(&mut self) -> Bytes {
        loop {
            match self.frame().await {
                Got::Frame(ServerFrame::Output(bytes)) => return bytes,
                Got::Frame(ServerFrame::Waiting(_)) => {}
                other => panic!("expected output, got {other:?}"),
            }
        }
    }
}
