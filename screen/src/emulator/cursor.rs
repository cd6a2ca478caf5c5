//! Where the cursor goes: movement, tabs, line feeds, and the saved one.

use crate::buffer::{Buffer, Saved};
use crate::params::Params;

use super::Emulator;

impl Buffer {
    /// To the next line because text goes on there; the column is the caller's.
    pub(crate) fn wrap(&mut self, fill: &crate::attributes::Pen) {
        self.y += 1;
        if self.y == self.bottom + 1 {
            self.y -= 1;
            self.scroll(fill, true);
        } else {
            self.y = self.y.min(self.rows - 1);
            self.cursor_line().wrapped = true;
        }
    }
}

impl Emulator {
    /// Takes the cursor back onto the screen, or with origin mode into the scroll region.
    pub(super) fn restrict(&mut self, max_x: usize) {
        let (origin, rows) = (self.modes.origin, self.rows);
        let buffer = self.buffer_mut();
        buffer.x = buffer.x.min(max_x);
        buffer.y = match origin {
            true => buffer.y.max(buffer.top).min(buffer.bottom),
            false => buffer.y.min(rows - 1),
        };
    }

    pub(super) fn restrict_to_screen(&mut self) {
        self.restrict(self.cols - 1);
    }

    fn place(&mut self, x: isize, y: isize) {
        let offset = if self.modes.origin { self.buffer().top } else { 0 };
        let buffer = self.buffer_mut();
        buffer.x = x.max(0) as usize;
        buffer.y = (y + offset as isize).max(0) as usize;
        self.restrict_to_screen();
    }

    pub(super) fn set_cursor(&mut self, x: usize, y: usize) {
        self.place(x as isize, y as isize);
    }

    /// With origin mode the row that is kept counts from the region's top again: xterm.js moves the cursor down here.
    pub(super) fn set_column(&mut self, x: usize) {
        self.set_cursor(x, self.buffer().y);
    }

    pub(super) fn set_row(&mut self, y: usize) {
        self.set_cursor(self.buffer().x, y);
    }

    pub(super) fn move_by(&mut self, x: isize, y: isize) {
        self.restrict_to_screen();
        let buffer = self.buffer();
        self.place(buffer.x as isize + x, buffer.y as isize + y);
    }

    /// CUU; it stops at the region's top.
    pub(super) fn cursor_up(&mut self, count: usize) {
        let buffer = self.buffer();
        let room = buffer.y.checked_sub(buffer.top).unwrap_or(usize::MAX);
        self.move_by(0, -(count.min(room) as isize));
    }

    /// CUD; it stops at the region's bottom.
    pub(super) fn cursor_down(&mut self, count: usize) {
        let buffer = self.buffer();
        let room = buffer.bottom.checked_sub(buffer.y).unwrap_or(usize::MAX);
        self.move_by(0, count.min(room) as isize);
    }

    pub(super) fn line_feed(&mut self) {
        let (fill, newline, cols) = (self.pen.erased(), self.modes.newline, self.cols);
        let buffer = self.buffer_mut();
        if newline {
            buffer.x = 0;
        }
        buffer.y += 1;
        if buffer.y == buffer.bottom + 1 {
            buffer.y -= 1;
            buffer.scroll(&fill, false);
        } else if buffer.y >= buffer.rows {
            buffer.y = buffer.rows - 1;
        } else {
            buffer.cursor_line().wrapped = false;
        }
        if buffer.x >= cols {
            buffer.x -= 1;
        }
    }

    /// Whether each line feed on the last row moves all lines up by one, into a scrollback that nobody collects.
    pub(crate) fn is_plain_scroller(&self) -> bool {
        let main = &self.main;
        !self.on_alternate && main.top == 0 && main.bottom + 1 == main.rows && main.departed.is_none()
    }

    /// As CR and so many LF do that the cursor must have come there.
    pub(crate) fn come_to_last_line(&mut self) {
        let last = self.rows - 1;
        let buffer = self.buffer_mut();
        (buffer.x, buffer.y) = (0, last);
    }

