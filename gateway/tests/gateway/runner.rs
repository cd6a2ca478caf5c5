//! A runner that each test scripts: what it accepts, sends and breaks.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, header};
use session::frames::ServerFrame;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::harness::soon;

/// The runner, listening.
pub struct FakeRunner {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// A gateway's connection, as the runner sees it.
pub struct Attached {
    pub socket: WebSocketStream<TcpStream>,
    pub path: String,
    pub headers: HeaderMap,
}

impl FakeRunner {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    pub async fn accept_tcp(&self) -> TcpStream {
        soon("a connection to the runner", self.listener.accept()).await.unwrap().0
    }

    pub async fn accept(&self) -> Attached {
        Self::shake_hands(self.accept_tcp().await).await
    }

    pub async fn shake_hands(stream: TcpStream) -> Attached {
        Self::try_to_shake_hands(stream).await.unwrap()
    }

    /// `None` when the gateway gave up meanwhile.
    pub async fn try_to_shake_hands(stream: TcpStream) -> Option<Attached> {
        stream.set_nodelay(true).unwrap();
        let (mut headers, mut path) = (HeaderMap::new(), String::new());
        #[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
        let callback = |request: &Request, mut response: Response| {
            headers = request.headers().clone();
            path = request.uri().to_string();
            let chosen = request.headers()[header::SEC_WEBSOCKET_PROTOCOL].clone();
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.ok()?;
        Some(Attached { socket, path, headers })
    }
}

impl Attached {
    pub async fn send(&mut self, frame: &ServerFrame) {
        self.socket.send(Message::Binary(frame.encode())).await.unwrap();
    }

    pub async fn output(&mut self, text: &'static str) {
        self.send(&ServerFrame::Output(Bytes::from_static(text.as_bytes()))).await;
    }

    /// The next message, unless the client leaves without one.
    pub async fn message_if_any(&mut self) -> Option<Bytes> {
        match soon("a client's message or end", self.socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => Some(bytes),
            _ => None,
        }
    }

    /// The next message, as bytes.
    pub async fn message(&mut self) -> Bytes {
        match soon("a client's message", self.socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            other => panic!("expected a message, got {other:?}"),
        }
    }
}
