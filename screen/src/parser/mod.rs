//! Splits a stream into text, controls and sequences, state for state as xterm.js' `EscapeSequenceParser` does
//! (itself after Paul Williams' VT500 machine): what is a sequence, where it ends and what is dropped must not be
//! judged differently on the two sides of a snapshot. It also keeps the unfinished sequence, so that a snapshot can
//! end with it and the stream go on in its middle.

mod table;

use crate::params::Params;
use crate::utf8::Decoder;
use table::{Action, BEYOND, State, TABLE};

/// What the parser tells of. A sequence's identity is its prefix, intermediates and final byte as one number, for
/// example `b"?h"`: see [`ident`].
pub(crate) trait Perform {
    /// Bytes 0x20 to 0x7e.
    fn print_ascii(&mut self, run: &[u8]);
    /// Any printable characters.
    fn print(&mut self, run: &[u32]);
    fn execute(&mut self, code: u32);
    fn csi(&mut self, ident: u32, params: &Params);
    fn esc(&mut self, ident: u32);
    /// A complete OSC with a number; one that was cancelled or is too long is not told of.
    fn osc(&mut self, number: u32, text: &str);
    fn dcs(&mut self, ident: u32, text: &str);
    /// An OSC or DCS that says nothing: it still ends what a character could join.
    fn nothing(&mut self);
}

/// The identity of a sequence: prefix, intermediates and final byte in their order.
pub(crate) const fn ident(bytes: &[u8]) -> u32 {
    let mut ident = 0;
    let mut i = 0;
    while i < bytes.len() {
        ident = ident << 8 | bytes[i] as u32;
        i += 1;
    }
    ident
}

const ESC: u32 = 0x1b;
/// Text of an OSC or DCS beyond this is dropped, and with it the sequence: bounds the memory that a program which
/// never ends one takes, here and in every snapshot.
const MAX_TEXT: usize = 1 << 20;
/// Parameter bytes that a snapshot repeats; the parser itself needs far fewer to fill all that it keeps.
const MAX_REPEATED: usize = 4096;

pub(crate) struct Parser {
    state: State,
    decoder: Decoder,
    params: Params,
    collect: u32,
    text: String,
    too_long: bool,
    /// The unfinished sequence so far, without the controls inside it that were carried out already.
    tail: Vec<u8>,
    run: Vec<u32>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            state: State::Ground,
            decoder: Decoder::default(),
            params: Params::default(),
            collect: 0,
            text: String::new(),
            too_long: false,
            tail: Vec::new(),
            run: Vec::new(),
        }
    }
}

impl Parser {
    /// Whether no sequence and no character is unfinished.
    pub fn is_idle(&self) -> bool {
        self.state == State::Ground && self.decoder.pending().is_empty()
    }

    /// Bytes of an unfinished character.
    pub fn pending(&self) -> &[u8] {
        self.decoder.pending()
    }

    /// What brings a parser at rest into this one's state, apart from [`Parser::pending`].
    pub fn tail(&self) -> &[u8] {
        match (self.too_long, self.state) {
            // These are read over to their end, too.
            (true, State::Osc) => b"\x1b]x",
            (true, State::DcsPassthrough) => b"\x1bP~",
            (_, State::Ground) => b"",
            _ => &self.tail,
        }
    }

