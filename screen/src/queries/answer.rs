//! The answers of a terminal that nobody holds: those that the page's xterm.js would give, so that a program behaves
//! the same whether somebody watched it start or not, and a few more that leave no program waiting.

use std::fmt::Write;

use crate::attributes::bg;
use crate::emulator::{Encoding, Protocol, Rgb};
use crate::screen::Screen;

use super::Query;

/// The colours that a program is told of as long as it has set none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    pub foreground: Rgb,
    pub background: Rgb,
    pub cursor: Rgb,
}

impl Default for Theme {
    /// xterm.js' own.
    fn default() -> Self {
        Self { foreground: [255; 3], background: [0; 3], cursor: [255; 3] }
    }
}

/// The first sixteen of xterm.js' palette.
const ANSI: [u32; 16] = [
    0x2e3436, 0xcc0000, 0x4e9a06, 0xc4a000, 0x3465a4, 0x75507b, 0x06989a, 0xd3d7cf, 0x555753, 0xef2929, 0x8ae234,
    0xfce94f, 0x729fcf, 0xad7fa8, 0x34e2e2, 0xeeeeec,
];
/// A cell's size in pixels, where nobody has any.
const CELL: (usize, usize) = (8, 16);
/// DECRPM.
const UNKNOWN: u8 = 0;
const PERMANENTLY_SET: u8 = 3;
const PERMANENTLY_RESET: u8 = 4;

impl Screen {
    /// What to type to the program in answer to `query`; `None` where the page would be silent, too. The screen must
    /// have caught up to the question's end and no further.
    pub fn answer(&self, query: &Query, theme: &Theme) -> Option<Vec<u8>> {
        let emulator = &self.emulator;
        let (cols, rows) = (emulator.cols, emulator.rows);
        let buffer = emulator.buffer();
        let text = match query {
            Query::PrimaryAttributes => "\x1b[?1;2c".to_owned(),
            Query::SecondaryAttributes => "\x1b[>0;276;0c".to_owned(),
            Query::TertiaryAttributes => "\x1bP!|00000000\x1b\\".to_owned(),
            Query::Status { private: false, number: 5 } => "\x1b[0n".to_owned(),
            Query::CursorPosition { private } => {
                // A pending wrap is the last column's; xterm.js would say one more, where no cursor can be put.
                let (x, y) = (buffer.x.min(cols - 1) + 1, buffer.y + 1);
                format!("\x1b[{}{y};{x}R", if *private { "?" } else { "" })
            }
            Query::Mode { private, mode } => {
                let state = if *private { self.private_mode(*mode) } else { self.ansi_mode(*mode) };
                format!("\x1b[{}{mode};{state}$y", if *private { "?" } else { "" })
            }
            Query::Setting(name) => self.setting(name),
            Query::Capability => "\x1bP0+r\x1b\\".to_owned(),
            Query::Version => concat!("\x1bP>|cliscale(", env!("CARGO_PKG_VERSION"), ")\x1b\\").to_owned(),
            Query::PaletteColour(index) => colour(&format!("4;{index}"), self.palette(*index)),
            Query::SpecialColour(number) => {
                let defaults = [theme.foreground, theme.background, theme.cursor];
                let at = usize::from(number.checked_sub(10)?);
                let set = emulator.colours.special.get(at)?;
                colour(&number.to_string(), set.unwrap_or(defaults[at]))
            }
            Query::Window(number) => window(*number, cols, rows)?,
            // Saying that flags are known would have the program expect keys that the page's xterm.js 6 does not send.
            Query::KeyboardFlags | Query::Status { .. } | Query::Parameters | Query::Enquiry | Query::Value(_) => {
                return None;
            }
        };
        Some(text.into_bytes())
    }

    fn ansi_mode(&self, mode: u16) -> u8 {
        let modes = &self.emulator.modes;
        match mode {
            2 => PERMANENTLY_RESET,
            4 => reported(modes.insert),
            12 => PERMANENTLY_SET,
            20 => reported(modes.newline),
            _ => UNKNOWN,
        }
    }

