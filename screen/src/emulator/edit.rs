//! Erasing, inserting and deleting.

use super::Emulator;

impl Emulator {
    /// ED; with `respect` DECSED.
    pub(super) fn erase_in_display(&mut self, which: i32, respect: bool) {
        self.restrict(self.cols);
        let (fill, cols, rows) = (self.pen.erased(), self.cols, self.rows);
        let buffer = self.buffer_mut();
        let (x, y) = (buffer.x, buffer.y);
        match which {
            0 => {
                let line = buffer.line(y);
                line.erase(x, cols, &fill, respect);
                line.wrapped &= x != 0;
                self.clear_lines(y + 1..rows, respect);
            }
            1 => {
                let line = buffer.line(y);
                line.erase(0, x + 1, &fill, respect);
                line.wrapped = false;
                // xterm.js counts from the scrollback's first line here.
                if x + 1 >= cols
                    && let Some(line) = buffer.lines.get_mut(y + 1)
                {
                    line.wrapped = false;
                }
                self.clear_lines(0..y, respect);
            }
            2 => self.clear_lines(0..rows, respect),
            3 => buffer.clear_scrollback(),
            _ => {}
        }
    }

    fn clear_lines(&mut self, lines: std::ops::Range<usize>, respect: bool) {
        let fill = self.pen.erased();
        let buffer = self.buffer_mut();
        for y in lines {
            let line = buffer.line(y);
            line.clear(&fill, respect);
            line.wrapped = false;
        }
    }

    /// EL; with `respect` DECSEL.
    pub(super) fn erase_in_line(&mut self, which: i32, respect: bool) {
        self.restrict(self.cols);
        let (fill, cols) = (self.pen.erased(), self.cols);
        let buffer = self.buffer_mut();
        let x = buffer.x;
        let line = buffer.cursor_line();
        match which {
            0 => {
                line.erase(x, cols, &fill, respect);
                line.wrapped &= x != 0;
            }
            1 => line.erase(0, x + 1, &fill, respect),
            2 => {
                line.erase(0, cols, &fill, respect);
                line.wrapped = false;
            }
            _ => {}
        }
    }

    /// ECH.
    pub(super) fn erase_chars(&mut self, count: usize) {
        self.restrict_to_screen();
        let fill = self.pen.erased();
        let buffer = self.buffer_mut();
        let x = buffer.x;
        buffer.cursor_line().erase(x, x + count, &fill, false);
    }

    /// ICH.
    pub(super) fn insert_chars(&mut self, count: usize) {
        self.restrict_to_screen();
        let fill = self.pen.erased();
        let buffer = self.buffer_mut();
        let x = buffer.x;
        buffer.cursor_line().insert(x, count, &fill);
    }

    /// DCH.
    pub(super) fn delete_chars(&mut self, count: usize) {
        self.restrict_to_screen();
        let fill = self.pen.erased();
        let buffer = self.buffer_mut();
        let x = buffer.x;
        buffer.cursor_line().delete(x, count, &fill);
    }

    fn in_region(&self) -> bool {
        let buffer = self.buffer();
        (buffer.top..=buffer.bottom).contains(&buffer.y)
    }

    /// IL.
    pub(super) fn insert_lines(&mut self, count: usize) {
        self.restrict_to_screen();
        if self.in_region() {
            let fill = self.pen.erased();
            let buffer = self.buffer_mut();
            buffer.insert_lines(count, &fill);
            buffer.x = 0;
        }
    }

    /// DL.
    pub(super) fn delete_lines(&mut self, count: usize) {
        self.restrict_to_screen();
        if self.in_region() {
            let fill = self.pen.erased();
            let buffer = self.buffer_mut();
            buffer.delete_lines(count, &fill);
            buffer.x = 0;
        }
    }

    /// SL.
    pub(super) fn scroll_left(&mut self, count: usize) {
        self.delete_in_region(0, count);
    }

    /// SR.
    pub(super) fn scroll_right(&mut self, count: usize) {
        self.insert_in_region(0, count);
    }

    /// DECIC.
    pub(super) fn insert_columns(&mut self, count: usize) {
        self.insert_in_region(self.buffer().x, count);
    }

    /// DECDC.
    pub(super) fn delete_columns(&mut self, count: usize) {
        self.delete_in_region(self.buffer().x, count);
    }

    fn insert_in_region(&mut self, x: usize, count: usize) {
        if self.in_region() {
            let fill = self.pen.erased();
            let buffer = self.buffer_mut();
            for y in buffer.top..=buffer.bottom {
                let line = buffer.line(y);
                line.insert(x, count, &fill);
                line.wrapped = false;
            }
        }
    }

    fn delete_in_region(&mut self, x: usize, count: usize) {
        if self.in_region() {
            let fill = self.pen.erased();
            let buffer = self.buffer_mut();
            for y in buffer.top..=buffer.bottom {
                let line = buffer.line(y);
                line.delete(x, count, &fill);
                line.wrapped = false;
            }
        }
    }

    /// DECALN.
    pub(super) fn align(&mut self) {
        self.set_cursor(0, 0);
        let (pen, rows) = (self.pen, self.rows);
        let buffer = self.buffer_mut();
        // With origin mode the cursor is now at the region's top, and xterm.js fills from there.
        let first = buffer.base + buffer.y;
        for at in first..first + rows {
            if let Some(line) = buffer.lines.get_mut(at) {
                line.fill('E'.into(), &pen);
                line.wrapped = false;
            }
        }
        self.set_cursor(0, 0);
    }
}
