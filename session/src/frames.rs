//! The terminal's messages: ttyd's (subprotocol `tty`) and what `tty.r1` adds. One WebSocket binary message is one
//! frame: a type byte, then its payload. The hello is the exception: bare JSON, so its type byte is its `{`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::claims::Role;
use crate::state::{EndReason, Stage};

/// ttyd's subprotocol.
pub const TTY: &str = "tty";
/// Ours: ttyd's plus offsets, tickets, stages and the end.
pub const TTY_R1: &str = "tty.r1";
/// A second subprotocol with this prefix offers a resume ticket, base64url without padding (RFC 4648, 5).
pub const TICKET_PREFIX: &str = "ticket.";
/// One that comes with a token may offer the ticket that it is to get, drawn by itself: 32 random bytes, base64url without
/// padding. Where the answer is lost after the token was used, that is its way in.
pub const OWN_TICKET_PREFIX: &str = "own-ticket.";

/// The longest message a client may send: input is typed or pasted, in parts.
pub const MAX_CLIENT_FRAME: usize = 256 * 1024;

/// Close codes (RFC 6455, 7.4). 4000 to 4999 are an application's own.
pub mod close {
    pub const ENDED: u16 = 1000;
    pub const DRAINING: u16 = 1012;
    pub const UNAVAILABLE: u16 = 1013;
    pub const TOKEN: u16 = 4401;
    pub const FORBIDDEN: u16 = 4403;
    pub const UNKNOWN: u16 = 4404;
    pub const IDLE: u16 = 4408;
    pub const TAKEN_OVER: u16 = 4409;
    pub const EXPIRED: u16 = 4410;
    pub const FULL: u16 = 4429;
}

/// The wire that a session's backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// A stock ttyd server: no viewers, no resume.
    Tty,
    /// Our runner, which speaks both.
    TtyR1,
}

impl Wire {
    pub const fn as_str(self) -> &'static str {
        match self {
            Wire::Tty => TTY,
            Wire::TtyR1 => TTY_R1,
        }
    }

    pub fn of(text: &str) -> Option<Self> {
        match text {
            TTY => Some(Wire::Tty),
            TTY_R1 => Some(Wire::TtyR1),
            _ => None,
        }
    }
}

/// A message that a terminal's peer could not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("an empty message")]
    Empty,
    #[error("an unknown message type 0x{0:02x}")]
    UnknownType(u8),
    #[error("a {0} message shorter than its offset")]
    Short(&'static str),
    #[error("a {0} message with bad JSON")]
    Json(&'static str),
    #[error("a terminal size of {columns}x{rows}; 1x1 to 1000x1000 are possible")]
    Size { columns: u16, rows: u16 },
}

/// The largest number of columns or rows.
pub const MAX_SIZE: u16 = 1000;

/// A terminal's size in cells, 1 to [`MAX_SIZE`] each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

impl Size {
    /// Refuses what no terminal has.
    pub fn checked(self) -> Result<Self, FrameError> {
        let fits = |cells: u16| (1..=MAX_SIZE).contains(&cells);
        if fits(self.columns) && fits(self.rows) {
            Ok(self)
        } else {
            Err(FrameError::Size { columns: self.columns, rows: self.rows })
        }
    }
}

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
    /// Whoever had them is sent away with [`close::TAKEN_OVER`], too.
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
            Self::Exit(exit) => typed(b'X', &json_bytes(exit)),
        }
    }
}

fn json<'a, T: Deserialize<'a>>(name: &'static str, payload: &'a [u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload).map_err(|_| FrameError::Json(name))
}

fn json_bytes<T: Serialize>(value: &T) -> Bytes {
    // These types hold strings, numbers and closed sets only, for which serde_json cannot fail.
    Bytes::from(serde_json::to_vec(value).expect("frames serialise"))
}

fn offset<'a>(name: &'static str, payload: &'a [u8]) -> Result<(u64, &'a [u8]), FrameError> {
    let (head, rest) = payload.split_first_chunk::<8>().ok_or(FrameError::Short(name))?;
    Ok((u64::from_be_bytes(*head), rest))
}

fn typed(kind: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + payload.len());
    frame.put_u8(kind);
    frame.put_slice(payload);
    frame.freeze()
}

