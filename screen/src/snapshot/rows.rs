//! Draws lines into an empty screen, from the top on, so that they end where they are: characters, blanks that were
//! never written to, blanks with a background, and which line goes on from the one before.

use crate::attributes::{COLOUR_MASK, Pen, bg};
use crate::buffer::Buffer;
use crate::line::{Line, NULL};
use crate::unicode::JoinState;

use super::{Gap, Writer};

/// U+3000, two columns of nothing.
const WIDE_SPACE: &str = "\u{3000}";

/// Whether a cell is one that drawing its text would make: a blank of one column, or a cluster with all its columns.
pub(super) fn is_regular(line: &Line, at: usize, cols: usize) -> bool {
    let width = line.width(at);
    if !line.has_content(at) || line.cell(at).ascii().is_some() {
        return width == 1;
    }
    let mut text = String::new();
    line.push_text(at, &mut text);
    let mut state = JoinState::NONE;
    let joined = text.chars().enumerate().all(|(index, character)| {
        state = state.after(character.into());
        index == 0 || state.joins()
    });
    let pen = line.pen(at).drawn();
    let whole = (at + 1..at + width)
        .all(|more| more < cols && line.width(more) == 0 && !line.has_content(more) && line.pen(more).drawn() == pen);
    joined && whole && state.width() == width
}

fn is_blank(line: &Line, at: usize) -> bool {
    !line.has_content(at) && line.width(at) == 1
}

/// Whether a cell without text has more than a background.
fn is_styled_blank(line: &Line, at: usize) -> bool {
    let cell = line.cell(at);
    let plain = |fg: u32, bg: u32| fg == 0 && bg & !COLOUR_MASK == 0;
    if cell.has_content() || cell.width() != 1 || plain(cell.fg, cell.bg) {
        return false;
    }
    let drawn = line.pen(at).drawn();
    !plain(drawn.fg, drawn.bg)
}

