//! One attached connection, in ttyd's wire or in `tty.r1`: a reader that types and resizes, and a writer that follows
//! the stream at its own pace. They run side by side, so that a client which is slow to read can still interrupt.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use screen::QueryFilter;
use session::Role;
use session::frames::{ClientFrame, Hello, ServerFrame, Size, StartMode, Wire, close};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use crate::clients::{InputRefused, Leave};
use crate::controller::jittered;
use crate::terminal::{Attach, Cursor, Step, Terminal, Viewer};

const HELLO_LIMIT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(25);
/// A peer that sent nothing for this long, no answer to a ping either, is gone. Two pings fit in with time to spare.
const DEAD_AFTER: Duration = Duration::from_secs(65);
/// How long a peer may take to answer a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Output in one message.
const CHUNK: usize = 64 * 1024;
/// Output that an acknowledging client may be behind before it is sent no more.
const WINDOW: u64 = 1 << 20;
/// RIS (ECMA-48, 8.3.105): the screen starts empty.
const RESET: &[u8] = b"\x1bc";

/// RFC 6455, 7.4.1.
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

pub struct Who {
    pub client: String,
    pub role: Role,
    pub wire: Wire,
}

type Sink = SplitSink<WebSocket, Message>;
type Stream = SplitStream<WebSocket>;

/// What the reader learned that the writer acts on.
#[derive(Clone, Copy)]
struct Flow {
    paused: bool,
    /// Output parsed by the client, once it has said so.
    parsed: Option<u64>,
    /// Input accepted from it.
    accepted: u64,
    heard: Instant,
}

/// How a connection came to its end: with a close to be sent, or without anybody to send it to.
type Done = Option<(u16, &'static str)>;

pub async fn serve(socket: WebSocket, terminal: &Terminal, who: Who) {
    let (mut sink, mut stream) = socket.split();
    let done = attend(&mut sink, &mut stream, terminal, &who).await;
    if let Some((code, reason)) = done {
        part(&mut sink, &mut stream, code, reason).await;
    }
    tracing::debug!(role = %who.role, wire = who.wire.as_str(), code = done.map(|(code, _)| code), "a viewer left");
}

async fn attend(sink: &mut Sink, stream: &mut Stream, terminal: &Terminal, who: &Who) -> Done {
    let hello = match timeout(HELLO_LIMIT, read_hello(stream)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(done)) => return done,
        Err(_) => return Some((PROTOCOL_ERROR, "no hello came in time")),
    };
    let size = hello.columns.zip(hello.rows).map(|(columns, rows)| Size { columns, rows });
    let attach = Attach {
        client: &who.client,
        role: who.role,
        size: size.and_then(|size| size.checked().ok()),
        resume: hello.resume.as_ref().filter(|_| who.wire == Wire::TtyR1),
    };
    let Ok((viewer, cursor, start)) = terminal.attach(&attach) else {
        return Some((close::FULL, "too many viewers are attached"));
    };
    tracing::debug!(role = %who.role, wire = who.wire.as_str(), mode = ?start.mode, "a viewer attached");
    let mut leave = viewer.leave.clone();
    let flow = watch::Sender::new(Flow { paused: false, parsed: None, accepted: start.input, heard: Instant::now() });
    let mut writer = Writer { sink, wire: who.wire, replay: Some((start.end, QueryFilter::default())) };
    tokio::select! {
        biased;
        told = told_to_leave(&mut leave) => Some(told),
        done = read_frames(stream, &viewer, &flow) => done,
        () = silence(flow.subscribe()), if who.wire == Wire::TtyR1 => None,
        done = write_frames(&mut writer, terminal, cursor, start, flow.subscribe()) => done,
    }
}

async fn told_to_leave(leave: &mut watch::Receiver<Leave>) -> (u16, &'static str) {
    match leave.wait_for(Option::is_some).await.map(|told| *told) {
        Ok(Some(told)) => told,
        // The terminal forgot this connection without a word; that happens only after it was detached.
        _ => std::future::pending().await,
    }
}

/// Returns when nothing came for too long. A client of ours is heard of even while it is sent a flood, by what it
/// acknowledges; a stock one need not be, so it is judged by its pongs when there is nothing to send.
async fn silence(flow: watch::Receiver<Flow>) {
    loop {
        let heard = flow.borrow().heard;
        if heard.elapsed() >= DEAD_AFTER {
            return;
        }
        sleep_until(heard + DEAD_AFTER).await;
    }
}

