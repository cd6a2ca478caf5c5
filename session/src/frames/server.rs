//! What a server sends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FrameError, json, json_bytes, offset, typed, typed_at};
use crate::claims::Role;
use crate::state::{EndReason, Stage};

/// How a `tty.r1` stream is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartMode {
    /// The client's screen is kept; output goes on at its offset.
    Delta,
    /// The whole stream from its first byte; the client resets its screen.
    Full,
    /// A `V` frame follows that sets the screen; `lost` bytes are not sent.
    Snapshot,
}

/// `S`: the stream's position, first of all from the runner, and again when a laggard is moved to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub sid: String,
    pub mode: StartMode,
    /// The offset of the next output byte that is sent.
    pub off: u64,
    /// The offset that the stream has reached; what lies below it is replay.
    pub end: u64,
    /// Input accepted from this client so far.
    #[serde(rename = "in")]
    pub input: u64,
    /// Output bytes that this client will never be sent.
    pub lost: u64,
    pub cols: u16,
    pub rows: u16,
    pub role: Role,
}

/// `W`: what is being waited for. From the gateway before the runner is there, from the runner at each new stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub stage: Stage,
    pub text: String,
}

/// `T`: what lets this tab come back, and ask for what belongs to its session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tickets {
    pub ticket: String,
    pub page_token: String,
}

/// `X`: the end, before close 1000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<String>,
    pub reason: EndReason,
    /// The offset at which the stream ended.
    pub end: u64,
    pub message: Option<String>,
}

/// `Z`: the terminal's size changed at this place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resized {
    pub cols: u16,
    pub rows: u16,
}

/// `P`: who is there, and whose the keyboard is. After the first `S`, and again with every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Presence {
    /// Connections that may type, this one included.
    pub operators: usize,
    /// Connections that may only watch, this one included.
    pub viewers: usize,
    /// This connection has the keyboard and the size: what it types is typed, and its terminal answers the program.
    pub holds: bool,
    /// Some connection has them. Where none has, the next operator to type or to change its size gets them.
    pub held: bool,
}

/// `D`: when the session ends. After each `S`, and again when its deadline moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// Milliseconds from now.
    pub left_ms: u64,
    /// Milliseconds from now until the latest that it can be moved to.
    pub max_left_ms: u64,
}

/// What a server sends.
#[derive(Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// `0`
    Output(Bytes),
    /// `1`
    Title(String),
    /// `2`
    Preferences(String),
    /// `W`
    Waiting(Waiting),
    /// `T`
    Tickets(Tickets),
    /// `S`
    Start(Start),
    /// `V`
    Snapshot(Bytes),
    /// `Z`
    Resized(Resized),
    /// `K`
    InputAck(u64),
    /// `P`
    Presence(Presence),
    /// `D`
    Deadline(Deadline),
    /// `X`
    Exit(Exit),
}

impl ServerFrame {
    pub fn decode(message: Bytes) -> Result<Self, FrameError> {
        let kind = *message.first().ok_or(FrameError::Empty)?;
        let payload = message.slice(1..);
        match kind {
            b'0' => Ok(Self::Output(payload)),
            b'1' => Ok(Self::Title(String::from_utf8_lossy(&payload).into_owned())),
            b'2' => Ok(Self::Preferences(String::from_utf8_lossy(&payload).into_owned())),
            b'W' => json("waiting", &payload).map(Self::Waiting),
            b'T' => json("tickets", &payload).map(Self::Tickets),
            b'S' => json("start", &payload).map(Self::Start),
            b'V' => Ok(Self::Snapshot(payload)),
            b'Z' => json("resized", &payload).map(Self::Resized),
            b'K' => offset("input ack", &payload).map(|(offset, _)| Self::InputAck(offset)),
            b'P' => json("presence", &payload).map(Self::Presence),
            b'D' => json("deadline", &payload).map(Self::Deadline),
            b'X' => json("exit", &payload).map(Self::Exit),
            other => Err(FrameError::UnknownType(other)),
        }
    }

    pub fn encode(&self) -> Bytes {
        match self {
            Self::Output(bytes) => typed(b'0', bytes),
            Self::Title(text) => typed(b'1', text.as_bytes()),
            Self::Preferences(text) => typed(b'2', text.as_bytes()),
            Self::Waiting(waiting) => typed(b'W', &json_bytes(waiting)),
            Self::Tickets(tickets) => typed(b'T', &json_bytes(tickets)),
            Self::Start(start) => typed(b'S', &json_bytes(start)),
            Self::Snapshot(bytes) => typed(b'V', bytes),
            Self::Resized(size) => typed(b'Z', &json_bytes(size)),
            Self::InputAck(at) => typed_at(b'K', *at, b""),
            Self::Presence(presence) => typed(b'P', &json_bytes(presence)),
            Self::Deadline(deadline) => typed(b'D', &json_bytes(deadline)),
            Self::Exit(exit) => typed(b'X', &json_bytes(exit)),
        }
    }
}
