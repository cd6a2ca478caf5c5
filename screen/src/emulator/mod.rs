//! What a stream does to a terminal, as xterm.js' `InputHandler` and its services do it. Handlers are in the files
//! beside this one; here is the state, and which sequence leads to which handler.

mod colours;
mod cursor;
mod edit;
mod links;
mod modes;
mod print;

use crate::attributes::{Pen, select_graphic_rendition};
use crate::buffer::Buffer;
use crate::charsets::{self, Charsets};
use crate::params::Params;
use crate::parser::{Perform, ident};
use crate::unicode::JoinState;

pub(crate) use colours::{Colours, Rgb, palette_index};
pub(crate) use links::Links;
pub(crate) use modes::{Encoding, Modes, Protocol};

pub(crate) struct Emulator {
    pub main: Buffer,
    pub alternate: Buffer,
    pub on_alternate: bool,
    pub cols: usize,
    pub rows: usize,
    pub pen: Pen,
    pub modes: Modes,
    pub charsets: Charsets,
    pub colours: Colours,
    pub links: Links,
    /// `None` until a program sets one; a reset keeps it.
    pub title: Option<String>,
    pub icon_name: Option<String>,
    /// Of the character before, as long as nothing but text came since.
    pub join: JoinState,
    /// That character, if there was no room for it.
    pub skipped: Option<u32>,
}

impl Emulator {
    pub fn new(cols: usize, rows: usize, scrollback: usize) -> Self {
        let mut main = Buffer::new(cols, rows, Some(scrollback));
        main.fill(&Pen::default());
        Self {
            main,
            alternate: Buffer::new(cols, rows, None),
            on_alternate: false,
            cols,
            rows,
            pen: Pen::default(),
            modes: Modes::default(),
            charsets: Charsets::default(),
            colours: Colours::default(),
            links: Links::default(),
            title: None,
            icon_name: None,
            join: JoinState::NONE,
            skipped: None,
        }
    }

    pub fn buffer(&self) -> &Buffer {
        if self.on_alternate { &self.alternate } else { &self.main }
    }

    pub fn buffer_mut(&mut self) -> &mut Buffer {
        if self.on_alternate { &mut self.alternate } else { &mut self.main }
    }

    pub fn resize(&mut self, cols: usize, rows: usize) {
        (self.cols, self.rows) = (cols, rows);
        for buffer in [&mut self.main, &mut self.alternate] {
            buffer.resize(cols, rows);
            buffer.extend_tabs();
        }
    }

    /// RIS. Title, colours, cursor visibility and line feed mode outlive it in xterm.js.
    fn reset(&mut self) {
        let scrollback = self.main.scrollback;
        let before = std::mem::replace(&mut self.main, Buffer::new(self.cols, self.rows, scrollback));
        self.main.departed = before.departed.map(|mut departed| {
            departed.extend(before.lines);
            departed
        });
        self.main.fill(&Pen::default());
        self.alternate = Buffer::new(self.cols, self.rows, None);
        self.on_alternate = false;
        self.pen = Pen::default();
        self.charsets = Charsets::default();
        self.modes.reset();
        self.modes.mouse = Protocol::None;
        self.modes.encoding = Encoding::Default;
        self.join = JoinState::NONE;
    }

    /// DECSTR.
    fn soft_reset(&mut self) {
        self.modes.cursor_hidden = false;
        let last = self.rows - 1;
        let buffer = self.buffer_mut();
        (buffer.top, buffer.bottom) = (0, last);
        buffer.saved = crate::buffer::Saved { y: buffer.base, ..Default::default() };
        self.pen = Pen::default();
        self.modes.reset();
        self.charsets = Charsets::default();
    }

    fn csi_in_main_set(&mut self, ident: u32, params: &Params) {
        let count = params.at_least_one(0);
        match ident as u8 {
            b'@' => self.insert_chars(count),
            b'A' => self.cursor_up(count),
            b'B' => self.cursor_down(count),
            b'C' | b'a' => self.move_by(count as isize, 0),
            b'D' => self.move_by(-(count as isize), 0),
            b'E' => {
                self.cursor_down(count);
                self.buffer_mut().x = 0;
            }
            b'F' => {
                self.cursor_up(count);
                self.buffer_mut().x = 0;
            }
            b'G' | b'`' => self.set_column(count - 1),
            b'H' | b'f' => self.set_cursor(params.at_least_one(1) - 1, count - 1),
            b'I' => self.tab_forward(count),
            b'J' => self.erase_in_display(params.get(0), false),
            b'K' => self.erase_in_line(params.get(0), false),
            b'L' => self.insert_lines(count),
            b'M' => self.delete_lines(count),
            b'P' => self.delete_chars(count),
            b'S' => {
                let fill = self.pen.erased();
                self.buffer_mut().scroll_up(count, &fill);
            }
            b'T' => self.buffer_mut().scroll_down(count),
            b'X' => self.erase_chars(count),
            b'Z' => self.tab_backward(count),
            b'b' => self.repeat(count),
            b'd' => self.set_row(count - 1),
            b'e' => self.move_by(0, count as isize),
            b'g' => self.clear_tabs(params.get(0)),
            b'h' => self.set_ansi_modes(params, true),
            b'l' => self.set_ansi_modes(params, false),
            b'm' => select_graphic_rendition(&mut self.pen, params),
            b'r' => self.set_scroll_region(params),
            b's' => self.save_cursor(),
            b'u' => self.restore_cursor(),
            _ => {}
        }
    }
}

