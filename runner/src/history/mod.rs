//! The stream's bytes and sizes as far back as they are kept: the newest in memory, and what left it in a file, at least
//! until the screen has followed it.

mod plain;
mod ring;
mod sizes;
mod spill;

use std::ops::Range;

use bytes::Bytes;
use session::frames::Size;

use plain::Plain;
use ring::Ring;
pub use sizes::SizeMark;
use sizes::Sizes;
pub use spill::Spill;

pub struct History {
    ring: Ring,
    spill: Spill,
    sizes: Sizes,
    plain: Plain,
    /// The screen has followed the stream up to here: what lies before need not be kept for it.
    followed: u64,
}

/// What is next at a place in the stream.
pub enum Piece {
    /// The size changes before the next byte.
    Size(SizeMark),
    Bytes(Bytes),
    /// Nothing yet, or only the beginning of a character.
    Nothing,
}

impl History {
    pub fn new(size: Size, ring_bytes: usize, spill: Spill) -> Self {
        Self { ring: Ring::new(ring_bytes), spill, sizes: Sizes::new(size), plain: Plain::default(), followed: 0 }
    }

    /// The offset of the oldest byte in memory.
    pub fn base(&self) -> u64 {
        self.ring.base()
    }

    /// The offset of the oldest byte that can be read.
    pub fn oldest(&self) -> u64 {
        if self.spill.end() == self.ring.base() { self.spill.base() } else { self.ring.base() }
    }

    /// The offset that the next byte will have.
    pub fn end(&self) -> u64 {
        self.ring.end()
    }

    /// How many bytes are kept at most.
    pub fn capacity(&self) -> u64 {
        self.ring.capacity() as u64 + self.spill.capacity()
    }

    /// The most that one push takes.
    pub fn longest(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether `more` bytes can be pushed without forgetting what the screen has not followed.
    pub fn has_room(&self, more: usize) -> bool {
        let base = self.ring.base() + self.ring.leaving(more) as u64;
        let has_marks = self.sizes.are_few() || self.followed == self.end();
        self.followed >= base.saturating_sub(self.spill.capacity()) && has_marks
    }

    /// Appends at most [`History::longest`] bytes; false, and nothing is appended, where the screen has to follow first.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if !self.has_room(bytes.len()) {
            return false;
        }
        let leaving = self.ring.leaving(bytes.len());
        let mut at = self.ring.base();
        for part in self.ring.front(leaving) {
            if part.is_empty() {
                continue;
            }
            // Where it fails there is less room than there was.
            if !self.spill.keep(at, part) && self.followed < self.ring.base() + leaving as u64 {
                return false;
            }
            at += part.len() as u64;
        }
        self.plain.push(self.end(), bytes);
        self.ring.push(bytes);
        self.forget_sizes();
        true
    }

    /// Those that nobody can come to any more. Where there are too many, who reads the file is not told of all of them.
    fn forget_sizes(&mut self) {
        let needed = if self.sizes.are_few() { self.oldest() } else { self.ring.base() };
        self.sizes.forget_before(needed.min(self.followed));
    }

    /// What is next at `off`, where the marks up to `serial` are known: at most `limit` bytes of whole characters, unless
    /// `over`, for then no more of them will come.
    pub fn next(&mut self, off: u64, serial: u64, limit: usize, over: bool) -> Piece {
        let mut until = self.end();
        if let Some(mark) = self.sizes.after(serial) {
            if mark.at <= off {
                return Piece::Size(mark);
            }
            until = until.min(mark.at);
        }
        let room = usize::try_from(until.saturating_sub(off)).unwrap_or(limit).min(limit);
        let bytes = self.read(off, room);
        let is_all = off + bytes.len() as u64 == until && (over || until < self.end());
        let whole = if is_all { bytes.len() } else { whole_characters(&bytes) };
        match bytes.slice(..whole) {
            bytes if bytes.is_empty() => Piece::Nothing,
            bytes => Piece::Bytes(bytes),
        }
    }

    fn read(&mut self, from: u64, limit: usize) -> Bytes {
        let base = self.ring.base();
        if from >= base || from < self.oldest() {
            return self.ring.read(from, limit);
        }
        let spilled = self.spill.read(from, limit);
        if from + spilled.len() as u64 != base || whole_characters(&spilled) == spilled.len() {
            return spilled;
        }
        // The last character goes on in memory.
        let rest = self.ring.read(base, LONGEST_CHARACTER.min(limit - spilled.len()));
        [spilled, rest].concat().into()
    }

    /// The screen has followed the stream up to `off`.
    pub fn followed(&mut self, off: u64) {
        self.followed = off;
        self.plain.followed(off);
        self.forget_sizes();
        if self.spill.capacity() == 0 && off >= self.ring.base() {
            self.spill.clear();
        }
    }

    /// What the screen, which knows the marks up to `serial`, may pass over between `from` and `until`, where it has `rows`
    /// and keeps so many lines: see [`Plain::passed_over`]. Nothing while its size changes on the way.
    pub fn passed_over(&self, from: u64, until: u64, serial: u64, rows: u64, kept: u64) -> Option<Range<u64>> {
        self.plain.passed_over(from, until, rows, kept).filter(|_| self.sizes.after(serial).is_none())
    }

    /// Whether the screen should follow before there is no more room for the program to go on.
    pub fn is_pressing(&self) -> bool {
        self.end() - self.followed > self.capacity() / 2
    }

    pub fn is_followed(&self) -> bool {
        self.followed == self.end()
    }

    /// Whether the next byte would start a line.
    pub fn at_line_start(&self) -> bool {
        self.ring.at_line_start()
    }

    pub fn size(&self) -> Size {
        self.sizes.current()
    }

    pub fn size_at(&self, off: u64) -> Size {
        self.sizes.at(off)
    }

    pub fn serial_at(&self, off: u64) -> u64 {
        self.sizes.serial_at(off)
    }

    /// The terminal's size changes here: before a character whose bytes are not all there, so that nobody is sent it in
    /// two pieces.
    pub fn resize(&mut self, size: Size, by: Option<u64>) {
        let last = self.ring.read(self.end().saturating_sub(3).max(self.ring.base()), 3);
        let cut = last.len() - whole_characters(&last);
        self.sizes.change(self.end() - cut as u64, size, by);
    }
}

