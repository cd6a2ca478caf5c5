//! Writes what brings a terminal's pen from one look to another.

use crate::attributes::{COLOUR_MASK, MODE_16, MODE_256, MODE_MASK, MODE_RGB, Pen, bg, fg};

use super::Writer;

impl Writer<'_> {
    /// Makes the pen draw as `target` does, which must be consistent.
    pub(super) fn set_pen(&mut self, target: &Pen) {
        self.set_link(target.extended.link);
        let now = self.pen;
        if now.fg != target.fg || now.bg != target.bg || now.extended != target.extended {
            self.rendition(target);
            self.pen = *target;
        }
    }

    /// The pen's words are no longer known.
    pub(super) fn forget_pen(&mut self) {
        self.control("\x1b[m");
        (self.pen.fg, self.pen.bg) = (0, 0);
        (self.pen.extended.style, self.pen.extended.colour) = (0, 0);
        self.pen.update_extended();
    }

    /// Makes it draw plain blanks: what is scrolled in or wrapped to takes the pen's background.
    pub(super) fn clear_background(&mut self) {
        if self.pen.bg & COLOUR_MASK != 0 {
            self.set_pen(&Pen::default());
        }
    }

    pub(super) fn set_link(&mut self, number: u32) {
        if self.pen.extended.link == number {
            return;
        }
        let link = self.emulator.links.get(number).cloned();
        self.control("\x1b]8;");
        if let Some(link) = &link {
            if let Some(id) = &link.id {
                self.out.extend_from_slice(b"id=");
                self.out.extend_from_slice(id.as_bytes());
            }
            self.out.push(b';');
            self.out.extend_from_slice(link.address.as_bytes());
        } else {
            self.out.push(b';');
        }
        self.out.extend_from_slice(b"\x1b\\");
        self.pen.extended.link = number;
        self.pen.update_extended();
    }

    /// SGR from nothing, and DECSCA, which SGR 0 takes back in xterm.js.
    fn rendition(&mut self, pen: &Pen) {
        let mut sgr = String::from("\x1b[0");
        let mut flag = |on: bool, code: &str| {
            if on {
                sgr.push(';');
                sgr.push_str(code);
            }
        };
        flag(pen.fg & fg::BOLD != 0, "1");
        flag(pen.bg & bg::DIM != 0, "2");
        flag(pen.bg & bg::ITALIC != 0, "3");
        flag(pen.fg & fg::BLINK != 0, "5");
        flag(pen.fg & fg::INVERSE != 0, "7");
        flag(pen.fg & fg::INVISIBLE != 0, "8");
        flag(pen.fg & fg::STRIKETHROUGH != 0, "9");
        flag(pen.bg & bg::OVERLINE != 0, "53");
        colour(&mut sgr, pen.fg, 30);
        colour(&mut sgr, pen.bg, 40);
        colour(&mut sgr, pen.extended.colour, 50);
        match pen.extended.style {
            0 => {}
            1 => sgr.push_str(";4"),
            style => sgr.push_str(&format!(";4:{style}")),
        }
        sgr.push('m');
        self.control(&sgr);
        if pen.bg & bg::PROTECTED != 0 {
            self.control("\x1b[1\"q");
        }
    }

    /// Brings the words of the pen, which were just restored from `from`, to those of `to` without a word about
    /// underline and link: those two stay out of step with the words.
    pub(super) fn amend(&mut self, from: &Pen, to: &Pen) {
        let mut sgr = String::new();
        let weight = |pen: &Pen| (pen.fg & fg::BOLD, pen.bg & bg::DIM);
        if weight(from) != weight(to) {
            sgr.push_str(";22");
            sgr.push_str(if to.fg & fg::BOLD != 0 { ";1" } else { "" });
            sgr.push_str(if to.bg & bg::DIM != 0 { ";2" } else { "" });
        }
        let mut flag = |before: bool, after: bool, on: &str, off: &str| {
            if before != after {
                sgr.push_str(if after { on } else { off });
            }
        };
        let (of, ob, nf, nb) = (from.fg, from.bg, to.fg, to.bg);
        flag(ob & bg::ITALIC != 0, nb & bg::ITALIC != 0, ";3", ";23");
        flag(of & fg::BLINK != 0, nf & fg::BLINK != 0, ";5", ";25");
        flag(of & fg::INVERSE != 0, nf & fg::INVERSE != 0, ";7", ";27");
        flag(of & fg::INVISIBLE != 0, nf & fg::INVISIBLE != 0, ";8", ";28");
        flag(of & fg::STRIKETHROUGH != 0, nf & fg::STRIKETHROUGH != 0, ";9", ";29");
        flag(ob & bg::OVERLINE != 0, nb & bg::OVERLINE != 0, ";53", ";55");
        for (before, after, base, none) in [(of, nf, 30, ";39"), (ob, nb, 40, ";49")] {
            if (before ^ after) & COLOUR_MASK != 0 {
                sgr.push_str(none);
                colour(&mut sgr, after, base);
            }
        }
        if !sgr.is_empty() {
            self.control(&format!("\x1b[{}m", &sgr[1..]));
        }
        if (ob ^ nb) & bg::PROTECTED != 0 {
            self.control(if nb & bg::PROTECTED != 0 { "\x1b[1\"q" } else { "\x1b[0\"q" });
        }
        self.pen = *to;
    }
}

/// A colour of the words as SGR; `base` is 30, 40 or 50 for the foreground, background or underline.
fn colour(sgr: &mut String, word: u32, base: u32) {
    let value = word & 0xff_ffff;
    let index = word & 0xff;
    let code = match word & MODE_MASK {
        MODE_16 if index < 8 => (base + index).to_string(),
        MODE_16 => (base + 60 + index - 8).to_string(),
        MODE_256 => format!("{};5;{index}", base + 8),
        MODE_RGB => format!("{};2;{};{};{}", base + 8, value >> 16, value >> 8 & 0xff, index),
        _ => return,
    };
    sgr.push(';');
    sgr.push_str(&code);
}