async fn read_hello(stream: &mut Stream) -> Result<Hello, Done> {
    loop {
        let Some(bytes) = payload(stream.next().await)? else { continue };
        return match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Hello(hello)) => Ok(hello),
            _ => Err(Some((PROTOCOL_ERROR, "the first message must be the hello"))),
        };
    }
}

/// The bytes of a data message, text or binary; `None` for pings and pongs.
fn payload(message: Option<Result<Message, axum::Error>>) -> Result<Option<Bytes>, Done> {
    match message {
        Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
        Some(Ok(Message::Text(text))) => Ok(Some(text.into())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(None),
        Some(Err(error)) => Err(match error.into_inner().downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => Some((TOO_BIG, "the message is too long")),
            Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => Some((PROTOCOL_ERROR, "")),
            _ => None,
        }),
    }
}

async fn read_frames(stream: &mut Stream, viewer: &Viewer<'_>, flow: &watch::Sender<Flow>) -> Done {
    loop {
        let bytes = match payload(stream.next().await) {
            Ok(bytes) => bytes,
            Err(done) => return done,
        };
        flow.send_modify(|flow| flow.heard = Instant::now());
        let Some(bytes) = bytes else { continue };
        let typed = match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Input(bytes)) => viewer.type_input(None, bytes).await,
            Ok(ClientFrame::InputAt(at, bytes)) => viewer.type_input(Some(at), bytes).await,
            Ok(ClientFrame::Resize(size)) => {
                viewer.resize(size);
                continue;
            }
            Ok(ClientFrame::Take(take)) => {
                viewer.take_over(take);
                continue;
            }
            Ok(ClientFrame::Pause) => {
                flow.send_modify(|flow| flow.paused = true);
                continue;
            }
            Ok(ClientFrame::Resume) => {
                flow.send_modify(|flow| flow.paused = false);
                continue;
            }
            Ok(ClientFrame::Ack(at)) => {
                flow.send_modify(|flow| flow.parsed = flow.parsed.max(Some(at)));
                continue;
            }
            // ttyd ignores what it does not know, and so what a later version may send.
            Ok(ClientFrame::Hello(_)) | Err(_) => continue,
        };
        match typed {
            Ok(accepted) => flow.send_modify(|flow| flow.accepted = accepted),
            Err(InputRefused::Replaced) => return Some((close::TAKEN_OVER, "this client has connected anew")),
            Err(InputRefused::Gap) => return Some((PROTOCOL_ERROR, "input is missing before its offset")),
        }
    }
}

struct Writer<'a> {
    sink: &'a mut Sink,
    wire: Wire,
    /// Where the replay ends, and what takes questions out of it for stock clients; `None` once it is over.
    replay: Option<(u64, QueryFilter)>,
}

/// The peer cannot be written to.
struct Gone;

impl Writer<'_> {
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        // A peer that does not read for this long does not answer pings either.
        timeout(DEAD_AFTER, self.sink.send(message)).await.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    async fn frame(&mut self, frame: ServerFrame) -> Result<(), Gone> {
        self.send(Message::Binary(frame.encode())).await
    }

    async fn start(&mut self, start: session::frames::Start) -> Result<(), Gone> {
        let reset = start.mode == StartMode::Snapshot;
        match self.wire {
            Wire::TtyR1 => {
                self.frame(ServerFrame::Start(start)).await?;
                if reset {
                    self.frame(ServerFrame::Snapshot(Bytes::from_static(RESET))).await?;
                }
            }
            Wire::Tty if reset => self.frame(ServerFrame::Output(Bytes::from_static(RESET))).await?,
            Wire::Tty => {}
        }
        Ok(())
    }

    /// Sends output that ends at `end`.
    async fn output(&mut self, bytes: Bytes, end: u64) -> Result<(), Gone> {
        let shown = match (self.wire, &mut self.replay) {
            (Wire::Tty, Some((replay_end, filter))) => {
                let live = usize::try_from(end.saturating_sub(*replay_end)).unwrap_or(usize::MAX).min(bytes.len());
                let (replayed, new) = bytes.split_at(bytes.len() - live);
                let mut shown = filter.pass(replayed);
                if end >= *replay_end {
                    shown.extend(filter.finish());
                    self.replay = None;
                }
                shown.extend_from_slice(new);
                Bytes::from(shown)
            }
            _ => bytes,
        };
        match shown.is_empty() {
            true => Ok(()),
            false => self.frame(ServerFrame::Output(shown)).await,
        }
    }
}