    /// IND.
    pub(super) fn index(&mut self) {
        self.restrict_to_screen();
        let fill = self.pen.erased();
        let buffer = self.buffer_mut();
        buffer.y += 1;
        if buffer.y == buffer.bottom + 1 {
            buffer.y -= 1;
            buffer.scroll(&fill, false);
        } else {
            buffer.y = buffer.y.min(buffer.rows - 1);
        }
        self.restrict_to_screen();
    }

    /// NEL.
    pub(super) fn next_line(&mut self) {
        self.buffer_mut().x = 0;
        self.index();
    }

    /// RI.
    pub(super) fn reverse_index(&mut self) {
        self.restrict_to_screen();
        let fill = self.pen.erased();
        let buffer = self.buffer_mut();
        if buffer.y == buffer.top {
            buffer.scroll_back(&fill);
        } else {
            buffer.y = buffer.y.saturating_sub(1);
            self.restrict_to_screen();
        }
    }

    pub(super) fn backspace(&mut self) {
        if !self.modes.reverse_wraparound {
            self.restrict_to_screen();
            let buffer = self.buffer_mut();
            buffer.x = buffer.x.saturating_sub(1);
            return;
        }
        self.restrict(self.cols);
        let cols = self.cols;
        let buffer = self.buffer_mut();
        if buffer.x > 0 {
            buffer.x -= 1;
        } else if buffer.y > buffer.top && buffer.y <= buffer.bottom && buffer.cursor_line().wrapped {
            buffer.cursor_line().wrapped = false;
            buffer.y -= 1;
            buffer.x = cols - 1;
            let x = buffer.x;
            let line = buffer.cursor_line();
            // A wide character that did not fit left this one free.
            if line.width(x) > 0 && !line.has_content(x) {
                buffer.x -= 1;
            }
        }
        self.restrict_to_screen();
    }

    pub(super) fn tab(&mut self) {
        self.tab_forward(1);
    }

    pub(super) fn tab_forward(&mut self, count: usize) {
        let cols = self.cols;
        let buffer = self.buffer_mut();
        if buffer.x < cols {
            for _ in 0..count.min(cols) {
                buffer.x = buffer.next_stop(buffer.x);
            }
        }
    }

    pub(super) fn tab_backward(&mut self, count: usize) {
        let cols = self.cols;
        let buffer = self.buffer_mut();
        if buffer.x < cols {
            for _ in 0..count.min(cols) {
                buffer.x = buffer.previous_stop(buffer.x);
            }
        }
    }

    pub(super) fn set_tab(&mut self) {
        let buffer = self.buffer_mut();
        buffer.tabs.insert(buffer.x);
    }

    pub(super) fn clear_tabs(&mut self, which: i32) {
        let buffer = self.buffer_mut();
        match which {
            0 => {
                buffer.tabs.remove(&buffer.x);
            }
            3 => buffer.tabs.clear(),
            _ => {}
        }
    }

    /// DECSTBM.
    pub(super) fn set_scroll_region(&mut self, params: &Params) {
        let rows = self.rows;
        let top = params.at_least_one(0);
        let bottom = match params.get(1).max(0) as usize {
            0 => rows,
            bottom => bottom.min(rows),
        };
        if bottom > top {
            let buffer = self.buffer_mut();
            (buffer.top, buffer.bottom) = (top - 1, bottom - 1);
            self.set_cursor(0, 0);
        }
    }

    pub(super) fn save_cursor(&mut self) {
        let (pen, charset) = (self.pen, self.charsets.current);
        let buffer = self.buffer_mut();
        buffer.saved = Saved { x: buffer.x, y: buffer.base + buffer.y, fg: pen.fg, bg: pen.bg, charset };
    }

    pub(super) fn restore_cursor(&mut self) {
        let buffer = self.buffer_mut();
        let saved = buffer.saved;
        buffer.x = saved.x;
        buffer.y = saved.y.saturating_sub(buffer.base);
        (self.pen.fg, self.pen.bg) = (saved.fg, saved.bg);
        self.charsets.current = saved.charset;
        self.restrict_to_screen();
    }
}
