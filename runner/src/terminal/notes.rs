//! What a recorder cannot read off the stream: when its bytes came, what was typed, and where the session came to another
//! stage. The stream itself is read from the history as viewers read it, so that recording costs the program one note for
//! each [`TICK`] of output, and nothing at all where nobody records.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use session::Stage;
use session::frames::{Exit, Size};

use super::Terminal;
use crate::history::Piece;

/// Output that comes within this long of some other is recorded as one.
const TICK: Duration = Duration::from_millis(10);
/// Notes that wait for a recorder which is held up. Beyond it, times become less exact.
const MAX_NOTES: usize = 32 * 1024;
/// Bytes typed that wait for it. Beyond it they are counted only.
const MAX_INPUT: usize = 1 << 20;
/// Of a paste, as much as is recorded as one.
const INPUT_PIECE: usize = 8 * 1024;

pub(super) struct Notes {
    began: Instant,
    input: bool,
    queue: VecDeque<Note>,
    last_tick: Option<Instant>,
    waiting_input: usize,
    lost_input: u64,
}

struct Note {
    /// What it is about comes before the byte at this place in the stream.
    at: u64,
    /// Since the beginning.
    after: Duration,
    what: What,
}

enum What {
    Tick,
    Stage(Stage),
    Input(Bytes),
}

/// A recorder's place in the stream.
#[derive(Default)]
pub struct Place {
    off: u64,
    size_serial: u64,
    size: Option<Size>,
    /// The screen has to take this size after a gap.
    resized: Option<Size>,
    after: Duration,
}

/// What a recorder is to write next, and when that was.
#[derive(Debug, PartialEq)]
pub struct Recorded {
    pub after: Duration,
    pub what: Event,
}

#[derive(Debug, PartialEq)]
pub enum Event {
    Output(Bytes),
    Input(Bytes),
    Resized(Size),
    Stage(Stage),
    /// So many bytes of output were forgotten before the recorder came to them.
    Missing(u64),
    /// The same of input.
    MissingInput(u64),
    Ended(Exit),
}

impl Notes {
    pub fn new(input: bool, now: Instant) -> Self {
        let queue = VecDeque::new();
        Self { began: now, input, queue, last_tick: None, waiting_input: 0, lost_input: 0 }
    }

    /// Output comes at `at`.
    pub fn output(&mut self, at: u64, now: Instant) {
        if self.last_tick.is_none_or(|last| now >= last + TICK) {
            self.moment(at, now);
        }
    }

    /// What comes at `at` came now, whatever was noted just before.
    pub fn moment(&mut self, at: u64, now: Instant) {
        if self.queue.len() < MAX_NOTES {
            self.last_tick = Some(now);
            self.note(at, now, What::Tick);
        }
    }

    pub fn stage(&mut self, at: u64, stage: Stage, now: Instant) {
        self.note(at, now, What::Stage(stage));
    }

    pub fn input(&mut self, at: u64, bytes: &Bytes, now: Instant) {
        if !self.input {
            return;
        }
        if self.waiting_input + bytes.len() > MAX_INPUT || self.queue.len() >= MAX_NOTES {
            self.lost_input += bytes.len() as u64;
            return;
        }
        self.waiting_input += bytes.len();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let piece;
            (piece, rest) = rest.split_at(piece_end(rest));
            // A slice would keep the whole message that it is part of.
            self.note(at, now, What::Input(Bytes::copy_from_slice(piece)));
        }
    }

    fn note(&mut self, at: u64, now: Instant, what: What) {
        self.queue.push_back(Note { at, after: now.saturating_duration_since(self.began), what });
    }

    /// The next note, if it is about a place up to `off`.
    fn take(&mut self, off: u64) -> Option<Note> {
        let note = self.queue.pop_front_if(|note| note.at <= off)?;
        if let What::Input(bytes) = &note.what {
            self.waiting_input -= bytes.len();
        }
        Some(note)
    }
}

/// Where a piece of this ends: before a character of UTF-8, of which four bytes are the most.
fn piece_end(bytes: &[u8]) -> usize {
    if bytes.len() <= INPUT_PIECE {
        return bytes.len();
    }
    let is_start = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    (INPUT_PIECE - 3..=INPUT_PIECE).rev().find(is_start).unwrap_or(INPUT_PIECE)
}

impl Place {
    fn pass(&mut self, note: Note) -> Option<Event> {
        self.after = note.after;
        match note.what {
            What::Tick => None,
            What::Stage(stage) => Some(Event::Stage(stage)),
            What::Input(bytes) => Some(Event::Input(bytes)),
        }
    }
}

impl Terminal {
    /// From now on there is a recorder. `input`: it wants what is typed, too.
    pub fn record(&self, input: bool) {
        self.lock().notes = Some(Notes::new(input, Instant::now()));
    }

    /// How long ago [`Terminal::record`] was; `None`: it was not.
    pub fn recorded_for(&self) -> Option<Duration> {
        self.lock().notes.as_ref().map(|notes| notes.began.elapsed())
    }

    /// There is no recorder any more.
    pub fn stop_recording(&self) {
        self.lock().notes = None;
    }

    /// How much output lies ahead of a recorder.
    pub fn ahead_of(&self, place: &Place) -> u64 {
        self.lock().history.end().saturating_sub(place.off)
    }

