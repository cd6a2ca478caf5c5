//! One line of cells. A cell is xterm.js' three words; what follows the last cell that was ever written is not stored,
//! so that an empty line costs nothing and a line in the scrollback only its text.

mod cell;

use std::collections::BTreeMap;

use crate::attributes::{Extended, Pen, bg};
use cell::{CODE_MASK, COMBINED, CONTENT_MASK, WIDTH_SHIFT};

pub(crate) use cell::{Cell, NULL};

/// What does not fit into the words, by column.
#[derive(Clone, Default, Debug)]
struct Extra {
    combined: BTreeMap<usize, String>,
    extended: BTreeMap<usize, Extended>,
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    cells: Vec<Cell>,
    /// Columns, stored or not.
    len: usize,
    /// Goes on from the line before.
    pub wrapped: bool,
    extra: Option<Box<Extra>>,
}

impl Line {
    pub fn new(len: usize, fill: &Pen, wrapped: bool) -> Self {
        let mut line = Self { cells: Vec::new(), len, wrapped, extra: None };
        line.fill_with(fill);
        line
    }

    /// Makes this a new line, in the memory that it has.
    pub fn renew(&mut self, len: usize, fill: &Pen, wrapped: bool) {
        self.cells.clear();
        self.extra = None;
        self.len = len;
        self.wrapped = wrapped;
        self.fill_with(fill);
    }

    fn fill_with(&mut self, fill: &Pen) {
        let cell = Cell::new(0, 1, fill);
        if cell != NULL {
            self.cells.resize(self.len, cell);
        }
    }

    /// Columns up to the last cell that may differ from [`NULL`].
    pub fn stored(&self) -> usize {
        self.cells.len().min(self.len)
    }

    pub fn cell(&self, at: usize) -> Cell {
        self.cells.get(at).copied().unwrap_or(NULL)
    }

    pub fn width(&self, at: usize) -> usize {
        self.cell(at).width()
    }

    pub fn has_content(&self, at: usize) -> bool {
        self.cell(at).has_content()
    }

    pub fn is_protected(&self, at: usize) -> bool {
        self.cell(at).bg & bg::PROTECTED != 0
    }

    /// The text of a cell; empty for one that nothing was written to and for second halves.
    pub fn push_text(&self, at: usize, text: &mut String) {
        let cell = self.cell(at);
        match cell.is_combined() {
            true => {
                text.push_str(self.extra.as_ref().and_then(|extra| extra.combined.get(&at)).map_or("", |text| text))
            }
            false => text.extend(cell.code()),
        }
    }

    /// The pen that a cell was written with.
    pub fn pen(&self, at: usize) -> Pen {
        let cell = self.cell(at);
        let extended = match &self.extra {
            _ if cell.bg & bg::EXTENDED == 0 => Extended::default(),
            Some(extra) => extra.extended.get(&at).copied().unwrap_or_default(),
            None => Extended::default(),
        };
        Pen { fg: cell.fg, bg: cell.bg, extended }
    }

    pub fn links(&self) -> impl Iterator<Item = u32> {
        self.extra.iter().flat_map(|extra| extra.extended.values().map(|extended| extended.link))
    }

