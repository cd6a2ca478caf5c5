//! The modes that xterm.js knows, ANSI's and DEC's, and the keyboard flags of kitty's protocol, which later versions
//! of it and other clients know.

use crate::attributes::bg;
use crate::params::Params;

use super::Emulator;

/// Which mouse events are reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Protocol {
    #[default]
    None,
    X10,
    Vt200,
    Drag,
    Any,
}

impl Protocol {
    pub fn mode(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::X10 => Some(9),
            Self::Vt200 => Some(1000),
            Self::Drag => Some(1002),
            Self::Any => Some(1003),
        }
    }
}

/// And in which form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Encoding {
    #[default]
    Default,
    Sgr,
    SgrPixels,
}

impl Encoding {
    pub fn mode(self) -> Option<u16> {
        match self {
            Self::Default => None,
            Self::Sgr => Some(1006),
            Self::SgrPixels => Some(1016),
        }
    }
}

/// Entries that one screen's stack of keyboard flags may have.
const MAX_KEYBOARD: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Modes {
    pub insert: bool,
    /// LNM: a line feed returns the carriage, too.
    pub newline: bool,
    pub application_cursor: bool,
    pub application_keypad: bool,
    pub bracketed_paste: bool,
    pub origin: bool,
    pub reverse_wraparound: bool,
    pub send_focus: bool,
    pub synchronized: bool,
    pub wraparound: bool,
    pub cursor_hidden: bool,
    /// DECSCUSR: 2 block, 4 underline, 6 bar; `None` is what the page prefers.
    pub cursor_style: Option<u8>,
    pub cursor_blink: Option<bool>,
    /// Mode 12, which xterm.js keeps apart from the style's blinking; `None` is what the page prefers.
    pub blink: Option<bool>,
    pub mouse: Protocol,
    pub encoding: Encoding,
    /// kitty's flags, of the main and of the alternate screen, with those that were pushed below.
    pub keyboard: [Vec<u8>; 2],
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            insert: false,
            newline: false,
            application_cursor: false,
            application_keypad: false,
            bracketed_paste: false,
            origin: false,
            reverse_wraparound: false,
            send_focus: false,
            synchronized: false,
            wraparound: true,
            cursor_hidden: false,
            cursor_style: None,
            cursor_blink: None,
            blink: None,
            mouse: Protocol::None,
            encoding: Encoding::Default,
            keyboard: Default::default(),
        }
    }
}

impl Modes {
    /// What DECSTR and RIS reset; the rest outlives both in xterm.js.
    pub(super) fn reset(&mut self) {
        let (newline, cursor_hidden, blink) = (self.newline, self.cursor_hidden, self.blink);
        let (mouse, encoding) = (self.mouse, self.encoding);
        *self = Self { newline, cursor_hidden, blink, mouse, encoding, ..Self::default() };
    }

    /// DECSCUSR.
    pub(super) fn set_cursor_style(&mut self, style: i32) {
        if style == 0 {
            (self.cursor_style, self.cursor_blink) = (None, None);
            return;
        }
        if let Some(even) = [2, 4, 6].into_iter().find(|&even| style == even || style == even - 1) {
            self.cursor_style = Some(even as u8);
        }
        self.cursor_blink = Some(style % 2 == 1);
    }

    pub(super) fn push_keyboard(&mut self, alternate: bool, flags: i32) {
        let stack = &mut self.keyboard[usize::from(alternate)];
        if stack.len() == MAX_KEYBOARD {
            stack.remove(0);
        }
        stack.push(flags as u8 & 31);
    }

    pub(super) fn pop_keyboard(&mut self, alternate: bool, count: usize) {
        let stack = &mut self.keyboard[usize::from(alternate)];
        stack.truncate(stack.len().saturating_sub(count));
    }

    pub(super) fn set_keyboard(&mut self, alternate: bool, flags: i32, how: i32) {
        let stack = &mut self.keyboard[usize::from(alternate)];
        if stack.is_empty() {
            stack.push(0);
        }
        let flags = flags as u8 & 31;
        let current = stack.last_mut().expect("one was just pushed");
        match how {
            0 | 1 => *current = flags,
            2 => *current |= flags,
            3 => *current &= !flags,
            _ => {}
        }
    }
}

impl Emulator {
    /// SM and RM.
    pub(super) fn set_ansi_modes(&mut self, params: &Params, on: bool) {
        for &mode in params.values() {
            match mode {
                4 => self.modes.insert = on,
                20 => self.modes.newline = on,
                _ => {}
            }
        }
    }

    /// DECSET and DECRST.
    pub(super) fn set_private_modes(&mut self, params: &Params, on: bool) {
        for &mode in params.values() {
            self.set_private_mode(mode, on);
        }
    }

    fn set_private_mode(&mut self, mode: i32, on: bool) {
        let modes = &mut self.modes;
        match mode {
            1 => modes.application_cursor = on,
            2 if on => (0..4).for_each(|level| self.charsets.designate(level, None)),
            6 => {
                modes.origin = on;
                self.set_cursor(0, 0);
            }
            7 => modes.wraparound = on,
            12 => modes.blink = Some(on),
            25 => modes.cursor_hidden = !on,
            45 => modes.reverse_wraparound = on,
            66 => modes.application_keypad = on,
            9 | 1000 | 1002 | 1003 => {
                modes.mouse = match mode {
                    _ if !on => Protocol::None,
                    9 => Protocol::X10,
                    1000 => Protocol::Vt200,
                    1002 => Protocol::Drag,
                    _ => Protocol::Any,
                }
            }
            1004 => modes.send_focus = on,
            1006 | 1016 => {
                modes.encoding = match mode {
                    _ if !on => Encoding::Default,
                    1006 => Encoding::Sgr,
                    _ => Encoding::SgrPixels,
                }
            }
            1048 if on => self.save_cursor(),
            1048 => self.restore_cursor(),
            47 | 1047 | 1049 => self.switch_screen(mode, on),
            2004 => modes.bracketed_paste = on,
            2026 => modes.synchronized = on,
            _ => {}
        }
    }

    fn switch_screen(&mut self, mode: i32, on: bool) {
        const WITH_CURSOR: i32 = 1049;
        if on {
            if mode == WITH_CURSOR {
                self.save_cursor();
            }
            if !self.on_alternate {
                let fill = self.pen.erased();
                self.alternate.fill(&fill);
                (self.alternate.x, self.alternate.y) = (self.main.x, self.main.y);
                self.on_alternate = true;
            }
            return;
        }
        if self.on_alternate {
            (self.main.x, self.main.y) = (self.alternate.x, self.alternate.y);
            self.alternate.clear();
            self.on_alternate = false;
        }
        if mode == WITH_CURSOR {
            self.restore_cursor();
        }
    }

    /// DECSCA.
    pub(super) fn protect(&mut self, how: i32) {
        match how {
            1 => self.pen.bg |= bg::PROTECTED,
            0 | 2 => self.pen.bg &= !bg::PROTECTED,
            _ => {}
        }
    }
}