    /// What a recorder at `place` is to write next, and moves it past that; output is at most `limit` bytes of whole
    /// characters. `None`: wait for a change.
    pub fn next_recorded(&self, place: &mut Place, limit: usize) -> Option<Recorded> {
        let what = self.next_event(place, limit)?;
        if let Event::Resized(size) = what {
            place.size = Some(size);
        }
        Some(Recorded { after: place.after, what })
    }

    fn next_event(&self, place: &mut Place, limit: usize) -> Option<Event> {
        let mut state = self.lock();
        let state = &mut *state;
        let (notes, history) = (state.notes.as_mut()?, &mut state.history);
        let oldest = history.oldest();
        if place.off < oldest {
            let missing = oldest - std::mem::replace(&mut place.off, oldest);
            place.size_serial = history.serial_at(oldest);
            place.resized = Some(history.size_at(oldest)).filter(|size| place.size != Some(*size));
            return Some(Event::Missing(missing));
        }
        if let Some(size) = place.resized.take() {
            return Some(Event::Resized(size));
        }
        if notes.lost_input > 0 {
            return Some(Event::MissingInput(std::mem::take(&mut notes.lost_input)));
        }
        loop {
            if let Some(note) = notes.take(place.off) {
                match place.pass(note) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let ahead = notes.queue.front().map_or(u64::MAX, |note| note.at - place.off);
            let room = usize::try_from(ahead).unwrap_or(limit).min(limit);
            match history.next(place.off, place.size_serial, room, state.exit.is_some()) {
                Piece::Size(mark) => {
                    place.size_serial = mark.serial;
                    return Some(Event::Resized(mark.size));
                }
                Piece::Bytes(bytes) => {
                    place.off += bytes.len() as u64;
                    return Some(Event::Output(bytes));
                }
                // The next note falls into a character, and comes before it.
                Piece::Nothing => match notes.take(u64::MAX).map(|note| place.pass(note)) {
                    Some(Some(event)) => return Some(event),
                    Some(None) => {}
                    None => break,
                },
            }
        }
        let is_all = place.off == history.end();
        state.exit.clone().filter(|_| is_all).map(Event::Ended)
    }
}

#[cfg(test)]
mod tests {
    use session::frames::Waiting;

    use super::*;
    use crate::history::Spill;

    fn recorded(input: bool) -> Terminal {
        let spill = Spill::new(std::env::temp_dir(), 0);
        let size = Size { columns: 80, rows: 24 };
        let (terminal, _typed) = Terminal::new("test".into(), size, 4096, spill, Box::new(|_| ()));
        terminal.record(input);
        terminal
    }

    fn events(terminal: &Terminal, place: &mut Place) -> Vec<Event> {
        std::iter::from_fn(|| terminal.next_recorded(place, 1000)).map(|recorded| recorded.what).collect()
    }

    fn output(text: &'static str) -> Event {
        Event::Output(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_stage_within_a_character_comes_before_it_and_cuts_nothing() {
        let (terminal, mut place) = (recorded(false), Place::default());
        terminal.push("a中".as_bytes().split_at(2).0);
        terminal.enter(Waiting { stage: Stage::Running, text: String::new() });
        assert_eq!(events(&terminal, &mut place), [output("a"), Event::Stage(Stage::Running)]);
        terminal.push(&"中".as_bytes()[1..]);
        assert_eq!(events(&terminal, &mut place), [output("中")]);
    }

    #[test]
    fn what_was_forgotten_is_counted_and_its_stages_are_kept() {
        let (terminal, mut place) = (recorded(false), Place::default());
        terminal.enter(Waiting { stage: Stage::Fetching, text: String::new() });
        for _ in 0..3 {
            terminal.push(&[b'x'; 4096]);
        }
        let told = events(&terminal, &mut place);
        assert_eq!(told[0], Event::Missing(8192));
        assert!(told.contains(&Event::Stage(Stage::Fetching)), "{told:?}");
        assert_eq!(terminal.ahead_of(&place), 0);
    }

    #[test]
    fn input_nobody_fetches_is_counted_beyond_its_bound_and_a_paste_is_cut_between_characters() {
        let now = Instant::now();
        let mut notes = Notes::new(true, now);
        let paste = Bytes::from("中".repeat(10_000));
        notes.input(0, &paste, now);
        let mut typed = Vec::new();
        while let Some(note) = notes.take(0) {
            let What::Input(piece) = note.what else { panic!("only input was noted") };
            assert!(piece.len() <= INPUT_PIECE && std::str::from_utf8(&piece).is_ok());
            typed.extend_from_slice(&piece);
        }
        assert_eq!(typed, paste);
        let much = Bytes::from(vec![b'x'; MAX_INPUT]);
        notes.input(0, &much, now);
        notes.input(0, &paste, now);
        assert_eq!((notes.lost_input, notes.waiting_input), (paste.len() as u64, MAX_INPUT));
    }

    #[test]
    fn input_is_not_noted_where_nobody_asked() {
        let mut notes = Notes::new(false, Instant::now());
        notes.input(0, &Bytes::from_static(b"secret"), Instant::now());
        assert!(notes.take(0).is_none());
    }
}
