//! A terminal's client for tests: ttyd's wire and `tty.r1`, with everything kept that it was sent.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, header};
use session::frames::{
    ClientFrame, Deadline, Exit, Hello, Presence, Resized, Resume, ServerFrame, Size, Start, Tickets, Waiting,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::connector::{Connection, Connector};

type Socket = WebSocketStream<Box<dyn Connection>>;

/// One connection. Frames are taken in only while a method waits for something.
pub struct TerminalClient {
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
    /// Every output byte since the connection, in order.
    pub output: Vec<u8>,
    /// Every `S`; the last one holds.
    pub starts: Vec<Start>,
    pub snapshots: Vec<Bytes>,
    pub waiting: Vec<Waiting>,
    /// Every `Z` with the offset at which it came.
    pub resized: Vec<(u64, Resized)>,
    pub tickets: Option<Tickets>,
    pub title: Option<String>,
    /// Every `P`; the last one holds.
    pub presences: Vec<Presence>,
    pub deadlines: Vec<Deadline>,
    pub exit: Option<Exit>,
    /// The last input offset that was acknowledged.
    pub input_acked: Option<u64>,
    /// The close's code and reason; `None` in it when the connection just broke.
    pub closed: Option<Option<(u16, String)>>,
    /// Offset of the next output byte (`tty.r1`).
    pub offset: u64,
    /// Input bytes sent by [`TerminalClient::type_at_offset`].
    pub typed: u64,
}

/// The upgrade was answered with something else than 101.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: String,
}

impl TerminalClient {
    /// Connects without saying hello yet.
    pub async fn open(
        url: &str,
        headers: &[(&str, &str)],
        protocols: &[&str],
    ) -> anyhow::Result<Result<Self, Refused>> {
        Self::open_by(&Connector::default(), url, headers, protocols).await
    }

    /// The same, by a connector that may trust more.
    pub async fn open_by(
        connector: &Connector,
        url: &str,
        headers: &[(&str, &str)],
        protocols: &[&str],
    ) -> anyhow::Result<Result<Self, Refused>> {
        let connection = connector
            .connect(url)
            .await
            .with_context(|| format!("connecting to {}", url.split('?').next().unwrap_or(url)))?;
        Self::open_over(connection, url, headers, protocols).await
    }