impl Perform for Emulator {
    fn print_ascii(&mut self, run: &[u8]) {
        self.print_narrow(run);
    }

    fn print(&mut self, run: &[u32]) {
        self.print_run(run);
    }

    fn execute(&mut self, code: u32) {
        match code {
            0x08 => self.backspace(),
            0x09 => self.tab(),
            0x0a..=0x0c => self.line_feed(),
            0x0d => self.buffer_mut().x = 0,
            0x0e => self.charsets.shift(1),
            0x0f => self.charsets.shift(0),
            0x84 => self.index(),
            0x85 => self.next_line(),
            0x88 => self.set_tab(),
            _ => {}
        }
        self.join = JoinState::NONE;
    }

    fn csi(&mut self, id: u32, params: &Params) {
        const QUERIED: [u32; 2] = [ident(b"?J"), ident(b"?K")];
        match id {
            0..0x100 => self.csi_in_main_set(id, params),
            _ if id == QUERIED[0] => self.erase_in_display(params.get(0), true),
            _ if id == QUERIED[1] => self.erase_in_line(params.get(0), true),
            _ if id == ident(b"?h") => self.set_private_modes(params, true),
            _ if id == ident(b"?l") => self.set_private_modes(params, false),
            _ if id == ident(b"!p") => self.soft_reset(),
            _ if id == ident(b" q") => self.modes.set_cursor_style(params.get(0)),
            _ if id == ident(b"\"q") => self.protect(params.get(0)),
            _ if id == ident(b" @") => self.scroll_left(params.at_least_one(0)),
            _ if id == ident(b" A") => self.scroll_right(params.at_least_one(0)),
            _ if id == ident(b"'}") => self.insert_columns(params.at_least_one(0)),
            _ if id == ident(b"'~") => self.delete_columns(params.at_least_one(0)),
            _ if id == ident(b">u") => self.modes.push_keyboard(self.on_alternate, params.get(0)),
            _ if id == ident(b"<u") => self.modes.pop_keyboard(self.on_alternate, params.at_least_one(0)),
            _ if id == ident(b"=u") => self.modes.set_keyboard(self.on_alternate, params.get(0), params.get(1)),
            _ => {}
        }
        self.join = JoinState::NONE;
    }

    fn esc(&mut self, id: u32) {
        match id {
            _ if id == ident(b"7") => self.save_cursor(),
            _ if id == ident(b"8") => self.restore_cursor(),
            _ if id == ident(b"D") => self.index(),
            _ if id == ident(b"E") => self.next_line(),
            _ if id == ident(b"H") => self.set_tab(),
            _ if id == ident(b"M") => self.reverse_index(),
            _ if id == ident(b"=") => self.modes.application_keypad = true,
            _ if id == ident(b">") => self.modes.application_keypad = false,
            _ if id == ident(b"c") => self.reset(),
            _ if id == ident(b"n") || id == ident(b"}") => self.charsets.shift(2),
            _ if id == ident(b"o") || id == ident(b"|") => self.charsets.shift(3),
            _ if id == ident(b"~") => self.charsets.shift(1),
            _ if id == ident(b"#8") => self.align(),
            _ if id == ident(b"%@") || id == ident(b"%G") => {
                self.charsets.shift(0);
                self.charsets.designate(0, None);
            }
            _ => self.designate(id),
        }
        self.join = JoinState::NONE;
    }

    fn osc(&mut self, number: u32, text: &str) {
        match number {
            0 => {
                self.title = Some(text.to_owned());
                self.icon_name = Some(text.to_owned());
            }
            1 => self.icon_name = Some(text.to_owned()),
            2 => self.title = Some(text.to_owned()),
            8 => self.set_link(text),
            _ => self.colours.command(number, text),
        }
        self.join = JoinState::NONE;
    }

    fn dcs(&mut self, _ident: u32, _text: &str) {
        self.join = JoinState::NONE;
    }

    fn nothing(&mut self) {
        self.join = JoinState::NONE;
    }
}

impl Emulator {
    /// SCS: one of `( ) * + - .` and the set's final byte.
    fn designate(&mut self, id: u32) {
        let level = match id >> 8 {
            0x28 => 0,
            0x29 | 0x2d => 1,
            0x2a | 0x2e => 2,
            0x2b => 3,
            _ => return,
        };
        if let Some(charset) = charsets::designated(id as u8) {
            self.charsets.designate(level, charset);
        }
    }
}