    pub fn advance(&mut self, bytes: &[u8], to: &mut impl Perform) {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_idle() {
                let run = bytes[at..].iter().position(|byte| !(0x20..=0x7e).contains(byte)).unwrap_or(bytes.len() - at);
                if run > 0 {
                    to.print_ascii(&bytes[at..at + run]);
                    at += run;
                    continue;
                }
                let text = self.read_text(&bytes[at..], to);
                if text > 0 {
                    at += text;
                    continue;
                }
            }
            match bytes[at] {
                byte @ 0..0x80 if self.decoder.pending().is_empty() => self.take(byte.into(), to),
                byte => {
                    if let Some(code) = self.decoder.step(byte) {
                        self.take(code, to);
                    }
                }
            }
            at += 1;
        }
    }

    /// Prints a run that begins with a character beyond ASCII; returns the bytes taken.
    fn read_text(&mut self, bytes: &[u8], to: &mut impl Perform) -> usize {
        let mut taken = 0;
        self.run.clear();
        for &byte in bytes {
            if byte < 0x20 || byte == 0x7f || self.run.len() == 4096 {
                break;
            }
            if let Some(code) = self.decoder.step(byte) {
                if (0x80..0xa0).contains(&code) {
                    // A control of two bytes: the run ends before it.
                    self.flush(to);
                    self.take(code, to);
                    return taken + 1;
                }
                self.run.push(code);
            }
            taken += 1;
        }
        self.flush(to);
        taken
    }

    fn flush(&mut self, to: &mut impl Perform) {
        if !self.run.is_empty() {
            to.print(&self.run);
            self.run.clear();
        }
    }

    fn take(&mut self, code: u32, to: &mut impl Perform) {
        let (action, next) = TABLE[self.state as usize][code.min(BEYOND) as usize];
        match action {
            Action::Ignore => self.pass(next, code),
            Action::Print => to.print(&[code]),
            Action::Execute => to.execute(code),
            Action::Clear => {
                self.begin(code);
                self.clear();
            }
            Action::Param => {
                self.remember(code, MAX_REPEATED);
                self.params.put(code as u8);
            }
            Action::Collect => {
                self.remember(code, MAX_REPEATED);
                self.collect = self.collect << 8 | code;
            }
            Action::CsiDispatch => to.csi(self.collect << 8 | code, &self.params),
            Action::EscDispatch => to.esc(self.collect << 8 | code),
            Action::OscStart => {
                self.begin(code);
                self.start_text();
            }
            Action::DcsHook => {
                self.remember(code, usize::MAX);
                self.collect = self.collect << 8 | code;
                self.start_text();
            }
            Action::OscPut | Action::DcsPut => self.put(code),
            Action::OscEnd | Action::DcsUnhook => {
                self.end_text(action, code, to);
                if code == ESC {
                    self.state = State::Escape;
                    self.begin(ESC);
                    return;
                }
            }
        }
        self.state = next;
    }

    /// What is passed over counts only where it leads to another state.
    fn pass(&mut self, next: State, code: u32) {
        if next == State::Ignored && self.state != State::Ignored {
            self.begin(code);
        } else if next != self.state {
            self.remember(code, usize::MAX);
        }
    }

    /// A sequence begins with `code`. ESC [, ESC P, ESC ] and their like go on from the ESC; a C1 control stands alone.
    fn begin(&mut self, code: u32) {
        if self.state != State::Escape || code >= 0x80 || code == ESC {
            self.tail.clear();
            self.tail.shrink_to(MAX_REPEATED);
        }
        self.remember(code, usize::MAX);
    }

    /// Keeps what a snapshot has to repeat of an unfinished sequence, as far as there is room.
    fn remember(&mut self, code: u32, room: usize) {
        if self.tail.len() >= room {
            return;
        }
        if code < 0x80 {
            self.tail.push(code as u8);
        } else if let Some(character) = char::from_u32(code) {
            self.tail.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn clear(&mut self) {
        self.params.reset();
        self.collect = 0;
    }

    fn start_text(&mut self) {
        self.text.clear();
        self.too_long = false;
    }

    fn put(&mut self, code: u32) {
        if self.text.len() >= MAX_TEXT {
            self.too_long = true;
            self.tail = Vec::new();
        }
        if !self.too_long {
            self.remember(code, usize::MAX);
            // Surrogates never leave the decoder.
            self.text.extend(char::from_u32(code));
        }
    }

    fn end_text(&mut self, action: Action, code: u32, to: &mut impl Perform) {
        const CAN: u32 = 0x18;
        const SUB: u32 = 0x1a;
        let text = std::mem::take(&mut self.text);
        let whole = code != CAN && code != SUB && !self.too_long;
        let numbered = || {
            let (number, text) = text.split_once(';').unwrap_or((&text, ""));
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| (number.parse().unwrap_or(u32::MAX), text))
        };
        match (action, whole) {
            (Action::DcsUnhook, true) => to.dcs(self.collect, &text),
            (Action::OscEnd, true) => match numbered() {
                Some((number, text)) => to.osc(number, text),
                None => to.nothing(),
            },
            _ => to.nothing(),
        }
        if text.capacity() <= 4096 {
            // Kept for the next one.
            self.text = text;
            self.text.clear();
        }
        self.too_long = false;
        self.clear();
    }
}
