//! The last bytes of a stream, each at its absolute offset, and where in the stream the terminal's size changed.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use session::frames::Size;

/// How far a line start is searched for: a full-screen program may write for long without one.
const LINE_SEARCH: usize = 64 * 1024;

/// A bounded log: pushing never fails, the oldest bytes leave.
pub struct Ring {
    bytes: VecDeque<u8>,
    /// Offset of the first byte that is still here.
    base: u64,
    capacity: usize,
}

impl Ring {
    /// Holds at most `capacity` bytes; memory is taken as they come.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), base: 0, capacity }
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    /// The offset that the next byte will have.
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.capacity)..];
        // Room is made first, so that the buffer never grows beyond its capacity.
        let leaving = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..leaving);
        self.base += (leaving + bytes.len() - kept.len()) as u64;
        self.bytes.extend(kept);
    }

    /// At most `limit` bytes from `from` on; none outside of what is here.
    pub fn read(&self, from: u64, limit: usize) -> Bytes {
        let Some(skip) = from.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok()) else {
            return Bytes::new();
        };
        let until = self.bytes.len().min(skip.saturating_add(limit));
        if skip >= until {
            return Bytes::new();
        }
        let mut read = BytesMut::with_capacity(until - skip);
        let (front, back) = self.bytes.as_slices();
        read.extend_from_slice(&front[skip.min(front.len())..until.min(front.len())]);
        read.extend_from_slice(&back[skip.saturating_sub(front.len())..until.saturating_sub(front.len())]);
        read.freeze()
    }

    /// The first place that starts a line; the first byte that is here when there is none near.
    pub fn first_line_start(&self) -> u64 {
        if self.base == 0 {
            return 0;
        }
        self.bytes
            .iter()
            .take(LINE_SEARCH)
            .position(|&byte| byte == b'\n')
            .map_or(self.base, |at| self.base + at as u64 + 1)
    }

    /// Whether the next byte would start a line.
    pub fn at_line_start(&self) -> bool {
        self.bytes.back().is_none_or(|&byte| byte == b'\n')
    }
}

/// A size that holds from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeMark {
    pub at: u64,
    /// Grows with every mark, so that a reader knows which it has had.
    pub serial: u64,
    pub size: Size,
    /// The connection that asked for it, and so needs no telling.
    pub by: Option<u64>,
}

/// Every change of size that a replay may still meet.
pub struct Sizes {
    first: Size,
    marks: VecDeque<SizeMark>,
    serial: u64,
}

/// More changes than this within one ring belong to somebody playing with a window's corner.
const MAX_MARKS: usize = 4096;

impl Sizes {
    pub fn new(first: Size) -> Self {
        Self { first, marks: VecDeque::new(), serial: 0 }
    }

    pub fn current(&self) -> Size {
        self.marks.back().map_or(self.first, |mark| mark.size)
    }

    /// The size in effect before the byte at `offset` is written.
    pub fn at(&self, offset: u64) -> Size {
        self.marks.iter().take_while(|mark| mark.at <= offset).last().map_or(self.first, |mark| mark.size)
    }

    /// The serial that the next mark will be above.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The serial of the last mark at or before `offset`: what [`Sizes::at`] has told already.
    pub fn serial_at(&self, offset: u64) -> u64 {
        let told = self.marks.iter().take_while(|mark| mark.at <= offset).last();
        told.map_or_else(|| self.marks.front().map_or(self.serial, |mark| mark.serial - 1), |mark| mark.serial)
    }

    pub fn change(&mut self, at: u64, size: Size, by: Option<u64>) {
        // Of several changes at one place only the last can be seen.
        if self.marks.back().is_some_and(|mark| mark.at == at) {
            self.marks.pop_back();
        }
        if self.marks.len() == MAX_MARKS {
            self.drop_oldest();
        }
        self.serial += 1;
        self.marks.push_back(SizeMark { at, serial: self.serial, size, by });
    }

    /// Forgets what lies before `base`, where the ring now begins.
    pub fn forget_before(&mut self, base: u64) {
        while self.marks.front().is_some_and(|mark| mark.at < base) {
            self.drop_oldest();
        }
    }

    /// The first mark after the one with this serial.
    pub fn after(&self, serial: u64) -> Option<SizeMark> {
        self.marks.iter().find(|mark| mark.serial > serial).copied()
    }

    fn drop_oldest(&mut self) {
        if let Some(mark) = self.marks.pop_front() {
            self.first = mark.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ring_is_the_streams_tail_at_its_offsets(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20), capacity in 1usize..64, from in 0u64..900, limit in 0usize..80) {
            let mut ring = Ring::new(capacity);
            let mut all = Vec::new();
            for chunk in &chunks {
                ring.push(chunk);
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(ring.end(), all.len() as u64);
            prop_assert_eq!(ring.base(), all.len().saturating_sub(capacity) as u64);
            let expected: &[u8] = match from >= ring.base() && from <= ring.end() {
                true => &all[from as usize..all.len().min(from as usize + limit)],
                false => &[],
            };
            prop_assert_eq!(&ring.read(from, limit)[..], expected);
        }
    }

    fn size(columns: u16) -> Size {
        Size { columns, rows: 24 }
    }

    #[test]
    fn a_size_holds_from_its_place_on_even_after_its_mark_has_left() {
        let mut sizes = Sizes::new(size(80));
        sizes.change(10, size(90), None);
        sizes.change(10, size(91), None);
        sizes.change(20, size(100), Some(1));
        assert_eq!((sizes.at(9), sizes.at(10), sizes.at(25)), (size(80), size(91), size(100)));
        assert_eq!(sizes.after(sizes.serial_at(9)).unwrap().size, size(91));
        assert_eq!(sizes.after(sizes.serial_at(10)).unwrap().by, Some(1));
        sizes.forget_before(15);
        assert_eq!((sizes.at(15), sizes.current()), (size(91), size(100)));
        assert_eq!(sizes.after(sizes.serial_at(15)).unwrap().size, size(100));
        assert_eq!(sizes.after(sizes.serial()), None);
    }

    #[test]
    fn a_snapshot_starts_at_a_line() {
        let mut ring = Ring::new(8);
        ring.push(b"abc\ndef\nghi");
        assert_eq!((ring.base(), ring.first_line_start()), (3, 4));
        assert!(!ring.at_line_start());
    }
}
