//! Text: where it goes, what it joins, and how it wraps.

use crate::attributes::bg;
use crate::charsets;
use crate::unicode::JoinState;

use super::Emulator;

/// Repeats that are always carried out.
const MIN_REPEATS: usize = 1000;

impl Emulator {
    /// Text of 0x20 to 0x7e only, which is nearly all there is.
    pub(super) fn print_narrow(&mut self, run: &[u8]) {
        let plain = self.join.is_plain()
            && self.charsets.current.is_none()
            && !self.modes.insert
            && self.modes.wraparound
            && self.pen.bg & bg::EXTENDED == 0;
        if !plain {
            let codes: Vec<u32> = run.iter().map(|&byte| byte.into()).collect();
            return self.print_run(&codes);
        }
        self.skipped = None;
        self.free_left_half();
        let (pen, fill, cols) = (self.pen, self.pen.erased(), self.cols);
        let buffer = self.buffer_mut();
        let mut rest = run;
        while !rest.is_empty() {
            if buffer.x >= cols {
                buffer.x = 0;
                buffer.wrap(&fill);
            }
            let (now, later) = rest.split_at(rest.len().min(cols - buffer.x));
            let x = buffer.x;
            buffer.cursor_line().set_ascii(x, now, &pen);
            buffer.x += now.len();
            rest = later;
        }
        self.join = JoinState::NARROW;
        self.free_right_half();
    }

    pub(super) fn print_run(&mut self, run: &[u32]) {
        if run.is_empty() {
            return;
        }
        self.free_left_half();
        for &code in run {
            self.print_one(charsets::map(self.charsets.current, code));
        }
        self.free_right_half();
    }

    /// Writing onto the second half of a wide character takes the first away.
    fn free_left_half(&mut self) {
        let pen = self.pen;
        let buffer = self.buffer_mut();
        let x = buffer.x;
        let line = buffer.cursor_line();
        if x > 0 && line.width(x - 1) == 2 {
            line.set_null(x - 1, &pen);
        }
    }

    /// And the other way round.
    fn free_right_half(&mut self) {
        let (pen, cols) = (self.pen, self.cols);
        let buffer = self.buffer_mut();
        let x = buffer.x;
        let line = buffer.cursor_line();
        if x < cols && line.width(x) == 0 && !line.has_content(x) {
            line.set_null(x, &pen);
        }
    }

    fn print_one(&mut self, code: u32) {
        self.skipped = None;
        let before = self.join;
        self.join = before.after(code);
        let (width, joins) = (self.join.width(), self.join.joins());
        let old_width = if joins { before.width() } else { 0 };
        let (pen, cols, insert) = (self.pen, self.cols, self.modes.insert);
        if self.buffer().x + width > cols + old_width {
            if self.modes.wraparound {
                self.wrap_cluster(old_width);
            } else {
                self.buffer_mut().x = cols - 1;
                if width == 2 {
                    self.skipped = Some(code);
                    return;
                }
            }
        }
        let buffer = self.buffer_mut();
        let x = buffer.x;
        let line = buffer.cursor_line();
        if joins && x > 0 {
            let back = if line.width(x - 1) > 0 { 1 } else { 2 };
            if let Some(at) = x.checked_sub(back) {
                line.join(at, code, width);
            }
            for i in 0..width.saturating_sub(old_width) {
                line.set(x + i, 0, 0, &pen);
            }
            buffer.x += width.saturating_sub(old_width);
            return;
        }
        if insert {
            line.insert(x, width.saturating_sub(old_width), &pen);
            if line.width(cols - 1) == 2 {
                line.set_null(cols - 1, &pen);
            }
        }
        line.set(x, code, width, &pen);
        for i in 1..width {
            line.set(x + i, 0, 0, &pen);
        }
        buffer.x += width.max(1);
    }

    /// Goes to the next line, taking along a cluster of `old_width` columns that has just become too wide for this one.
    fn wrap_cluster(&mut self, old_width: usize) {
        let (pen, fill, cols) = (self.pen, self.pen.erased(), self.cols);
        let buffer = self.buffer_mut();
        let from = buffer.x.saturating_sub(old_width);
        let old = buffer.cursor_line();
        let taken = (old_width > 0).then(|| old.clone());
        for at in from..cols {
            old.set_null(at, &pen);
        }
        buffer.x = old_width;
        buffer.wrap(&fill);
        if let Some(taken) = taken {
            buffer.cursor_line().copy_from(&taken, from, 0, old_width);
        }
    }

    /// REP. No more than about a screenful: xterm.js would print for minutes where a program asks for two thousand million.
    pub(super) fn repeat(&mut self, count: usize) {
        if self.join == JoinState::NONE {
            return;
        }
        let width = self.join.width();
        let buffer = self.buffer();
        let Some(x) = buffer.x.checked_sub(width) else { return };
        let mut text = String::new();
        buffer.lines[buffer.base + buffer.y].push_text(x, &mut text);
        let codes: Vec<u32> = text.chars().map(u32::from).collect();
        let count = count.min((self.cols * self.rows).max(MIN_REPEATS));
        self.print_run(&codes.repeat(count));
    }
}
