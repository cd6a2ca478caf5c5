//! A screen that follows a stream only when it has to: bytes and sizes are queued as they come and parsed when
//! somebody needs the result.

use std::collections::VecDeque;

use crate::emulator::Emulator;
use crate::parser::Parser;
use crate::snapshot::{self, Gap};

/// The smallest size that xterm.js takes.
const MIN_COLS: u16 = 2;
const MIN_ROWS: u16 = 1;

/// What waits to be parsed.
enum Queued {
    Bytes(Vec<u8>),
    Size(u16, u16),
}

/// A terminal's state at an offset of its stream. See the crate's page for how to use it.
pub struct Screen {
    parser: Parser,
    pub(crate) emulator: Emulator,
    /// Bytes parsed.
    parsed: u64,
    queue: VecDeque<Queued>,
    queued: usize,
}

/// The exact state of a terminal at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Written to a terminal of this size, whatever it showed before, they make it show the state.
    pub bytes: Vec<u8>,
    /// The stream goes on here. At most three bytes before what was fed: a character cut in two is sent again whole,
    /// for xterm.js loses some characters whose bytes arrive in two writes.
    pub offset: u64,
    pub cols: u16,
    pub rows: u16,
    /// What is not exact about it; nearly always nothing.
    pub gaps: Vec<Gap>,
}

impl Screen {
    /// An empty screen at offset 0 that keeps `scrollback` lines above it, which should be as many as the page keeps:
    /// then text that a wider screen pulls back down is the same on both sides.
    pub fn new(cols: u16, rows: u16, scrollback: usize) -> Self {
        let (cols, rows) = (cols.max(MIN_COLS), rows.max(MIN_ROWS));
        Self {
            parser: Parser::default(),
            emulator: Emulator::new(cols.into(), rows.into(), scrollback),
            parsed: 0,
            queue: VecDeque::new(),
            queued: 0,
        }
    }

    /// The offset up to which the stream is parsed.
    pub fn parsed(&self) -> u64 {
        self.parsed
    }

    /// The offset up to which it was fed.
    pub fn fed(&self) -> u64 {
        self.parsed + self.queued as u64
    }

    /// Bytes that wait to be parsed.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// The size after everything fed, as columns and rows.
    pub fn size(&self) -> (u16, u16) {
        let queued = self.queue.iter().rev().find_map(|item| match item {
            Queued::Size(cols, rows) => Some((*cols, *rows)),
            Queued::Bytes(_) => None,
        });
        // Sizes came in as u16.
        queued.unwrap_or((self.emulator.cols as u16, self.emulator.rows as u16))
    }

    /// The title that the program set last, in what is parsed.
    pub fn title(&self) -> Option<&str> {
        self.emulator.title.as_deref()
    }

    /// Appends output, to be parsed later. A caller that keeps the bytes anyway need not: see [`Screen::write`].
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(Queued::Bytes(last)) = self.queue.back_mut()
            && last.len() < 64 * 1024
        {
            last.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            self.queue.push_back(Queued::Bytes(bytes.to_vec()));
        }
        self.queued += bytes.len();
    }

    /// The terminal has a new size from here on.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.queue.push_back(Queued::Size(cols.max(MIN_COLS), rows.max(MIN_ROWS)));
        if self.queued == 0 {
            self.catch_up(usize::MAX);
        }
    }

    /// Parses about `limit` bytes of what waits; returns whether nothing waits any more.
    pub fn catch_up(&mut self, limit: usize) -> bool {
        let mut left = limit;
        while let Some(item) = self.queue.pop_front() {
            match item {
                Queued::Size(cols, rows) => {
                    if (self.emulator.cols, self.emulator.rows) != (cols.into(), rows.into()) {
                        self.emulator.resize(cols.into(), rows.into());
                    }
                }
                Queued::Bytes(bytes) => {
                    self.queued -= bytes.len();
                    self.parse(&bytes);
                    left = left.saturating_sub(bytes.len());
                }
            }
            if left == 0 {
                break;
            }
        }
        self.queue.is_empty()
    }

    /// Parses what waits and then `bytes`, without keeping them.
    pub fn write(&mut self, bytes: &[u8]) {
        self.catch_up(usize::MAX);
        self.parse(bytes);
    }

    /// Passes over `count` bytes that leave no trace, so that they need not be parsed: plain text (0x20 to 0x7e, CR and LF)
    /// that holds at least as many line feeds as the screen has rows and ends in CR LF, where more plain text follows that
    /// begins with a character and holds at least [`Screen::lines_kept`] line feeds. Then whatever is on the screen and
    /// above it by that time leaves at the top. False, and nothing is done, in a state in which it may not.
    pub fn pass_over(&mut self, count: u64) -> bool {
        self.catch_up(usize::MAX);
        let passes = self.parser.is_idle() && self.emulator.is_plain_scroller();
        if passes {
            self.emulator.come_to_last_line();
            self.parsed += count;
        }
        passes
    }

    /// As many lines as there are on the screen and above it at most.
    pub fn lines_kept(&self) -> usize {
        self.emulator.main.max_lines
    }

    /// Collects the lines that leave the screen at its top from now on, for [`Transcript`](crate::Transcript).
    pub(crate) fn collect(&mut self) {
        self.emulator.main.departed = Some(Vec::new());
    }

    fn parse(&mut self, bytes: &[u8]) {
        self.parser.advance(bytes, &mut self.emulator);
        self.parsed += bytes.len() as u64;
    }

    /// The state after everything fed, with at most `scrollback` lines above the screen.
    pub fn snapshot(&mut self, scrollback: usize) -> Snapshot {
        self.catch_up(usize::MAX);
        let (mut bytes, gaps) = snapshot::write(&self.emulator, scrollback);
        bytes.extend_from_slice(self.parser.tail());
        let (cols, rows) = self.size();
        Snapshot { bytes, offset: self.parsed - self.parser.pending().len() as u64, cols, rows, gaps }
    }
}