async fn write_frames(
    writer: &mut Writer<'_>,
    terminal: &Terminal,
    cursor: Cursor,
    start: session::frames::Start,
    flow: watch::Receiver<Flow>,
) -> Done {
    match follow(writer, terminal, cursor, start, flow).await {
        Ok(()) => Some((close::ENDED, "the session has ended")),
        Err(Gone) => None,
    }
}

/// Follows the stream to its end.
async fn follow(
    writer: &mut Writer<'_>,
    terminal: &Terminal,
    mut cursor: Cursor,
    start: session::frames::Start,
    mut flow: watch::Receiver<Flow>,
) -> Result<(), Gone> {
    if writer.wire == Wire::Tty {
        writer.frame(ServerFrame::Title(terminal.title().to_owned())).await?;
        writer.frame(ServerFrame::Preferences("{}".to_owned())).await?;
    }
    let mut acknowledged = start.input;
    let mut told = None;
    // Nothing beyond the start was sent yet, so a client that acknowledges has this much at least.
    let mut floor = start.off;
    let mut changes = terminal.changes();
    writer.start(start).await?;
    let ping_every = jittered(PING_EVERY, 0.8, 1.0);
    let mut next_ping = Instant::now() + ping_every;
    loop {
        // In a flood too, or a client that acknowledges nothing would not be heard of.
        if Instant::now() >= next_ping {
            next_ping = Instant::now() + ping_every;
            writer.send(Message::Ping(Bytes::new())).await?;
        }
        changes.mark_unchanged();
        let now = *flow.borrow_and_update();
        if now.accepted > acknowledged && writer.wire == Wire::TtyR1 {
            acknowledged = now.accepted;
            writer.frame(ServerFrame::InputAck(acknowledged)).await?;
        }
        if writer.wire == Wire::TtyR1 {
            let presence = terminal.presence(&cursor);
            if told != Some(presence) {
                told = Some(presence);
                writer.frame(ServerFrame::Presence(presence)).await?;
            }
        }
        let unparsed = now.parsed.map_or(0, |parsed| cursor.off.saturating_sub(parsed.max(floor)));
        let step = match now.paused || unparsed >= WINDOW {
            true => Step::UpToDate,
            false => terminal.next(&mut cursor, CHUNK),
        };
        match step {
            Step::Moved(start) => {
                floor = start.off;
                writer.replay = Some((start.end, QueryFilter::default()));
                writer.start(start).await?;
            }
            Step::Output(bytes) => writer.output(bytes, cursor.off).await?,
            Step::Waiting(waiting) if writer.wire == Wire::TtyR1 => writer.frame(ServerFrame::Waiting(waiting)).await?,
            Step::Resized(size) if writer.wire == Wire::TtyR1 => writer.frame(ServerFrame::Resized(size)).await?,
            // A stock client has no words for these.
            Step::Waiting(_) | Step::Resized(_) => {}
            Step::Ended(exit) => {
                if writer.wire == Wire::TtyR1 {
                    writer.frame(ServerFrame::Exit(exit)).await?;
                }
                return Ok(());
            }
            Step::UpToDate => tokio::select! {
                _ = changes.changed() => {}
                _ = flow.changed() => {}
                () = sleep_until(next_ping) => {}
                // Whoever has nothing to take answers pings, on either wire.
                () = sleep_until(now.heard + DEAD_AFTER) => return Err(Gone),
            },
        }
    }
}

/// Says goodbye and waits for the answer: closing a socket with unread input resets it, and with it may go what the
/// peer has not read yet.
async fn part(sink: &mut Sink, stream: &mut Stream, code: u16, reason: &'static str) {
    let goodbye = async {
        if sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    if timeout(CLOSE_LIMIT, goodbye).await.is_err() {
        tracing::debug!(code, "a viewer did not answer the close");
    }
}
