//! One cell: xterm.js' three words.

use crate::attributes::Pen;

/// The content word: a code point, or a mark that the text is kept beside the cells, and the width in columns.
pub(super) const COMBINED: u32 = 1 << 21;
pub(super) const CONTENT_MASK: u32 = 0x3f_ffff;
pub(super) const CODE_MASK: u32 = 0x1f_ffff;
pub(super) const WIDTH_SHIFT: u32 = 22;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(super) content: u32,
    pub fg: u32,
    pub bg: u32,
}

/// A cell that nothing was written to.
pub(crate) const NULL: Cell = Cell { content: 1 << WIDTH_SHIFT, fg: 0, bg: 0 };

impl Cell {
    pub fn new(code: u32, width: usize, pen: &Pen) -> Self {
        Self { content: code | (width as u32) << WIDTH_SHIFT, fg: pen.fg, bg: pen.bg }
    }

    /// 0 is the second half of a wide character.
    pub fn width(self) -> usize {
        (self.content >> WIDTH_SHIFT) as usize
    }

    pub fn has_content(self) -> bool {
        self.content & CONTENT_MASK != 0
    }

    pub(super) fn is_combined(self) -> bool {
        self.content & COMBINED != 0
    }

    /// The character of a narrow cell of printable ASCII, as most are.
    pub fn ascii(self) -> Option<u8> {
        let byte = self.content ^ (1 << WIDTH_SHIFT);
        (0x20..0x7f).contains(&byte).then_some(byte as u8)
    }

    pub(super) fn code(self) -> Option<char> {
        char::from_u32(self.content & CODE_MASK).filter(|_| !self.is_combined() && self.has_content())
    }
}
