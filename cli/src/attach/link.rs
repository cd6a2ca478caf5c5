//! One WebSocket to a session's terminal.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use session::frames::{ClientFrame, ServerFrame, TICKET_PREFIX, TTY, TTY_R1, Wire};
use session::problem::ProblemBody;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use url::Url;

/// From dialling to the upgrade's answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// For one message to go out. A server that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

pub struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub wire: Wire,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Unopened {
    /// Nobody answered, or nobody could: it may go better later.
    Away(String),
    /// The server answered, and said no.
    Refused { status: u16, why: String },
}

/// What comes over the connection.
pub enum Event {
    Frame(ServerFrame),
    /// A sign of life without content.
    Nothing,
    /// The server closed, with its code.
    Closed(u16),
    Lost(String),
}

impl Link {
    /// Connects with the token that is in the URL, or with a ticket.
    pub async fn open(url: &Url, ticket: Option<&str>, tls: Connector) -> Result<Self, Unopened> {
        let mut protocols = format!("{TTY_R1}, {TTY}");
        if let Some(ticket) = ticket {
            protocols += &format!(", {TICKET_PREFIX}{ticket}");
        }
        let away = |error: Error| Unopened::Away(error.to_string());
        let mut request = url.as_str().into_client_request().map_err(away)?;
        let protocols = HeaderValue::try_from(protocols).map_err(|error| Unopened::Away(error.to_string()))?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
        let opening = tokio_tungstenite::connect_async_tls_with_config(request, None, true, Some(tls));
        let (socket, response) = match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
            Err(_) => return Err(Unopened::Away("no answer".to_owned())),
            Ok(Err(Error::Http(response))) => return Err(refused(&response)),
            Ok(Err(error)) => return Err(away(error)),
            Ok(Ok(opened)) => opened,
        };
        let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        // A server that chose none speaks what everybody speaks.
        let wire = chosen.and_then(Wire::of).unwrap_or(Wire::Tty);
        Ok(Self { socket, wire })
    }

    /// Safe to cancel.
    pub async fn next(&mut self) -> Event {
        match self.socket.next().await {
            Some(Ok(Message::Binary(bytes))) => self.decode(bytes),
            Some(Ok(Message::Text(text))) => self.decode(text.into()),
            Some(Ok(Message::Close(frame))) => Event::Closed(frame.map_or(1005, |frame| frame.code.into())),
            Some(Ok(_)) => Event::Nothing,
            Some(Err(error)) => Event::Lost(error.to_string()),
            None => Event::Lost("the connection ended".to_owned()),
        }
    }

    fn decode(&self, message: Bytes) -> Event {
        // What we do not know is for later versions of this command.
        ServerFrame::decode(message).map_or(Event::Nothing, Event::Frame)
    }

    pub async fn send(&mut self, frame: ClientFrame) -> Result<(), String> {
        self.send_message(Message::Binary(frame.encode())).await
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<(), String> {
        self.send_message(Message::Ping(Bytes::new())).await
    }

    async fn send_message(&mut self, message: Message) -> Result<(), String> {
        match tokio::time::timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("the server takes nothing".to_owned()),
        }
    }

    /// Says goodbye, briefly.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }
}

fn refused(response: &http::Response<Option<Vec<u8>>>) -> Unopened {
    let status = response.status();
    let problem = response.body().as_deref().and_then(|body| serde_json::from_slice::<ProblemBody>(body).ok());
    let why = problem.map_or_else(|| status.to_string(), |problem| format!("{}: {}", problem.title, problem.detail));
    if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
        return Unopened::Away(why);
    }
    Unopened::Refused { status: status.as_u16(), why }
}
