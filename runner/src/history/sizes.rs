//! Where in a stream the terminal's size changed.

use std::collections::VecDeque;

use session::frames::Size;

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

    /// The serial of the last mark at or before `offset`: what [`Sizes::at`] has told already.
    pub fn serial_at(&self, offset: u64) -> u64 {
        let told = self.marks.iter().take_while(|mark| mark.at <= offset).last();
        told.map_or_else(|| self.marks.front().map_or(self.serial, |mark| mark.serial - 1), |mark| mark.serial)
    }

    pub fn change(&mut self, at: u64, size: Size, by: Option<u64>) {
        // All of them are kept, also of several at one place: lines that are wrapped anew for each may end otherwise than
        // for the last one alone. But for those of somebody who plays.
        if !self.are_few() && self.marks.back().is_some_and(|mark| mark.at == at) {
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

    /// Whether there is room for more marks before the oldest have to go.
    pub fn are_few(&self) -> bool {
        self.marks.len() < MAX_MARKS / 2
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
        let first = sizes.after(sizes.serial_at(9)).unwrap();
        assert_eq!((first.size, sizes.after(first.serial).unwrap().size), (size(90), size(91)));
        assert_eq!(sizes.after(sizes.serial_at(10)).unwrap().by, Some(1));
        sizes.forget_before(15);
        assert_eq!((sizes.at(15), sizes.current()), (size(91), size(100)));
        assert_eq!(sizes.after(sizes.serial_at(15)).unwrap().size, size(100));
        assert_eq!(sizes.after(sizes.serial_at(25)), None);
    }
}
