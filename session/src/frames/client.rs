//! What a client sends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FrameError, Size, json_bytes, offset, typed, typed_at};

/// Where a reconnecting client stands in a stream that it has seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The stream that the offsets belong to.
    pub sid: String,
    /// Output bytes seen.
    pub off: u64,
    /// Input bytes sent.
    #[serde(rename = "in", default)]
    pub input: u64,
    /// The client's own name for itself; informational, since the gateway states who a client is.
    #[serde(default)]
    pub client: String,
}

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    #[serde(rename = "AuthToken", default)]
    pub auth_token: String,
    #[serde(default)]
    pub columns: Option<u16>,
    #[serde(default)]
    pub rows: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Rather hold the program up, for a while, than miss any of its output. One client at a time can have that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lossless: bool,
}

/// `L`: this operator wants the keyboard and the size, whoever has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Take {
    /// Whoever had them is sent away with [`super::close::TAKEN_OVER`], too.
    #[serde(default)]
    pub leave: bool,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    Hello(Hello),
    /// `0`: input, applied as it comes.
    Input(Bytes),
    /// `I`: input at an offset of the client's input stream; only the unseen suffix is applied.
    InputAt(u64, Bytes),
    /// `1`
    Resize(Size),
    /// `2`: stop sending output to this client.
    Pause,
    /// `3`
    Resume,
    /// `A`: output parsed up to this offset.
    Ack(u64),
    /// `L`
    Take(Take),
}

impl ClientFrame {
    pub fn decode(message: Bytes) -> Result<Self, FrameError> {
        let kind = *message.first().ok_or(FrameError::Empty)?;
        let payload = message.slice(1..);
        match kind {
            b'{' => serde_json::from_slice(&message).map(Self::Hello).map_err(|_| FrameError::Json("hello")),
            b'0' => Ok(Self::Input(payload)),
            b'1' => {
                let size: Size = serde_json::from_slice(&payload).map_err(|_| FrameError::Json("resize"))?;
                size.checked().map(Self::Resize)
            }
            b'2' => Ok(Self::Pause),
            b'3' => Ok(Self::Resume),
            b'L' => serde_json::from_slice(&payload).map(Self::Take).map_err(|_| FrameError::Json("take")),
            b'A' => offset("ack", &payload).map(|(offset, _)| Self::Ack(offset)),
            b'I' => offset("input", &payload).map(|(offset, rest)| Self::InputAt(offset, payload.slice_ref(rest))),
            other => Err(FrameError::UnknownType(other)),
        }
    }

    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => json_bytes(hello),
            Self::Input(bytes) => typed(b'0', bytes),
            Self::InputAt(at, bytes) => typed_at(b'I', *at, bytes),
            Self::Resize(size) => typed(b'1', &json_bytes(size)),
            Self::Pause => Bytes::from_static(b"2"),
            Self::Resume => Bytes::from_static(b"3"),
            Self::Ack(at) => typed_at(b'A', *at, b""),
            Self::Take(take) => typed(b'L', &json_bytes(take)),
        }
    }
}
