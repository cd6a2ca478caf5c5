//! The end of a snapshot: modes, the cursor, the pen, and the last character drawn once more where the stream could
//! still join or repeat it, or where a wrap is pending.

use crate::attributes::{Pen, bg, fg};
use crate::charsets;
use crate::emulator::Emulator;
use crate::line::Line;
use crate::unicode::JoinState;

use super::rows::is_regular;
use super::{Gap, Writer};

/// Whether the cluster in column `at` may as well be the one that was printed last.
fn is_last(line: &Line, at: usize, cols: usize, emulator: &Emulator) -> bool {
    let mut text = String::new();
    line.push_text(at, &mut text);
    let state = text.chars().fold(JoinState::NONE, |state, character| state.after(character.into()));
    is_regular(line, at, cols) && state.is_like(emulator.join) && line.pen(at).drawn() == emulator.pen.drawn()
}

impl Writer<'_> {
    pub(super) fn finish(&mut self) {
        let emulator = self.emulator;
        let buffer = emulator.buffer();
        let line = &buffer.lines[buffer.base + buffer.y];
        let skipped = emulator.skipped.filter(|_| emulator.join != JoinState::NONE);
        let joinable = match emulator.join {
            JoinState::NONE => None,
            _ if let Some(skipped) = skipped => {
                // It was wide by itself, or by what it would have joined; only the former can be had again.
                let alone = JoinState::NONE.after(skipped).width() == 2;
                if !alone {
                    self.gap(Gap::LastCharacterMoved);
                }
                alone.then_some(buffer.x)
            }
            join => {
                let at = buffer.x.checked_sub(join.width()).filter(|&at| is_last(line, at, self.cols, emulator));
                if at.is_none() {
                    self.gap(Gap::LastCharacterMoved);
                }
                at
            }
        };
        self.modes();
        let (restored, drawn) = self.restore();
        if let Some(at) = joinable {
            if !restored {
                self.charsets();
            }
            self.flag(emulator.modes.insert, "4");
            if !drawn {
                self.final_pen();
            }
            self.cursor(at, buffer.y);
            return match skipped.and_then(char::from_u32) {
                // There will be no room for it again, and again it leaves the cursor where it is.
                Some(skipped) => self.print(skipped.encode_utf8(&mut [0; 4])),
                None => self.redraw(line, at),
            };
        }
        let pending = buffer.x == self.cols;
        self.cursor(buffer.x.min(self.cols - 1), buffer.y);
        if pending {
            self.pend(line, restored);
        }
        if !restored {
            self.charsets();
        }
        self.flag(emulator.modes.insert, "4");
        if !drawn {
            self.final_pen();
        }
    }

    fn flag(&mut self, on: bool, mode: &str) {
        if on {
            self.control(&format!("\x1b[{mode}h"));
        }
    }

    /// All modes but insertion, under which nothing can be drawn over.
    fn modes(&mut self) {
        let modes = &self.emulator.modes;
        self.control(if modes.cursor_hidden { "\x1b[?25l" } else { "\x1b[?25h" });
        self.control(if modes.newline { "\x1b[20h" } else { "\x1b[20l" });
        if let Some(blink) = modes.blink {
            self.control(if blink { "\x1b[?12h" } else { "\x1b[?12l" });
        }
        self.flag(modes.application_cursor, "?1");
        self.flag(modes.application_keypad, "?66");
        self.flag(modes.bracketed_paste, "?2004");
        self.flag(modes.reverse_wraparound, "?45");
        self.flag(modes.send_focus, "?1004");
        self.flag(modes.synchronized, "?2026");
        if !modes.wraparound {
            self.control("\x1b[?7l");
        }
        for mode in [modes.mouse.mode(), modes.encoding.mode()].into_iter().flatten() {
            self.flag(true, &format!("?{mode}"));
        }
        let style = match (modes.cursor_style, modes.cursor_blink) {
            (None, None) => None,
            // 7 and 8 set the blinking alone.
            (style, blink) => Some(style.unwrap_or(8) - u8::from(blink == Some(true))),
        };
        if let Some(style) = style {
            self.control(&format!("\x1b[{style} q"));
        }
        self.flag(modes.origin, "?6");
    }

    /// A restored cursor leaves the pen's words out of step with its underline and link, and a character set in use
    /// that no level has. Restoring again is the only way to get there, if what was saved is still there. Returns
    /// whether that was done, and whether the pen is then as it should be.
    fn restore(&mut self) -> (bool, bool) {
        let Emulator { pen, charsets, .. } = self.emulator;
        let saved = &self.emulator.buffer().saved;
        let stray = charsets.current != charsets.sets[charsets.level];
        let consistent = pen.is_consistent();
        if consistent && !stray {
            return (false, false);
        }
        let fixed = |pen: &Pen| (pen.fg & fg::UNDERLINE, pen.bg & bg::EXTENDED);
        let from = Pen { fg: saved.fg, bg: saved.bg, extended: pen.extended };
        let amendable = fixed(&from) == fixed(pen);
        if (stray && saved.charset != charsets.current) || !(consistent || amendable) {
            self.gap(Gap::OutOfStep);
            return (false, false);
        }
        self.charsets();
        let mut extended = Pen { extended: pen.extended, ..Pen::default() };
        if pen.extended.style > 0 {
            extended.fg |= fg::UNDERLINE;
        }
        extended.update_extended();
        self.set_pen(&extended);
        self.control("\x1b8");
        if !stray {
            // What was restored is not in use: shifting again brings back what is.
            self.shift(charsets.level);
        }
        match amendable {
            true => self.amend(&from, pen),
            false => self.forget_pen(),
        }
        (true, amendable)
    }

    /// The pen as it is, or as it draws where it is out of step.
    fn final_pen(&mut self) {
        let pen = self.emulator.pen;
        let pen = if pen.is_consistent() { pen } else { pen.drawn() };
        self.set_pen(&pen);
    }

    fn charsets(&mut self) {
        let charsets = &self.emulator.charsets;
        for (level, into) in ['(', ')', '*', '+'].into_iter().enumerate() {
            if let Some(charset) = charsets.sets[level] {
                self.control(&format!("\x1b{into}{}", char::from(charset)));
            }
        }
        if charsets.level != 0 {
            self.shift(charsets.level);
        }
    }

    fn shift(&mut self, level: usize) {
        self.control(["\x0f", "\x0e", "\x1bn", "\x1bo"][level]);
    }

    fn cursor(&mut self, x: usize, y: usize) {
        let top = if self.emulator.modes.origin { self.emulator.buffer().top } else { 0 };
        self.control(&format!("\x1b[{};{}H", y.saturating_sub(top) + 1, x + 1));
        self.x = x;
    }

    /// Draws the last cluster again, so that what comes can join it.
    fn redraw(&mut self, line: &Line, at: usize) {
        let mut text = String::new();
        line.push_text(at, &mut text);
        if self.emulator.modes.insert {
            // It will be inserted, so it is taken out first; but not what it gains by what joins it.
            let inserted = text.chars().next().map_or(1, |first| JoinState::NONE.after(first.into()).width());
            self.control(&format!("\x1b[{inserted}P"));
        }
        let charset = self.emulator.charsets.current;
        let unmapped = |character: char| match charsets::map(charset, character.into()) == u32::from(character) {
            true => character,
            false => charsets::unmap(charset, character).unwrap_or(character),
        };
        let text: String = text.chars().map(unmapped).collect();
        self.print(&text);
    }

    /// Makes a wrap pending in the last column, whatever is there.
    fn pend(&mut self, line: &Line, restored: bool) {
        let last = self.cols - 1;
        let at = if line.width(last) == 0 { last.saturating_sub(1) } else { last };
        if line.has_content(at) && !restored {
            self.x = last;
            self.draw_cell(line, at, &line.pen(at).drawn());
            return self.control("\x1b\\");
        }
        if !self.emulator.on_alternate {
            // The main screen takes over the cursor that the alternate one has when it is left.
            let y = self.emulator.main.y;
            return self.control(&format!("\x1b[?47h\x1b[{};{}H \x1b[?47l", y + 1, self.cols));
        }
        let blank = |cell: crate::line::Cell| Pen { fg: 0, bg: cell.bg, ..Pen::default() }.erased();
        let pen = blank(line.cell(last));
        if restored || !(0..self.cols).all(|at| !line.has_content(at) && blank(line.cell(at)) == pen) {
            return self.gap(Gap::WrapPendingOverBlank);
        }
        self.set_pen(&pen);
        self.control(" ");
        // It was erased while the wrap was pending, which leaves it pending.
        self.control("\x1b[1K");
    }
}