impl Writer<'_> {
    /// Draws the lines from `first` on. The cursor must be at the top left of an empty screen.
    pub(super) fn draw(&mut self, buffer: &Buffer, first: usize) {
        // What line 0 goes on from is gone. A line that stands for it is drawn, and then thrown away.
        let stand_in = buffer.lines[first].wrapped;
        self.x = 0;
        // The line that the cursor is on, as the terminal counts. It counts anew what it throws away.
        let mut at = 0;
        if stand_in {
            self.save_cursor_in(buffer, at);
            self.control(&format!(" \x1b[{}b", self.cols - 1));
            self.x = self.cols;
        }
        for (index, line) in buffer.lines.range(first..).enumerate() {
            if index > 0 || stand_in {
                at = (at + 1).min(buffer.max_lines - 1);
            }
            let from = index.checked_sub(1).map(|before| &buffer.lines[first + before]);
            let goes_on = buffer.lines.get(first + index + 1).is_some_and(|next| next.wrapped);
            let styled_end = is_styled_blank(line, self.cols - 1) && !goes_on;
            let mut dirty = 0;
            if line.wrapped {
                dirty = self.wrap(from, line, self.save_at == Some(at) || styled_end);
            } else if index > 0 {
                self.clear_background();
                self.control("\r\n");
                self.x = 0;
            }
            if self.save_cursor_in(buffer, at) {
                dirty = dirty.max(1);
            }
            if styled_end {
                // This moves what was written by one column.
                self.styled_blank_at_end(line);
                dirty = (dirty + 1).min(self.cols);
            }
            if styled_end && is_styled_blank(line, self.cols - 2) {
                self.gap(Gap::IrregularCell);
            }
            self.draw_line(line, dirty);
            if stand_in && index + 1 == self.rows && at >= self.rows {
                // Only the stand-in has been scrolled off so far.
                self.control("\x1b[3J");
                at -= 1;
            }
        }
    }

    /// Saves the cursor if it is on the line where it was saved. Nothing is drawn in that line yet.
    fn save_cursor_in(&mut self, buffer: &Buffer, at: usize) -> bool {
        let here = self.save_at == Some(at);
        if here {
            self.save_at = None;
            self.save_cursor(buffer);
            self.column(0);
        }
        here
    }

    /// Gets to the next line by wrapping; `from` is the line before, already drawn. Returns how many columns of the new
    /// line were written to on the way; with `now` the cursor is on it in any case.
    fn wrap(&mut self, from: Option<&Line>, to: &Line, now: bool) -> usize {
        let first = to.cell(0);
        let pen = to.pen(0).drawn();
        let drawable = is_regular(to, 0, self.cols) && first.has_content();
        if let Some(from) = from
            && (self.x < self.cols || is_blank(from, self.cols - 1))
        {
            // The last column is free. Only a wide character wraps there, and leaves it free as the pen is.
            let free = from.pen(self.cols - 1).drawn();
            self.column(self.cols - 1);
            if !now && drawable && first.width() == 2 && pen == free {
                // As if a wrap were pending: it is drawn without moving to it.
                self.x = self.cols;
                return self.scrolled_in(&pen);
            }
            self.set_pen(&free);
            self.control(WIDE_SPACE);
            self.control("\r");
            self.x = 0;
            return self.scrolled_in(&free).max(2);
        }
        self.x = self.cols;
        if !now && drawable {
            return self.scrolled_in(&pen);
        }
        self.set_pen(&Pen::default());
        self.separate(JoinState::NONE.after(' '.into()), ' '.into());
        self.control(" \r");
        self.x = 0;
        1
    }

    /// A line that is scrolled in takes the background of what wraps into it.
    fn scrolled_in(&self, pen: &Pen) -> usize {
        if pen.bg & COLOUR_MASK == 0 { 0 } else { self.cols }
    }

    /// Draws a line of which the first `dirty` columns may not be blank.
    fn draw_line(&mut self, line: &Line, dirty: usize) {
        let end = line.stored().max(dirty).min(self.cols);
        let mut at = 0;
        while at < end {
            let cell = line.cell(at);
            if let (Some(byte), true) = (cell.ascii(), self.goes_on(line, at)) {
                self.out.push(byte);
                self.join = JoinState::NARROW;
                at += 1;
                self.x = at;
                continue;
            }
            if !is_regular(line, at, self.cols) {
                self.gap(Gap::IrregularCell);
            } else if cell.has_content() {
                at += self.draw_cell(line, at, &line.pen(at).drawn());
                continue;
            }
            if is_styled_blank(line, at) && at + 1 < self.cols {
                self.styled_blank(line, at);
                at += 1;
                if at == end || line.cell(at) == NULL {
                    self.column(at);
                    self.blank(line, at, 1);
                }
                continue;
            }
            let skip = cell == NULL && at >= dirty;
            let alike = |next: &usize| line.cell(*next) == cell && (skip || *next < dirty || cell != NULL);
            let same = (at..end).take_while(alike).count().max(1);
            // A styled blank in the last column is there already, or will be when the next line is wrapped to.
            let made_elsewhere = at + 1 == self.cols && is_styled_blank(line, at);
            if !skip && !made_elsewhere {
                self.column(at);
                self.blank(line, at, same);
            }
            at += same;
        }
    }

    /// Whether the cell in column `at` can be drawn just so: right at the cursor, and like the one before it.
    fn goes_on(&self, line: &Line, at: usize) -> bool {
        let (cell, before) = (line.cell(at), line.cell(at.saturating_sub(1)));
        let alike = (cell.fg, cell.bg) == (before.fg, before.bg) && cell.bg & bg::EXTENDED == 0;
        at > 0 && self.x == at && alike && before.ascii().is_some()
    }

    /// Blanks `count` columns at the cursor, as column `at` of `line` is.
    pub(super) fn blank(&mut self, line: &Line, at: usize, count: usize) {
        let cell = line.cell(at);
        self.set_pen(&Pen { fg: 0, bg: cell.bg & COLOUR_MASK, ..Pen::default() });
        match count {
            1 => self.control("\x1b[X"),
            _ => self.control(&format!("\x1b[{count}X")),
        }
    }

    /// A blank keeps more than its background where half of a wide character was written over: so do that.
    fn styled_blank(&mut self, line: &Line, at: usize) {
        self.column(at);
        self.control(WIDE_SPACE);
        self.x = at + 2;
        self.column(at + 1);
        self.set_pen(&line.pen(at).drawn());
        self.control(" ");
        self.x = at + 2;
    }

    /// And in the last column where half of one was pushed over the edge. Leaves the first column written to.
    fn styled_blank_at_end(&mut self, line: &Line) {
        self.column(self.cols - 2);
        self.set_pen(&Pen::default());
        self.control(WIDE_SPACE);
        self.control("\r");
        self.set_pen(&line.pen(self.cols - 1).drawn());
        self.control("\x1b[4h \x1b[4l\r");
        self.x = 0;
    }

    /// Draws the cluster in column `at`; returns its width.
    pub(super) fn draw_cell(&mut self, line: &Line, at: usize, pen: &Pen) -> usize {
        let mut text = String::new();
        line.push_text(at, &mut text);
        if self.x != self.cols || at != 0 {
            self.column(at);
        }
        self.set_pen(pen);
        let first = text.chars().next().map_or(0, u32::from);
        self.separate(JoinState::NONE.after(first), first);
        self.print(&text);
        let width = line.width(at);
        self.x = at + width;
        width
    }

    /// Keeps `first` from joining what was drawn before it. `alone` is its state at the start of a cluster.
    fn separate(&mut self, alone: JoinState, first: u32) {
        if self.join != JoinState::NONE && (self.join.after(first).joins() || alone.width() == 0) {
            // A string terminator with nothing to terminate does nothing but end the cluster.
            self.control("\x1b\\");
        }
    }

    /// Moves the cursor within its line.
    pub(super) fn column(&mut self, to: usize) {
        match to.checked_sub(self.x) {
            Some(0) if self.x < self.cols => return,
            Some(1) if self.x < self.cols => self.control("\x1b[C"),
            Some(right) if self.x < self.cols => self.control(&format!("\x1b[{right}C")),
            _ => self.control(&format!("\x1b[{}G", to + 1)),
        }
        self.x = to;
    }
}
