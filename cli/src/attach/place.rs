//! Where this client is in a session's stream: what it has seen, what it has typed, and how to take both up again.
//! Pure: a frame goes in, what to do about it comes out.

use bytes::{Bytes, BytesMut};
use screen::QueryFilter;
use session::Role;
use session::frames::{Exit, Hello, Resume, ServerFrame, Size, Start, StartMode, Waiting};

use super::Local;
use super::input_log::InputLog;

/// What one frame means for the local end.
#[derive(Default)]
pub struct Reaction {
    /// The screen is to be set up anew before anything is shown.
    pub reset: bool,
    pub show: Bytes,
    pub waiting: Option<Waiting>,
    /// Output that will never be sent to us.
    pub lost: u64,
    /// Input that did not arrive over an earlier connection.
    pub resend: Option<(u64, Bytes)>,
    pub exit: Option<Exit>,
}

pub struct Place {
    local: Local,
    pub input: InputLog,
    /// For coming back; replaced by every connection.
    pub ticket: Option<String>,
    sid: Option<String>,
    /// The offset of the next output byte.
    off: u64,
    /// Everything before it was shown. Differs from `off` while a stream is told again from its beginning.
    shown: u64,
    /// What is output before this offset was asked before we came: its questions are not for our terminal.
    replay_end: u64,
    filter: QueryFilter,
    role: Role,
    /// `S` came on this connection.
    started: bool,
    /// The server counts this connection's input on from the one before.
    same_client: bool,
    /// Something of ours is on the screen, so the stream cannot just go on there.
    spoiled: bool,
}

impl Place {
    pub fn new(local: Local) -> Self {
        Self {
            local,
            input: InputLog::default(),
            ticket: None,
            sid: None,
            off: 0,
            shown: 0,
            replay_end: 0,
            filter: QueryFilter::default(),
            role: Role::Operator,
            started: false,
            same_client: false,
            spoiled: false,
        }
    }

    /// A connection begins. Answers the first message to send on it.
    pub fn begin(&mut self, by_ticket: bool, size: Option<Size>) -> Hello {
        self.started = false;
        self.same_client = by_ticket;
        // Without a place to resume at, the server gives the whole stream or the screen as it is: a repaint.
        let repaint = self.local == Local::Terminal && self.spoiled;
        let resume = self.sid.clone().filter(|_| !repaint).map(|sid| Resume {
            sid,
            off: self.off,
            input: self.input.end(),
            client: String::new(),
        });
        Hello {
            lossless: false,
            auth_token: String::new(),
            columns: size.map(|size| size.columns),
            rows: size.map(|size| size.rows),
            resume,
        }
    }

    pub fn local(&self) -> Local {
        self.local
    }

    /// Something that is not the program's was written to the screen.
    pub fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Whether what is typed can be sent: not before the server said how much it has.
    pub fn may_type(&self) -> bool {
        self.started && self.role == Role::Operator
    }

    /// The offset after what was handed out to be shown.
    pub fn offset(&self) -> u64 {
        self.off
    }

    pub fn take(&mut self, frame: ServerFrame) -> Reaction {
        match frame {
            ServerFrame::Start(start) => self.start(start),
            ServerFrame::Output(bytes) => Reaction { show: self.output(bytes), ..Reaction::default() },
            // A picture of a screen is no use to a pipe.
            ServerFrame::Snapshot(bytes) if self.local == Local::Terminal => {
                Reaction { show: bytes, ..Reaction::default() }
            }
            ServerFrame::Tickets(tickets) => {
                self.ticket = Some(tickets.ticket);
                Reaction::default()
            }
            ServerFrame::InputAck(offset) => {
                self.input.accepted(offset);
                Reaction::default()
            }
            ServerFrame::Waiting(waiting) if !self.started => {
                Reaction { waiting: Some(waiting), ..Reaction::default() }
            }
            ServerFrame::Exit(exit) => Reaction { exit: Some(exit), ..Reaction::default() },
            _ => Reaction::default(),
        }
    }

    fn start(&mut self, start: Start) -> Reaction {
        let same_stream = self.sid.as_ref() == Some(&start.sid);
        // In mid-stream it is still the same client, whatever brought it in.
        let same_input = same_stream && (self.same_client || self.started);
        // Lines of ours from before the first frame stay: they say where and how to come back.
        let seen_before = self.sid.is_some();
        if !same_stream {
            self.shown = 0;
        }
        self.off = start.off;
        if start.mode == StartMode::Snapshot {
            self.shown = self.shown.max(start.off);
        }
        self.replay_end = start.end;
        self.filter = QueryFilter::default();
        self.sid = Some(start.sid);
        self.role = start.role;
        self.started = true;
        let reset = self.local == Local::Terminal && start.mode != StartMode::Delta && seen_before;
        if start.mode != StartMode::Delta {
            self.spoiled = false;
        }
        Reaction { reset, lost: start.lost, resend: self.input.resume(start.input, same_input), ..Reaction::default() }
    }