    /// The same over a connection that is there already, such as one that breaks where a test wants it to.
    pub async fn open_over(
        connection: Box<dyn Connection>,
        url: &str,
        headers: &[(&str, &str)],
        protocols: &[&str],
    ) -> anyhow::Result<Result<Self, Refused>> {
        let mut request = url.into_client_request()?;
        if !protocols.is_empty() {
            let offered = HeaderValue::from_str(&protocols.join(", "))?;
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
        }
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::try_from(*name)?, HeaderValue::from_str(value)?);
        }
        let (socket, response) = match client_async(request, connection).await {
            Ok(connected) => connected,
            Err(Error::Http(response)) => {
                let status = response.status().as_u16();
                let body = response.into_body().unwrap_or_default();
                return Ok(Err(Refused { status, body: String::from_utf8_lossy(&body).into_owned() }));
            }
            Err(error) => return Err(error).context("connecting"),
        };
        let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        let protocol = protocol.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (sink, stream) = socket.split();
        Ok(Ok(Self {
            sink,
            stream,
            protocol,
            output: Vec::new(),
            starts: Vec::new(),
            snapshots: Vec::new(),
            waiting: Vec::new(),
            resized: Vec::new(),
            tickets: None,
            title: None,
            presences: Vec::new(),
            deadlines: Vec::new(),
            exit: None,
            input_acked: None,
            closed: None,
            offset: 0,
            typed: 0,
        }))
    }

    /// Connects and says a hello of 80x24.
    pub async fn connect(url: &str, headers: &[(&str, &str)], protocols: &[&str]) -> anyhow::Result<Self> {
        Self::connect_by(&Connector::default(), url, headers, protocols).await
    }

    /// The same, by a connector that may trust more.
    pub async fn connect_by(
        connector: &Connector,
        url: &str,
        headers: &[(&str, &str)],
        protocols: &[&str],
    ) -> anyhow::Result<Self> {
        let mut client = Self::open_by(connector, url, headers, protocols)
            .await?
            .map_err(|refused| anyhow::anyhow!("the upgrade was refused: {} {}", refused.status, refused.body))?;
        client.hello(Hello { columns: Some(80), rows: Some(24), ..Hello::default() }).await?;
        Ok(client)
    }

    /// Connects and takes a stream up where it was left.
    pub async fn resume(
        url: &str,
        headers: &[(&str, &str)],
        protocols: &[&str],
        resume: Resume,
    ) -> anyhow::Result<Self> {
        let mut client = Self::open(url, headers, protocols)
            .await?
            .map_err(|refused| anyhow::anyhow!("the upgrade was refused: {} {}", refused.status, refused.body))?;
        client.hello(Hello { resume: Some(resume), ..Hello::default() }).await?;
        Ok(client)
    }

    pub async fn hello(&mut self, hello: Hello) -> anyhow::Result<()> {
        self.send(ClientFrame::Hello(hello)).await
    }

    pub async fn send(&mut self, frame: ClientFrame) -> anyhow::Result<()> {
        self.send_raw(Message::Binary(frame.encode())).await
    }

    pub async fn send_raw(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.sink.send(message).await?)
    }

    /// Types as every ttyd client does.
    pub async fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.send(ClientFrame::Input(Bytes::copy_from_slice(text.as_bytes()))).await
    }

    /// Types at this client's own input offset (`tty.r1`).
    pub async fn type_at_offset(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let at = self.typed;
        self.typed += bytes.len() as u64;
        self.send(ClientFrame::InputAt(at, Bytes::copy_from_slice(bytes))).await
    }

    pub async fn resize(&mut self, columns: u16, rows: u16) -> anyhow::Result<()> {
        self.send(ClientFrame::Resize(Size { columns, rows })).await
    }

    /// Where a later connection takes this stream up.
    pub fn resume_point(&self) -> Option<Resume> {
        let start = self.starts.last()?;
        Some(Resume { sid: start.sid.clone(), off: self.offset, input: self.typed, client: String::new() })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Takes in one message; false once the connection is over.
    pub async fn take_one(&mut self) -> anyhow::Result<bool> {
        let bytes = match self.stream.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Close(frame))) => {
                self.closed = Some(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())));
                // Reading on sends the answer to the close.
                while let Some(Ok(_)) = self.stream.next().await {}
                return Ok(false);
            }
            Some(Ok(_)) => return Ok(true),
            Some(Err(_)) | None => {
                self.closed.get_or_insert(None);
                return Ok(false);
            }
        };
        match ServerFrame::decode(bytes)? {
            ServerFrame::Output(bytes) => {
                self.offset += bytes.len() as u64;
                self.output.extend_from_slice(&bytes);
            }
            ServerFrame::Title(title) => self.title = Some(title),
            ServerFrame::Preferences(_) => {}
            ServerFrame::Waiting(waiting) => self.waiting.push(waiting),
            ServerFrame::Tickets(tickets) => self.tickets = Some(tickets),
            ServerFrame::Start(start) => {
                self.offset = start.off;
                self.starts.push(start);
            }
            ServerFrame::Snapshot(bytes) => self.snapshots.push(bytes),
            ServerFrame::Resized(resized) => self.resized.push((self.offset, resized)),
            ServerFrame::InputAck(at) => self.input_acked = Some(at),
            ServerFrame::Presence(presence) => self.presences.push(presence),
            ServerFrame::Deadline(deadline) => self.deadlines.push(deadline),
            ServerFrame::Exit(exit) => self.exit = Some(exit),
        }
        Ok(true)
    }

    /// Takes frames in until `done`; an error when the connection or the time is over before.
    pub async fn wait_until(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let wait = async {
            while !done(self) {
                if !self.take_one().await? && !done(self) {
                    bail!("closed with {:?} before {what}", self.closed);
                }
            }
            Ok(())
        };
        match tokio::time::timeout(limit, wait).await {
            Ok(waited) => waited.with_context(|| format!("the end of the output: {:?}", self.tail())),
            Err(_) => bail!("no {what} within {limit:?}; the end of the output: {:?}", self.tail()),
        }
    }

    /// Waits until the output holds `text`.
    pub async fn wait_for(&mut self, text: &str, limit: Duration) -> anyhow::Result<()> {
        self.wait_until(limit, &format!("{text:?} in the output"), |client| client.has(text)).await
    }

    /// Waits for the end of the connection, everything before it included.
    pub async fn wait_closed(&mut self, limit: Duration) -> anyhow::Result<Option<u16>> {
        self.wait_until(limit, "close", |client| client.closed.is_some()).await?;
        Ok(self.close_code())
    }

    pub fn close_code(&self) -> Option<u16> {
        self.closed.as_ref()?.as_ref().map(|(code, _)| *code)
    }

    pub fn has(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.output.windows(text.len()).rev().any(|window| window == text)
    }

    fn tail(&self) -> String {
        let from = self.output.len().saturating_sub(500);
        String::from_utf8_lossy(&self.output[from..]).into_owned()
    }
}
