//! The exact state of a terminal as bytes: written to a terminal, they make it what the stream had made it, so that
//! the stream can go on from there.
//!
//! Order matters: lines are drawn while all modes are at rest, main screen first; then what moves the cursor (scroll
//! region, tab stops, saved cursor); then modes; the cursor, the pen and the last character come last, for anything
//! after them would change them again.

mod finish;
mod rows;
mod style;

use crate::attributes::{Extended, Pen, bg, fg};
use crate::buffer::{Buffer, Saved};
use crate::emulator::Emulator;
use crate::unicode::JoinState;

/// Puts any terminal to its beginning. CAN first: it cancels a sequence that the terminal may be in the middle of.
const RESET: &str = "\x18\x1bc";

/// State that no sequence can bring a terminal into. Rare, and told of so that nobody takes such a snapshot for exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Gap {
    /// On the alternate screen, a wrap is pending in a column that was erased since.
    WrapPendingOverBlank,
    /// One half of a wide character stands alone, or parts of clusters were put together that do not belong together,
    /// or the last two columns are blanks that kept more than a background.
    IrregularCell,
    /// A restored cursor left the pen with an underline or a link that its other attributes do not know of, or a
    /// character set that no level has, and what was saved has changed since. The pen draws as it should until the
    /// program changes one of these.
    OutOfStep,
    /// The size changed right after a character, which is no longer before the cursor: what comes cannot join it.
    LastCharacterMoved,
    /// On the alternate screen, the saved cursor is in a row that the screen lost. It is saved in the last one.
    SavedBelowScreen,
    /// A tab stop was set while a wrap was pending, right of the last column. A wider screen would show it.
    TabBeyondEdge,
}

pub(crate) struct Writer<'a> {
    out: Vec<u8>,
    emulator: &'a Emulator,
    cols: usize,
    rows: usize,
    /// The terminal's pen after what is written so far.
    pen: Pen,
    /// And its cursor's column; `cols` when a wrap is pending.
    x: usize,
    /// And what a character could join.
    join: JoinState,
    /// The line, counted from the first drawn, in which the cursor is to be saved.
    save_at: Option<usize>,
    gaps: Vec<Gap>,
}

/// Writes `emulator`'s state with at most `scrollback` lines above the screen.
pub(crate) fn write(emulator: &Emulator, scrollback: usize) -> (Vec<u8>, Vec<Gap>) {
    let mut writer = Writer {
        out: Vec::with_capacity(64 * 1024),
        emulator,
        cols: emulator.cols,
        rows: emulator.rows,
        pen: Pen::default(),
        x: 0,
        join: JoinState::NONE,
        save_at: None,
        gaps: Vec::new(),
    };
    writer.control(RESET);
    writer.names_and_colours();
    let main = &emulator.main;
    writer.screen(main, main.base.saturating_sub(scrollback));
    writer.keyboard(0);
    if emulator.on_alternate {
        writer.set_pen(&Pen::default());
        // Where the main screen's cursor was decides what becomes of its lines when the size changes.
        writer.control(&format!("\x1b[{};{}H", main.y + 1, main.x.min(writer.cols - 1) + 1));
        writer.control("\x1b[?47h\x1b[H");
        writer.screen(&emulator.alternate, 0);
        writer.keyboard(1);
    } else {
        writer.hidden_alternate();
    }
    writer.finish();
    (writer.out, writer.gaps)
}