    fn reserve(&mut self, until: usize) {
        if self.cells.len() < until {
            self.cells.resize(until, NULL);
        }
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub fn set(&mut self, at: usize, code: u32, width: usize, pen: &Pen) {
        self.reserve(at + 1);
        self.cells[at] = Cell::new(code, width, pen);
        if pen.bg & bg::EXTENDED != 0 {
            self.extra().extended.insert(at, pen.extended);
        }
    }

    /// Writes narrow characters; `pen` must have nothing extended.
    pub fn set_ascii(&mut self, at: usize, run: &[u8], pen: &Pen) {
        let template = Cell::new(0, 1, pen);
        let cell = |byte: &u8| Cell { content: template.content | u32::from(*byte), ..template };
        let over = self.cells.len().saturating_sub(at).min(run.len());
        if over == 0 {
            self.reserve(at);
        }
        for (place, byte) in self.cells[at..at + over].iter_mut().zip(run) {
            *place = cell(byte);
        }
        self.cells.extend(run[over..].iter().map(cell));
    }

    pub fn set_null(&mut self, at: usize, pen: &Pen) {
        self.set(at, 0, 1, pen);
    }

    /// Adds `code` to what is in a cell; `width` 0 leaves the width.
    pub fn join(&mut self, at: usize, code: u32, width: usize) {
        self.reserve(at + 1);
        let mut cell = self.cells[at];
        let Some(joined) = char::from_u32(code) else { return };
        if cell.is_combined() {
            self.extra().combined.entry(at).or_default().push(joined);
        } else if let Some(first) = cell.code() {
            self.extra().combined.insert(at, String::from_iter([first, joined]));
            cell.content = (cell.content & !CODE_MASK) | COMBINED;
        } else {
            cell.content = code | 1 << WIDTH_SHIFT;
        }
        if width > 0 {
            cell.content = (cell.content & CONTENT_MASK) | (width as u32) << WIDTH_SHIFT;
        }
        self.cells[at] = cell;
    }

    /// Copies a cell of `from` with all that belongs to it.
    fn copy_cell(&mut self, from: &Line, source: usize, to: usize) {
        let cell = from.cell(source);
        if to >= self.cells.len() && cell == NULL {
            return;
        }
        self.reserve(to + 1);
        self.cells[to] = cell;
        if cell.is_combined() {
            let mut text = String::new();
            from.push_text(source, &mut text);
            self.extra().combined.insert(to, text);
        }
        if cell.bg & bg::EXTENDED != 0 {
            self.extra().extended.insert(to, from.pen(source).extended);
        }
    }

    /// Copies `count` cells from another line.
    pub fn copy_from(&mut self, from: &Line, source: usize, to: usize, count: usize) {
        for i in 0..count {
            self.copy_cell(from, source + i, to + i);
        }
    }

    /// Moves `count` cells within the line.
    pub fn shift(&mut self, source: usize, to: usize, count: usize) {
        self.reserve(source.max(to) + count);
        match self.extra.is_some() {
            true => {
                let before = self.clone();
                self.copy_from(&before, source, to, count);
            }
            false => self.cells.copy_within(source..source + count, to),
        }
    }

    /// ICH. What is pushed over the edge is lost, and so is half a wide character.
    pub fn insert(&mut self, at: usize, count: usize, fill: &Pen) {
        let at = at % self.len;
        if at > 0 && self.width(at - 1) == 2 {
            self.set_null(at - 1, fill);
        }
        let room = self.len - at;
        if count < room {
            self.shift(at, at + count, room - count);
        }
        for i in at..at + count.min(room) {
            self.set_null(i, fill);
        }
        if self.width(self.len - 1) == 2 {
            self.set_null(self.len - 1, fill);
        }
    }

    /// DCH.
    pub fn delete(&mut self, at: usize, count: usize, fill: &Pen) {
        let at = at % self.len;
        let room = self.len - at;
        if count < room {
            self.shift(at + count, at, room - count);
        }
        for i in self.len - count.min(room)..self.len {
            self.set_null(i, fill);
        }
        if at > 0 && self.width(at - 1) == 2 {
            self.set_null(at - 1, fill);
        }
        if self.width(at) == 0 && !self.has_content(at) {
            self.set_null(at, fill);
        }
    }

    /// Erases from `start` to before `end`; with `respect` all but what DECSCA protects.
    pub fn erase(&mut self, start: usize, end: usize, fill: &Pen, respect: bool) {
        let free = |line: &Self, at: usize| !respect || !line.is_protected(at);
        if start > 0 && self.width(start - 1) == 2 && free(self, start - 1) {
            self.set_null(start - 1, fill);
        }
        if end < self.len && end > 0 && self.width(end - 1) == 2 && free(self, end) {
            self.set_null(end, fill);
        }
        let end = end.min(self.len);
        if !respect && end == self.len && Cell::new(0, 1, fill) == NULL {
            self.cells.truncate(start);
            return;
        }
        for i in start..end {
            if free(self, i) {
                self.set_null(i, fill);
            }
        }
    }

    /// Erases all of the line; with `respect` all but what is protected.
    pub fn clear(&mut self, fill: &Pen, respect: bool) {
        match respect {
            true => {
                for i in 0..self.len {
                    if !self.is_protected(i) {
                        self.set_null(i, fill);
                    }
                }
            }
            false => self.renew(self.len, fill, self.wrapped),
        }
    }

    /// DECALN's fill. xterm.js keeps the mark of an underline or a link here and drops what it stands for.
    pub fn fill(&mut self, code: u32, pen: &Pen) {
        self.extra = None;
        self.cells.clear();
        self.cells.resize(self.len, Cell::new(code, 1, pen));
    }

    pub fn resize(&mut self, len: usize) {
        self.cells.truncate(len);
        if let Some(extra) = &mut self.extra
            && len < self.len
        {
            extra.combined.split_off(&len);
            extra.extended.split_off(&len);
        }
        self.len = len;
    }

    /// Columns up to the last character.
    pub fn trimmed_len(&self) -> usize {
        let last = self.cells[..self.stored()].iter().rposition(|cell| cell.has_content());
        last.map_or(0, |at| at + self.width(at))
    }

    /// Gives back memory that is not needed while the line only rests in the scrollback.
    pub fn rest(&mut self) {
        if let Some(last) = self.cells.iter().rposition(|&cell| cell != NULL) {
            self.cells.truncate(last + 1);
        } else {
            self.cells.clear();
        }
        if self.cells.capacity() > self.cells.len() + self.cells.len() / 2 + 4 {
            self.cells.shrink_to_fit();
        }
    }
}