    fn output(&mut self, bytes: Bytes) -> Bytes {
        let from = self.off;
        self.off += bytes.len() as u64;
        match self.local {
            Local::Stream => {
                // Told again from the beginning: what was written to a pipe is written.
                let known = self.shown.saturating_sub(from).min(bytes.len() as u64);
                self.shown = self.shown.max(self.off);
                bytes.slice(known as usize..)
            }
            Local::Terminal => self.without_old_questions(from, bytes),
        }
    }

    fn without_old_questions(&mut self, from: u64, mut bytes: Bytes) -> Bytes {
        self.shown = self.off;
        if from >= self.replay_end {
            return bytes;
        }
        let old = (self.replay_end - from).min(bytes.len() as u64);
        let live = bytes.split_off(old as usize);
        let mut text = BytesMut::from(&self.filter.pass(&bytes)[..]);
        if self.off >= self.replay_end {
            text.extend_from_slice(&self.filter.finish());
        }
        text.extend_from_slice(&live);
        text.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(sid: &str, mode: StartMode, off: u64, end: u64, input: u64) -> ServerFrame {
        ServerFrame::Start(Start {
            sid: sid.into(),
            mode,
            off,
            end,
            input,
            lost: if mode == StartMode::Snapshot { off } else { 0 },
            cols: 80,
            rows: 24,
            role: Role::Operator,
        })
    }

    fn output(text: &str) -> ServerFrame {
        ServerFrame::Output(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_pipe_gets_every_byte_once_however_the_stream_is_taken_up() {
        let mut place = Place::new(Local::Stream);
        assert_eq!(place.begin(false, None), Hello::default());
        place.take(start("s", StartMode::Full, 0, 0, 0));
        assert_eq!(&place.take(output("one two ")).show[..], b"one two ");
        assert_eq!(place.begin(true, None).resume.unwrap().off, 8);
        place.take(start("s", StartMode::Full, 0, 12, 0));
        assert_eq!(&place.take(output("one ")).show[..], b"");
        assert_eq!(&place.take(output("two three")).show[..], b"three");
        place.begin(true, None);
        assert_eq!(place.take(start("s", StartMode::Snapshot, 20, 20, 0)).lost, 20);
        assert_eq!(&place.take(ServerFrame::Snapshot(Bytes::from_static(b"screen"))).show[..], b"");
        assert_eq!(&place.take(output("four")).show[..], b"four");
    }

    #[test]
    fn a_terminal_is_not_asked_old_questions() {
        let mut place = Place::new(Local::Terminal);
        place.begin(false, None);
        place.take(start("s", StartMode::Full, 0, 6, 0));
        let shown = place.take(output("a\x1b[6nb\x1b[6n")).show;
        assert_eq!(&shown[..], b"ab\x1b[6n");
    }

    #[test]
    fn a_terminal_is_painted_anew_only_when_the_stream_does_not_go_on() {
        let mut place = Place::new(Local::Terminal);
        place.begin(false, None);
        assert!(!place.take(start("s", StartMode::Full, 0, 0, 0)).reset);
        place.take(output("abc"));
        place.begin(true, None);
        assert!(!place.take(start("s", StartMode::Delta, 3, 3, 0)).reset);
        place.spoil();
        assert_eq!(place.begin(true, None).resume, None);
        assert!(place.take(start("s", StartMode::Full, 0, 3, 0)).reset);
        place.begin(true, None);
        assert!(place.take(start("s", StartMode::Snapshot, 3, 3, 0)).reset);
    }

    #[test]
    fn typing_waits_for_the_server_and_goes_on_after_a_lost_connection() {
        let mut place = Place::new(Local::Terminal);
        place.begin(false, None);
        assert!(!place.may_type());
        place.take(start("s", StartMode::Full, 0, 0, 0));
        assert!(place.may_type());
        place.input.typed(b"hello");
        place.take(ServerFrame::InputAck(2));
        assert_eq!(place.begin(true, None).resume.unwrap().input, 5);
        let resend = place.take(start("s", StartMode::Delta, 0, 0, 4)).resend;
        assert_eq!(resend, Some((4, Bytes::from_static(b"o"))));
        place.begin(false, None);
        assert_eq!(place.take(start("s", StartMode::Delta, 0, 0, 0)).resend, None);
    }
}