fn typed_at(kind: u8, at: u64, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(9 + payload.len());
    frame.put_u8(kind);
    frame.put_u64(at);
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size() -> impl Strategy<Value = Size> {
        (1..=MAX_SIZE, 1..=MAX_SIZE).prop_map(|(columns, rows)| Size { columns, rows })
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
    }

    fn client_frame() -> impl Strategy<Value = ClientFrame> {
        prop_oneof![
            (".{0,20}", any::<Option<(u16, u16)>>(), any::<Option<(u64, u64)>>()).prop_map(
                |(auth_token, size, resume)| {
                    ClientFrame::Hello(Hello {
                        auth_token,
                        columns: size.map(|s| s.0),
                        rows: size.map(|s| s.1),
                        resume: resume.map(|(off, input)| Resume {
                            sid: "s".into(),
                            off,
                            input,
                            client: String::new(),
                        }),
                        lossless: resume.is_some(),
                    })
                }
            ),
            bytes().prop_map(ClientFrame::Input),
            (any::<u64>(), bytes()).prop_map(|(at, bytes)| ClientFrame::InputAt(at, bytes)),
            size().prop_map(ClientFrame::Resize),
            Just(ClientFrame::Pause),
            Just(ClientFrame::Resume),
            any::<u64>().prop_map(ClientFrame::Ack),
            any::<bool>().prop_map(|leave| ClientFrame::Take(Take { leave })),
        ]
    }

    proptest! {
        #[test]
        fn a_client_frame_survives_its_bytes(frame in client_frame()) {
            prop_assert_eq!(ClientFrame::decode(frame.encode()).unwrap(), frame);
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(message in bytes()) {
            let _ = ClientFrame::decode(message.clone());
            let _ = ServerFrame::decode(message);
        }

        #[test]
        fn output_and_offsets_survive_their_bytes(at: u64, payload in bytes()) {
            for frame in [ServerFrame::Output(payload.clone()), ServerFrame::Snapshot(payload), ServerFrame::InputAck(at)] {
                prop_assert!(ServerFrame::decode(frame.encode()).unwrap() == frame);
            }
        }
    }

    #[test]
    fn every_json_frame_survives_its_bytes() {
        let frames = [
            ServerFrame::Title("vim".into()),
            ServerFrame::Preferences("{}".into()),
            ServerFrame::Waiting(Waiting { stage: Stage::Fetching, text: "é\n".into() }),
            ServerFrame::Tickets(Tickets { ticket: "t".into(), page_token: "p".into() }),
            ServerFrame::Start(Start {
                sid: "s".into(),
                mode: StartMode::Snapshot,
                off: 9,
                end: u64::MAX,
                input: 1,
                lost: 2,
                cols: 80,
                rows: 24,
                role: Role::Viewer,
            }),
            ServerFrame::Resized(Resized { cols: 1, rows: 2 }),
            ServerFrame::Presence(Presence { operators: 1, viewers: 2, holds: true, held: true }),
            ServerFrame::Exit(Exit {
                code: Some(137),
                signal: Some("SIGKILL".into()),
                reason: EndReason::Exited,
                end: 7,
                message: None,
            }),
        ];
        for frame in frames {
            assert!(ServerFrame::decode(frame.encode()).unwrap() == frame);
        }
    }

    #[test]
    fn the_frames_are_ttyds_to_the_byte() {
        assert_eq!(
            ClientFrame::decode(Bytes::from_static(br#"{"AuthToken":"","columns":120,"rows":40}"#)).unwrap(),
            ClientFrame::Hello(Hello { columns: Some(120), rows: Some(40), ..Hello::default() })
        );
        assert_eq!(
            ClientFrame::decode(Bytes::from_static(br#"1{"columns":100,"rows":30}"#)).unwrap(),
            ClientFrame::Resize(Size { columns: 100, rows: 30 })
        );
        assert_eq!(&ServerFrame::Output(Bytes::from_static(b"hi")).encode()[..], b"0hi");
    }

    #[test]
    fn an_impossible_size_or_a_cut_offset_is_an_error() {
        let decode = |text: &'static [u8]| ClientFrame::decode(Bytes::from_static(text)).unwrap_err();
        assert_eq!(decode(br#"1{"columns":0,"rows":30}"#), FrameError::Size { columns: 0, rows: 30 });
        assert_eq!(decode(b"1{}"), FrameError::Json("resize"));
        assert_eq!(decode(b"I1234567"), FrameError::Short("input"));
        assert_eq!(decode(b""), FrameError::Empty);
        assert_eq!(decode(b"q"), FrameError::UnknownType(b'q'));
    }
}
