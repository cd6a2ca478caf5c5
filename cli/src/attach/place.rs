//! Where this client is in a session's stream: what it has seen, what it has typed, and how to take both up again.
//! Pure: a frame goes in, what to do about it comes out.

use bytes::{Buf, Bytes, BytesMut};
use screen::QueryFilter;
use session::frames::{Exit, Hello, Resume, ServerFrame, Size, Start, StartMode, Waiting};
use session::{Role, Stage};

use super::Local;
use super::input_log::InputLog;
use super::lease::{Change, Lease};

/// What a snapshot begins with, to put any terminal to its beginning (screen's `snapshot`). A person's own is put back
/// more gently: what it was told before the program came is not ours to forget.
const RESET: &[u8] = b"\x18\x1bc";

/// What one frame means for the local end.
#[derive(Default)]
pub struct Reaction {
    /// The screen is to be set up anew before anything is shown.
    pub reset: bool,
    pub show: Bytes,
    /// The offset moved, whether or not there is something to show for it.
    pub moved: bool,
    pub waiting: Option<Waiting>,
    /// Output that will never be sent to us.
    pub lost: u64,
    /// Input that did not arrive over an earlier connection.
    pub resend: Option<(u64, Bytes)>,
    /// The keyboard changed hands.
    pub keyboard: Option<Change>,
    /// All that was there on arrival is handed out, and no more is wanted.
    pub caught_up: bool,
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
    /// The filter may hold back the start of a question.
    filtering: bool,
    pub lease: Lease,
    /// What the person is to hear of the keyboard below what is being replayed.
    news: Option<Change>,
    /// Where a log that follows nothing ends, once that is known.
    until: Option<u64>,
    /// The end came, and everything before it.
    pub complete: bool,
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
            filtering: false,
            lease: Lease::default(),
            news: None,
            until: None,
            complete: false,
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
        self.lease.begin();
        // Without a place to resume at, the server gives the whole stream or the screen as it is: a repaint.
        let repaint = self.local == Local::Terminal && self.spoiled;
        let resume = self.sid.clone().filter(|_| !repaint).map(|sid| Resume {
            sid,
            off: self.off,
            input: self.input.end(),
            client: String::new(),
        });
        Hello {
            lossless: self.local.is_lossless(),
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

    /// The server has told where this connection's stream begins.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Anything of the stream was ever there.
    pub fn has_begun(&self) -> bool {
        self.sid.is_some()
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
            ServerFrame::Output(bytes) => {
                let show = self.output(bytes);
                let (keyboard, caught_up) = (self.news_to_tell(), self.is_caught_up());
                Reaction { show, moved: true, keyboard, caught_up, ..Reaction::default() }
            }
            // A picture of a screen is no use to a pipe.
            ServerFrame::Snapshot(mut bytes) if self.local == Local::Terminal => {
                if bytes.starts_with(RESET) {
                    bytes.advance(RESET.len());
                }
                Reaction { show: bytes, ..Reaction::default() }
            }
            ServerFrame::Presence(presence) if self.local == Local::Terminal => {
                self.news = self.lease.heard(presence).or(self.news);
                Reaction { keyboard: self.news_to_tell(), ..Reaction::default() }
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
                // Before that there is no output, and none to wait for if it is not followed.
                let nothing_yet = matches!(waiting.stage, Stage::Queued | Stage::Assigned);
                let caught_up = nothing_yet && self.local == Local::Log { follow: false } && !self.has_begun();
                Reaction { waiting: Some(waiting), caught_up, ..Reaction::default() }
            }
            ServerFrame::Exit(exit) => {
                self.complete = self.started && exit.end == self.off;
                Reaction { exit: Some(exit), ..Reaction::default() }
            }
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
        // Not what the server counts, which does not know how much of a stream that it told again was known.
        let lost = start.off.saturating_sub(self.shown);
        self.shown = self.shown.max(start.off);
        self.replay_end = start.end;
        (self.filter, self.filtering) = (QueryFilter::default(), false);
        if self.local == (Local::Log { follow: false }) {
            self.until.get_or_insert(start.end);
        }
        self.sid = Some(start.sid);
        self.role = start.role;
        self.started = true;
        // A snapshot is drawn from the top left of an empty screen, the stream itself from wherever the cursor is.
        let anew = start.mode == StartMode::Snapshot || (start.mode == StartMode::Full && seen_before);
        let reset = self.local == Local::Terminal && anew;
        if start.mode != StartMode::Delta {
            self.spoiled = false;
        }
        let resend = self.input.resume(start.input, same_input);
        Reaction { reset, moved: true, lost, resend, caught_up: self.is_caught_up(), ..Reaction::default() }
    }

    fn news_to_tell(&mut self) -> Option<Change> {
        if self.off < self.replay_end { None } else { self.news.take() }
    }

    fn is_caught_up(&self) -> bool {
        self.until.is_some_and(|until| self.off >= until)
    }

    fn output(&mut self, bytes: Bytes) -> Bytes {
        let from = self.off;
        self.off += bytes.len() as u64;
        match self.local {
            Local::Stream | Local::Log { .. } => {
                // Told again from the beginning: what was written to a pipe is written.
                let known = self.shown.saturating_sub(from).min(bytes.len() as u64);
                self.shown = self.shown.max(self.off);
                bytes.slice(known as usize..)
            }
            Local::Terminal => self.without_others_questions(from, bytes),
        }
    }

    /// Takes out the questions that are not for this terminal: what was asked before it came, and what is asked while
    /// somebody else's terminal answers.
    fn without_others_questions(&mut self, from: u64, mut bytes: Bytes) -> Bytes {
        self.shown = self.off;
        let old = if self.lease.answers() { self.replay_end.saturating_sub(from) } else { u64::MAX };
        if old == 0 && !self.filtering {
            return bytes;
        }
        let live = bytes.split_off(usize::try_from(old).unwrap_or(usize::MAX).min(bytes.len()));
        let mut text = BytesMut::from(&self.filter.pass(&bytes)[..]);
        self.filtering = live.is_empty();
        if !self.filtering {
            text.extend_from_slice(&self.filter.finish());
        }
        text.extend_from_slice(&live);
        text.freeze()
    }
}

#[cfg(test)]
mod tests;
