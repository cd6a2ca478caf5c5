//! One attached connection, in ttyd's wire or in `tty.r1`: a reader that types and resizes, and a writer that follows
//! the stream at its own pace. They run side by side, so that a client which is slow to read can still interrupt.

mod reader;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use session::Role;
use session::frames::{Size, StartMode, Wire, close};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::clients::Leave;
use crate::terminal::{Attach, Attached, Terminal};
use reader::{read_frames, read_hello, silence};
use writer::{Writer, write_frames};

const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// A peer that sent nothing for this long, no answer to a ping either, is gone. Two pings fit in with time to spare.
const DEAD_AFTER: Duration = Duration::from_secs(65);
/// How long a peer may take to answer a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

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

pub async fn serve(socket: WebSocket, terminal: &Arc<Terminal>, who: Who) {
    let (mut sink, mut stream) = socket.split();
    let done = attend(&mut sink, &mut stream, terminal, &who).await;
    if let Some((code, reason)) = done {
        part(&mut sink, &mut stream, code, reason).await;
    }
    tracing::debug!(role = %who.role, wire = who.wire.as_str(), code = done.map(|(code, _)| code), "a viewer left");
}

async fn attend(sink: &mut Sink, stream: &mut Stream, terminal: &Arc<Terminal>, who: &Who) -> Done {
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
        acknowledges: who.wire == Wire::TtyR1,
        lossless: hello.lossless && who.wire == Wire::TtyR1,
    };
    let Ok(Attached { viewer, cursor, start, accepted }) = terminal.attach(&attach) else {
        return Some((close::FULL, "too many viewers are attached"));
    };
    let mode = start.as_ref().map_or(StartMode::Snapshot, |start| start.mode);
    tracing::debug!(role = %who.role, wire = who.wire.as_str(), ?mode, "a viewer attached");
    let mut leave = viewer.leave.clone();
    let flow = watch::Sender::new(Flow { paused: false, parsed: None, accepted, heard: Instant::now() });
    let mut writer = Writer::new(sink, who.wire);
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