impl Writer<'_> {
    fn gap(&mut self, gap: Gap) {
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// Writes a control sequence, or text that no cluster is to join.
    fn control(&mut self, sequence: &str) {
        self.out.extend_from_slice(sequence.as_bytes());
        self.join = JoinState::NONE;
    }

    /// Writes the text of one cell.
    fn print(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.join = text.chars().fold(self.join, |join, character| join.after(character.into()));
    }

    fn names_and_colours(&mut self) {
        let Emulator { title, icon_name, colours, .. } = self.emulator;
        if title == icon_name && title.is_some() {
            self.control(&format!("\x1b]0;{}\x1b\\", title.as_deref().unwrap_or_default()));
        } else {
            for (number, name) in [(1, icon_name), (2, title)] {
                if let Some(name) = name {
                    self.control(&format!("\x1b]{number};{name}\x1b\\"));
                }
            }
        }
        if !colours.touched {
            return;
        }
        self.control("\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\");
        for (index, [red, green, blue]) in &colours.palette {
            self.control(&format!("\x1b]4;{index};#{red:02x}{green:02x}{blue:02x}\x1b\\"));
        }
        for (number, colour) in (10..).zip(colours.special) {
            if let Some([red, green, blue]) = colour {
                self.control(&format!("\x1b]{number};#{red:02x}{green:02x}{blue:02x}\x1b\\"));
            }
        }
    }

    /// Draws one screen and all that belongs to it alone. The cursor is at the top left of an empty one.
    fn screen(&mut self, buffer: &Buffer, first: usize) {
        self.save_at = None;
        if buffer.saved != Saved::default() {
            let line = buffer.saved.y.saturating_sub(first);
            let lines = buffer.lines.len() - first;
            self.save_at = Some(line);
            if line >= lines && buffer.scrollback.is_none() {
                self.save_at = Some(lines - 1);
                self.gap(Gap::SavedBelowScreen);
            } else if line >= lines {
                self.save_below(buffer, line);
            }
        }
        self.draw(buffer, first);
        self.set_pen(&Pen::default());
        if (buffer.top, buffer.bottom) != (0, self.rows - 1) {
            self.control(&format!("\x1b[{};{}r", buffer.top + 1, buffer.bottom + 1));
        }
        let usual = buffer.tabs.range(..self.cols).copied().eq(buffer.default_tabs());
        if buffer.tabs.range(self.cols..).next().is_some() {
            self.gap(Gap::TabBeyondEdge);
        }
        if !usual {
            self.control("\x1b[3g");
            for tab in buffer.tabs.range(..self.cols) {
                self.control(&format!("\x1b[{}G\x1bH", tab + 1));
            }
        }
    }

    /// Saves the cursor in a line beyond the last. It gets there when the scrollback is erased after saving: so do it
    /// here, too.
    fn save_below(&mut self, buffer: &Buffer, line: usize) {
        let scrolled = line.saturating_sub(self.rows - 1);
        self.control(&format!("\x1b[{}H", self.rows));
        self.control(&"\n".repeat(scrolled));
        self.control(&format!("\x1b[{}H", (line - scrolled) + 1));
        self.x = 0;
        self.save_cursor(buffer);
        self.clear_background();
        self.control("\x1b[3J\x1b[2J\x1b[H");
        self.save_at = None;
    }

    /// DECSC as the program had it, on the line that the cursor is on.
    fn save_cursor(&mut self, buffer: &Buffer) {
        let Saved { x, fg: foreground, bg: background, charset, .. } = buffer.saved;
        self.column(x.min(self.cols - 1));
        let underlined = foreground & fg::UNDERLINE != 0;
        let marked = background & bg::EXTENDED != 0;
        let extended = Extended { style: u8::from(underlined), ..Extended::default() };
        let mut pen = Pen { fg: foreground, bg: background, extended };
        pen.update_extended();
        self.set_pen(&pen);
        if marked && !underlined {
            // The mark of a link without the link: any will do.
            self.control("\x1b]8;;-\x1b\\");
        }
        if underlined && !marked {
            // Restored without its style, the underline keeps its mark until a link is closed.
            self.control("\x1b7\x1b[m\x1b8\x1b]8;;\x1b\\");
        }
        if let Some(charset) = charset {
            self.control(&format!("\x1b({}", char::from(charset)));
        }
        if x == self.cols {
            self.control(" ");
        }
        self.control("\x1b7");
        if marked != underlined {
            self.control("\x1b]8;;\x1b\\");
            self.forget_pen();
        }
        if charset.is_some() {
            self.control("\x1b(B");
        }
        if x == self.cols {
            // What made the wrap pending is taken away again.
            self.set_pen(&Pen::default());
            self.x = self.cols;
            self.column(self.cols - 1);
            self.control("\x1b[X");
        }
    }

    /// What an alternate screen that is not shown keeps: its saved cursor and keyboard flags.
    fn hidden_alternate(&mut self) {
        let buffer = &self.emulator.alternate;
        let (saved, keyboard) = (buffer.saved, &self.emulator.modes.keyboard[1]);
        if saved == Saved::default() && keyboard.is_empty() {
            return;
        }
        self.set_pen(&Pen::default());
        let row = saved.y.min(self.rows - 1);
        if row < saved.y {
            self.gap(Gap::SavedBelowScreen);
        }
        self.control(&format!("\x1b[?47h\x1b[{}H", row + 1));
        self.x = 0;
        self.save_cursor(buffer);
        self.keyboard(1);
        self.set_pen(&Pen::default());
        self.control("\x1b[?47l");
    }

    fn keyboard(&mut self, screen: usize) {
        for flags in &self.emulator.modes.keyboard[screen] {
            self.control(&format!("\x1b[>{flags}u"));
        }
    }
}
