//! What a program has switched on in the terminal, so that leaving can switch exactly that off again: the other
//! screen, mouse reports, bracketed paste, a hidden cursor and the like. A detached terminal must be as it was.

use std::collections::BTreeSet;

use vte::{Params, Parser, Perform};

/// DEC private modes that are on in a fresh terminal: wrap, cursor. Leaving sets these again.
const ON_BY_DEFAULT: [u16; 2] = [7, 25];

/// Follows the output of a program.
#[derive(Default)]
pub struct Modes {
    parser: Parser,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    /// Private modes that differ from a fresh terminal's.
    changed: BTreeSet<u16>,
    keypad: bool,
    cursor_style: bool,
    /// The kitty keyboard protocol's stack, as deep as it was pushed.
    keyboards: u16,
    modify_other_keys: bool,
    scroll_region: bool,
    insert: bool,
    /// LF is a new line, too.
    new_line: bool,
    /// The palette, or the colours of text, background and cursor.
    colours: bool,
    /// What comes is part of a link.
    link: bool,
}

impl Modes {
    pub fn follow(&mut self, output: &[u8]) {
        self.parser.advance(&mut self.seen, output);
    }

    /// What sets the terminal back. Starts over, too: a second call gives next to nothing.
    pub fn undo(&mut self) -> Vec<u8> {
        let seen = std::mem::take(&mut self.seen);
        // CAN ends a sequence that the stream was cut in; on its own it does nothing.
        let mut text = String::from("\x18");
        if seen.keyboards > 0 {
            text += &format!("\x1b[<{}u", seen.keyboards);
        }
        if seen.modify_other_keys {
            text += "\x1b[>4;0m";
        }
        // Highest first: the other screen (1049) is left before the cursor (25) is shown on the one that stays.
        for mode in seen.changed.into_iter().rev() {
            let switch = if ON_BY_DEFAULT.contains(&mode) { 'h' } else { 'l' };
            text += &format!("\x1b[?{mode}{switch}");
        }
        if seen.scroll_region {
            // Setting margins homes the cursor, so it is kept around that.
            text += "\x1b7\x1b[r\x1b8";
        }
        if seen.keypad {
            text += "\x1b>";
        }
        if seen.cursor_style {
            text += "\x1b[0 q";
        }
        if seen.insert {
            text += "\x1b[4l";
        }
        if seen.new_line {
            text += "\x1b[20l";
        }
        if seen.colours {
            text += "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\";
        }
        if seen.link {
            text += "\x1b]8;;\x1b\\";
        }
        text += "\x1b[0m\x0f\x1b(B";
        self.parser = Parser::new();
        text.into_bytes()
    }
}

impl Seen {
    fn ansi_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter().filter_map(|param| param.first()) {
            match mode {
                4 => self.insert = on,
                20 => self.new_line = on,
                _ => {}
            }
        }
    }

    fn private_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter().filter_map(|param| param.first().copied()) {
            if on == ON_BY_DEFAULT.contains(&mode) {
                self.changed.remove(&mode);
            } else {
                self.changed.insert(mode);
            }
        }
    }
}

impl Perform for Seen {
    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        let first = params.iter().next().and_then(|param| param.first().copied()).unwrap_or(0);
        match (intermediates, action) {
            ([b'?'], 'h') => self.private_modes(params, true),
            ([b'?'], 'l') => self.private_modes(params, false),
            ([], 'h') => self.ansi_modes(params, true),
            ([], 'l') => self.ansi_modes(params, false),
            ([b'>'], 'u') => self.keyboards += 1,
            ([b'<'], 'u') => self.keyboards = self.keyboards.saturating_sub(first.max(1)),
            ([b'>'], 'm') if first == 4 => self.modify_other_keys = params.iter().nth(1).is_some_and(|p| p != [0]),
            ([b' '], 'q') => self.cursor_style = first != 0,
            ([], 'r') => self.scroll_region = params.iter().any(|param| param != [0]),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        match params {
            // A question is taken for a change, which does no harm.
            [b"4" | b"10" | b"11" | b"12", ..] => self.colours = true,
            [b"8", _, address @ ..] => self.link = address.iter().any(|part| !part.is_empty()),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'=') => self.keypad = true,
            ([], b'>') => self.keypad = false,
            // RIS: everything is fresh.
            ([], b'c') => *self = Self::default(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(output: &str) -> String {
        let mut modes = Modes::default();
        // In single bytes: sequences are cut anywhere.
        output.bytes().for_each(|byte| modes.follow(&[byte]));
        String::from_utf8(modes.undo()).unwrap()
    }

    const NOTHING: &str = "\x18\x1b[0m\x0f\x1b(B";

    #[test]
    fn a_program_that_was_left_in_full_screen_leaves_nothing_behind() {
        let text = undone("\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[?2004h\x1b[?1002;1006h\x1b[>1u\x1b[2 q\x1b[3;20r");
        for undo in ["?1049l", "?1l", "\x1b>", "?25h", "?2004l", "?1002l", "?1006l", "\x1b[<1u", "\x1b[0 q", "\x1b[r"] {
            assert!(text.contains(undo), "{undo:?} in {text:?}");
        }
        assert!(text.find("?1049l") < text.find("?25h"), "{text:?}");
    }

    #[test]
    fn colours_insert_mode_and_an_open_link_are_undone() {
        let text = undone("\x1b[4h\x1b[20h\x1b]4;1;#ff0000\x1b\\\x1b]8;;http://h.example/;x\x1b\\link");
        for undo in ["\x1b[4l", "\x1b[20l", "\x1b]104\x1b\\", "\x1b]8;;\x1b\\"] {
            assert!(text.contains(undo), "{undo:?} in {text:?}");
        }
        assert_eq!(undone("\x1b]8;id=1;http://h.example/\x07link\x1b]8;;\x07"), NOTHING);
    }

    #[test]
    fn a_program_that_cleaned_up_itself_needs_nothing_more() {
        assert_eq!(undone("\x1b[?1049h\x1b[?25lhi\x1b[?25h\x1b[?1049l\x1b[>1u\x1b[<u\x1b[31mred"), NOTHING);
        assert_eq!(undone("plain"), NOTHING);
        assert_eq!(undone("\x1b[?1049h\x1bc"), NOTHING);
    }

    #[test]
    fn a_cut_sequence_is_ended_first() {
        let mut modes = Modes::default();
        modes.follow(b"\x1b[?25l\x1b]0;a title that never en");
        assert_eq!(modes.undo(), b"\x18\x1b[?25h\x1b[0m\x0f\x1b(B");
    }
}