/// Bytes in UTF-8.
const LONGEST_CHARACTER: usize = 4;

/// How many of these bytes do not end within a character of UTF-8. xterm.js loses some characters that come in two writes,
/// and shows none before its last byte.
fn whole_characters(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > back + 1 { bytes.len() - back - 1 } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(ring: usize, spill: u64) -> History {
        let size = Size { columns: 80, rows: 24 };
        History::new(size, ring, Spill::new(std::env::temp_dir(), spill))
    }

    fn bytes(history: &mut History, off: u64) -> Bytes {
        let serial = history.serial_at(off);
        match history.next(off, serial, 1000, false) {
            Piece::Bytes(bytes) => bytes,
            _ => Bytes::new(),
        }
    }

    #[test]
    fn nothing_is_forgotten_that_the_screen_has_not_followed() {
        let mut history = history(4, 8);
        for piece in [b"abcd", b"efgh", b"ijkl"] {
            assert!(history.push(piece));
        }
        assert_eq!((history.oldest(), history.base(), &bytes(&mut history, 0)[..]), (0, 8, &b"abcdefgh"[..]));
        assert!(!history.push(b"m"), "the screen has to follow");
        history.followed(2);
        assert!(history.push(b"mn") && !history.push(b"o"));
        assert_eq!((history.oldest(), &bytes(&mut history, 2)[..]), (2, &b"cdefghij"[..]));
        assert_eq!(&bytes(&mut history, 10)[..], b"klmn");
    }

    #[test]
    fn a_character_may_lie_across_the_file_and_the_memory() {
        let mut history = history(4, 100);
        for piece in ["ab中".as_bytes(), b"cde"] {
            for byte in piece.chunks(1) {
                assert!(history.push(byte));
            }
        }
        assert_eq!(history.base(), 4, "within the character");
        assert_eq!(bytes(&mut history, 0), "ab中cde".as_bytes());
        assert_eq!(bytes(&mut history, 2), "中cde".as_bytes());
    }

    #[test]
    fn where_nothing_can_be_spilled_the_screen_follows_what_leaves_the_ring() {
        let size = Size { columns: 80, rows: 24 };
        let mut history = History::new(size, 4, Spill::new("/nowhere/at/all".into(), 100));
        assert!(history.push(b"abcd"));
        assert!(!history.push(b"ef"), "what would be lost is needed");
        history.followed(4);
        assert!(history.push(b"ef"));
        assert_eq!((history.oldest(), &bytes(&mut history, 2)[..]), (2, &b"cdef"[..]));
    }

    #[test]
    fn a_character_is_never_cut_and_a_size_never_falls_into_one() {
        let mut history = history(100, 0);
        assert!(history.push("a中".as_bytes()) && history.push(&"中".as_bytes()[..2]));
        assert_eq!(bytes(&mut history, 0), "a中".as_bytes());
        assert!(matches!(history.next(4, 0, 1000, false), Piece::Nothing));
        history.resize(Size { columns: 90, rows: 24 }, None);
        assert!(matches!(history.next(4, 0, 1000, false), Piece::Size(mark) if mark.at == 4));
        assert!(history.push(&"中".as_bytes()[2..]));
        assert_eq!(bytes(&mut history, 4), "中".as_bytes());
        assert!(history.push(b"\xe4"));
        let serial = history.serial_at(7);
        let Piece::Bytes(rest) = history.next(7, serial, 1000, true) else { panic!("nothing") };
        assert_eq!(&rest[..], b"\xe4", "no more of it will come");
        for (text, whole) in [("é", 2), ("", 0), ("x", 1), ("😀", 4)] {
            assert_eq!(whole_characters(text.as_bytes()), whole);
        }
        assert_eq!(whole_characters(&"😀".as_bytes()[..3]), 0);
        assert_eq!(whole_characters(b"\x80\x80\x80\x80"), 4);
        assert_eq!(whole_characters(b"a\xff"), 2);
    }
}