    fn private_mode(&self, mode: u16) -> u8 {
        let modes = &self.emulator.modes;
        match mode {
            1 => reported(modes.application_cursor),
            6 => reported(modes.origin),
            7 => reported(modes.wraparound),
            8 => PERMANENTLY_SET,
            9 => reported(modes.mouse == Protocol::X10),
            12 => reported(modes.blink == Some(true)),
            25 => reported(!modes.cursor_hidden),
            45 => reported(modes.reverse_wraparound),
            66 => reported(modes.application_keypad),
            67 | 1005 | 1015 => PERMANENTLY_RESET,
            1000 => reported(modes.mouse == Protocol::Vt200),
            1002 => reported(modes.mouse == Protocol::Drag),
            1003 => reported(modes.mouse == Protocol::Any),
            1004 => reported(modes.send_focus),
            1006 => reported(modes.encoding == Encoding::Sgr),
            1016 => reported(modes.encoding == Encoding::SgrPixels),
            47 | 1047 | 1049 => reported(self.emulator.on_alternate),
            1048 => reported(true),
            2004 => reported(modes.bracketed_paste),
            2026 => reported(modes.synchronized),
            _ => UNKNOWN,
        }
    }

    /// DECRPSS.
    fn setting(&self, name: &str) -> String {
        let emulator = &self.emulator;
        let buffer = emulator.buffer();
        let value = match name {
            "\"q" => u8::from(emulator.pen.bg & bg::PROTECTED != 0).to_string(),
            "\"p" => "61;1".to_owned(),
            "r" => format!("{};{}", buffer.top + 1, buffer.bottom + 1),
            "m" => "0".to_owned(),
            " q" => {
                let blinks = emulator.modes.blink == Some(true);
                (2 - u8::from(blinks)).to_string()
            }
            _ => return "\x1bP0$r\x1b\\".to_owned(),
        };
        format!("\x1bP1$r{value}{name}\x1b\\")
    }

    fn palette(&self, index: u8) -> Rgb {
        if let Some(colour) = self.emulator.colours.palette.get(&index) {
            return *colour;
        }
        let step = |level: u8| if level == 0 { 0 } else { 55 + 40 * level };
        match index {
            0..16 => {
                let [_, red, green, blue] = ANSI[usize::from(index)].to_be_bytes();
                [red, green, blue]
            }
            16..232 => [step((index - 16) / 36), step((index - 16) / 6 % 6), step((index - 16) % 6)],
            232.. => [8 + 10 * (index - 232); 3],
        }
    }
}

fn reported(set: bool) -> u8 {
    if set { 1 } else { 2 }
}

fn colour(which: &str, rgb: Rgb) -> String {
    let mut text = format!("\x1b]{which};rgb:");
    for (at, part) in rgb.iter().enumerate() {
        let slash = if at > 0 { "/" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{slash}{part:02x}{part:02x}");
    }
    text + "\x1b\\"
}

fn window(number: u16, cols: usize, rows: usize) -> Option<String> {
    let (width, height) = (cols * CELL.0, rows * CELL.1);
    Some(match number {
        11 => "\x1b[1t".to_owned(),
        13 => "\x1b[3;0;0t".to_owned(),
        14 => format!("\x1b[4;{height};{width}t"),
        15 => format!("\x1b[5;{height};{width}t"),
        16 => format!("\x1b[6;{};{}t", CELL.1, CELL.0),
        18 => format!("\x1b[8;{rows};{cols}t"),
        19 => format!("\x1b[9;{rows};{cols}t"),
        // Titles are never told: whoever writes one could have it typed.
        20 => "\x1b]L\x1b\\".to_owned(),
        21 => "\x1b]l\x1b\\".to_owned(),
        _ => return None,
    })
}
