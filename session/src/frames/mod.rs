//! The terminal's messages: ttyd's (subprotocol `tty`) and what `tty.r1` adds. One WebSocket binary message is one
//! frame: a type byte, then its payload. The hello is the exception: bare JSON, so its type byte is its `{`.

mod client;
mod server;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

pub use client::{ClientFrame, Hello, Resume, Take};
pub use server::{Deadline, Exit, Presence, Resized, ServerFrame, Start, StartMode, Tickets, Waiting};

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
    use crate::claims::Role;
    use crate::state::{EndReason, Stage};
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
            ServerFrame::Deadline(Deadline { left_ms: 1, max_left_ms: u64::MAX }),
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
