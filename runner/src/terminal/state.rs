//! What the terminal's lock guards, and what a viewer at some place in the stream is to be sent of it.

use std::time::Instant;

use bytes::Bytes;
use screen::QueryScanner;
use session::frames::{self, Exit, Presence, Resized, Start, StartMode, Waiting};
use session::{Role, Stage};
use tokio::sync::Notify;

use super::deadline::Deadline;
use super::lossless::Lossless;
use super::notes::Notes;
use super::questions::Questions;
use crate::clients::Clients;
use crate::history::{History, Piece};

pub(super) struct State {
    pub history: History,
    pub scanner: QueryScanner,
    pub questions: Questions,
    pub lossless: Lossless,
    pub waiting: Waiting,
    pub exit: Option<Exit>,
    pub clients: Clients,
    pub last_output: Instant,
    pub last_operator: Instant,
    /// Somebody sees to it that the screen follows once it is quiet.
    pub expecting_quiet: bool,
    pub deadline: Option<Deadline>,
    /// `None`: nobody records.
    pub notes: Option<Notes>,
}

/// A viewer's place in the stream.
pub struct Cursor {
    pub(super) connection: u64,
    pub(super) client: String,
    pub(super) role: Role,
    pub off: u64,
    pub(super) size_serial: u64,
    pub(super) stage: Option<Stage>,
    pub(super) presence: Option<Presence>,
    pub(super) deadline: Option<Deadline>,
    pub(super) lossless: bool,
    /// It asked to be sent nothing for a while, and is to have what comes meanwhile as far as it is kept at all.
    pub patient: bool,
}

/// What a viewer is to be sent next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The cursor's bytes are gone: the screen is to be sent instead.
    Behind,
    /// The same for one that wants nothing but output: it was moved to the oldest there is.
    Skipped(Start),
    Waiting(Waiting),
    Presence(Presence),
    Deadline(frames::Deadline),
    Resized(Resized),
    Output(Bytes),
    Ended(Exit),
    /// Wait for a change.
    UpToDate,
}

impl State {
    /// False, and nothing is appended, where the screen has to follow first.
    pub fn push(&mut self, bytes: &[u8], due: &Notify) -> bool {
        if bytes.is_empty() || self.exit.is_some() {
            return true;
        }
        let before = self.history.end();
        if !self.history.push(bytes) {
            return false;
        }
        self.last_output = Instant::now();
        let holder = self.clients.holding().map(|(connection, _)| connection);
        let (questions, now) = (&mut self.questions, self.last_output);
        if let Some(notes) = &mut self.notes {
            notes.output(before, now);
        }
        let mut asked = false;
        self.scanner.scan(bytes, |at, query| {
            asked = true;
            questions.asked(before + at as u64, query, holder, now);
        });
        let expects_quiet = !self.expecting_quiet && self.is_behind();
        self.expecting_quiet |= expects_quiet;
        if expects_quiet || self.history.is_pressing() || (asked && holder.is_none()) {
            due.notify_one();
        }
        true
    }

    /// Where a viewer goes on that has everything before `known`; `None`: with a snapshot.
    pub fn starting_point(&self, known: Option<u64>, lossless: bool) -> Option<(StartMode, u64)> {
        let oldest = if lossless { self.history.oldest() } else { self.history.base() };
        match known {
            Some(off) if (oldest..=self.history.end()).contains(&off) => Some((StartMode::Delta, off)),
            _ if oldest == 0 => Some((StartMode::Full, 0)),
            _ => lossless.then_some((StartMode::Snapshot, oldest)),
        }
    }

    pub fn start(&self, sid: &str, mode: StartMode, off: u64, seen: u64, input: u64, role: Role) -> Start {
        let size = self.history.size_at(off);
        let lost = if mode == StartMode::Snapshot { off.saturating_sub(seen) } else { 0 };
        let (cols, rows) = (size.columns, size.rows);
        Start { sid: sid.to_owned(), mode, off, end: self.history.end(), input, lost, cols, rows, role }
    }

    /// The next thing at `cursor`, which moves past it; output is at most `limit` bytes.
    pub fn next(&mut self, sid: &str, cursor: &mut Cursor, limit: usize) -> Step {
        let oldest = if cursor.lossless || cursor.patient { self.history.oldest() } else { self.history.base() };
        if cursor.off < oldest {
            cursor.patient = false;
            if !cursor.lossless {
                return Step::Behind;
            }
            let seen = std::mem::replace(&mut cursor.off, oldest);
            cursor.size_serial = self.history.serial_at(oldest);
            let input = self.clients.accepted(&cursor.client);
            return Step::Skipped(self.start(sid, StartMode::Snapshot, oldest, seen, input, cursor.role));
        }
        if cursor.stage != Some(self.waiting.stage) {
            cursor.stage = Some(self.waiting.stage);
            return Step::Waiting(self.waiting.clone());
        }
        // Before any output, so that whose questions are whose is the same on both sides.
        let presence = self.clients.presence(&cursor.client);
        if cursor.presence != Some(presence) {
            cursor.presence = Some(presence);
            return Step::Presence(presence);
        }
        if let Some(deadline) = self.deadline.filter(|deadline| cursor.deadline != Some(*deadline))
            && self.exit.is_none()
        {
            cursor.deadline = Some(deadline);
            return Step::Deadline(deadline.frame());
        }
        loop {
            match self.history.next(cursor.off, cursor.size_serial, limit, self.exit.is_some()) {
                Piece::Size(mark) => {
                    cursor.size_serial = mark.serial;
                    if mark.by != Some(cursor.connection) {
                        return Step::Resized(Resized { cols: mark.size.columns, rows: mark.size.rows });
                    }
                }
                Piece::Bytes(bytes) => {
                    cursor.off += bytes.len() as u64;
                    return Step::Output(bytes);
                }
                Piece::Nothing => break,
            }
        }
        cursor.patient = false;
        match &self.exit {
            Some(exit) if cursor.off == self.history.end() => Step::Ended(exit.clone()),
            _ => Step::UpToDate,
        }
    }

    /// What comes next came now.
    pub fn note_moment(&mut self) {
        if let Some(notes) = &mut self.notes {
            notes.moment(self.history.end(), Instant::now());
        }
    }

    /// Whether the screen has anything to do that is worth doing before somebody asks for it.
    fn is_behind(&self) -> bool {
        self.history.base() > 0 && !self.history.is_followed()
    }
}
