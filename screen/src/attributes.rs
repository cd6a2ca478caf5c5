//! How a cell or the pen looks: xterm.js' two words, bit for bit, and what does not fit into them. The same bits make
//! the same corner cases: which attributes an erased cell keeps, what a restored cursor forgets.

/// Colour: a mode and up to 24 bits.
pub(crate) const COLOUR_MASK: u32 = 0x3ff_ffff;
pub(crate) const MODE_MASK: u32 = 0x300_0000;
pub(crate) const MODE_16: u32 = 0x100_0000;
pub(crate) const MODE_256: u32 = 0x200_0000;
pub(crate) const MODE_RGB: u32 = 0x300_0000;
const PALETTE_MASK: u32 = 0xff;

/// Flags beside the foreground colour.
pub(crate) mod fg {
    pub const INVERSE: u32 = 1 << 26;
    pub const BOLD: u32 = 1 << 27;
    pub const UNDERLINE: u32 = 1 << 28;
    pub const BLINK: u32 = 1 << 29;
    pub const INVISIBLE: u32 = 1 << 30;
    pub const STRIKETHROUGH: u32 = 1 << 31;
}

/// Flags beside the background colour.
pub(crate) mod bg {
    pub const ITALIC: u32 = 1 << 26;
    pub const DIM: u32 = 1 << 27;
    /// The cell has an [`super::Extended`] of its own.
    pub const EXTENDED: u32 = 1 << 28;
    pub const PROTECTED: u32 = 1 << 29;
    pub const OVERLINE: u32 = 1 << 30;
}

/// Underline and link, which few cells have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Extended {
    /// 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    pub style: u8,
    /// In the words' form; 0 is the foreground's.
    pub colour: u32,
    /// 0 is none.
    pub link: u32,
}

impl Extended {
    pub fn is_empty(&self) -> bool {
        self.style == 0 && self.link == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pen {
    pub fg: u32,
    pub bg: u32,
    pub extended: Extended,
}

impl Pen {
    /// What erased cells look like: the background colour alone.
    pub fn erased(&self) -> Self {
        Self { fg: 0, bg: self.bg & COLOUR_MASK, extended: Extended::default() }
    }

    /// To be called after the underline or the link has changed.
    pub fn update_extended(&mut self) {
        match self.extended.is_empty() {
            true => self.bg &= !bg::EXTENDED,
            false => self.bg |= bg::EXTENDED,
        }
    }

    /// Whether the words and `extended` say the same, as they do unless a saved cursor was restored.
    pub fn is_consistent(&self) -> bool {
        (self.bg & bg::EXTENDED != 0) != self.extended.is_empty()
            && (self.fg & fg::UNDERLINE != 0) == (self.extended.style != 0)
    }

    /// The consistent pen that draws the same.
    pub fn drawn(&self) -> Self {
        let mut pen = *self;
        if self.bg & bg::EXTENDED == 0 {
            // Without the mark an underline is a single one.
            pen.extended = Extended { style: u8::from(self.fg & fg::UNDERLINE != 0), ..Extended::default() };
        }
        if self.fg & fg::UNDERLINE == 0 {
            pen.extended.style = 0;
        } else if pen.extended.style == 0 {
            match pen.extended.link {
                0 => pen.fg &= !fg::UNDERLINE,
                _ => pen.extended.style = 1,
            }
        }
        if pen.extended.style == 0 {
            pen.extended.colour = 0;
        }
        pen.update_extended();
        pen
    }
}

/// A colour word with `mode` and its value in place of what it held.
fn with_colour(word: u32, mode: i32, values: [i32; 3]) -> u32 {
    let byte = |value: i32| value as u32 & 0xff;
    match mode {
        2 => (word & !COLOUR_MASK) | MODE_RGB | byte(values[0]) << 16 | byte(values[1]) << 8 | byte(values[2]),
        5 => (word & !(MODE_MASK | PALETTE_MASK)) | MODE_256 | byte(values[0]),
        _ => word,
    }
}

/// SGR (ECMA-48, 8.3.117), with xterm.js' choices.
pub(crate) fn select_graphic_rendition(pen: &mut Pen, params: &crate::params::Params) {
    let mut i = 0;
    while i < params.len() {
        let value = params.values()[i];
        match value {
            0 => {
                (pen.fg, pen.bg) = (0, 0);
                (pen.extended.style, pen.extended.colour) = (0, 0);
                pen.update_extended();
            }
            4 => underline(pen, params.subs(i).first().copied().unwrap_or(1)),
            21 => underline(pen, 2),
            24 => underline(pen, 0),
            38 | 48 | 58 => i += extended_colour(pen, params, i),
            // xterm.js sets all bits here: white rather than the foreground's colour.
            59 => {
                pen.extended.colour = COLOUR_MASK;
                pen.update_extended();
            }
            _ => set_flag_or_colour(pen, value),
        }
        i += 1;
    }
}

fn set_flag_or_colour(pen: &mut Pen, value: i32) {
    let palette = |word: u32, index: i32| (word & !(MODE_MASK | PALETTE_MASK)) | MODE_16 | index as u32;
    match value {
        1 => pen.fg |= fg::BOLD,
        2 => pen.bg |= bg::DIM,
        3 => pen.bg |= bg::ITALIC,
        5 => pen.fg |= fg::BLINK,
        7 => pen.fg |= fg::INVERSE,
        8 => pen.fg |= fg::INVISIBLE,
        9 => pen.fg |= fg::STRIKETHROUGH,
        22 => {
            pen.fg &= !fg::BOLD;
            pen.bg &= !bg::DIM;
        }
        23 => pen.bg &= !bg::ITALIC,
        25 => pen.fg &= !fg::BLINK,
        27 => pen.fg &= !fg::INVERSE,
        28 => pen.fg &= !fg::INVISIBLE,
        29 => pen.fg &= !fg::STRIKETHROUGH,
        30..=37 => pen.fg = palette(pen.fg, value - 30),
        40..=47 => pen.bg = palette(pen.bg, value - 40),
        90..=97 => pen.fg = palette(pen.fg, value - 90 + 8),
        100..=107 => pen.bg = palette(pen.bg, value - 100 + 8),
        39 => pen.fg &= !COLOUR_MASK,
        49 => pen.bg &= !COLOUR_MASK,
        53 => pen.bg |= bg::OVERLINE,
        55 => pen.bg &= !bg::OVERLINE,
        _ => {}
    }
}

fn underline(pen: &mut Pen, style: i32) {
    let style = if (0..=5).contains(&style) { style as u8 } else { 1 };
    pen.extended.style = style;
    match style {
        0 => pen.fg &= !fg::UNDERLINE,
        _ => pen.fg |= fg::UNDERLINE,
    }
    pen.update_extended();
}

/// Reads 38, 48 or 58 and what follows, with semicolons, colons or both. Returns how many further parameters it took.
fn extended_colour(pen: &mut Pen, params: &crate::params::Params, at: usize) -> usize {
    // Target, mode, colour space, three values.
    let mut read = [0, 0, -1, 0, 0, 0];
    let mut space = 0;
    let mut advance = 0;
    loop {
        read[advance + space] = params.values()[at + advance];
        let subs = params.subs(at + advance);
        if !subs.is_empty() {
            let mut i = 0;
            loop {
                if read[1] == 5 {
                    space = 1;
                }
                // A place beyond the last is written to nowhere.
                if let Some(place) = read.get_mut(advance + i + 1 + space) {
                    *place = subs[i];
                }
                i += 1;
                if i >= subs.len() || i + advance + 1 + space >= read.len() {
                    break;
                }
            }
            break;
        }
        if (read[1] == 5 && advance + space >= 2) || (read[1] == 2 && advance + space >= 5) {
            break;
        }
        if read[1] != 0 {
            space = 1;
        }
        advance += 1;
        if at + advance >= params.len() || advance + space >= read.len() {
            break;
        }
    }
    let values = [read[3], read[4], read[5]].map(|value| if value == -1 { 0 } else { value });
    match read[0] {
        38 => pen.fg = with_colour(pen.fg, read[1], values),
        48 => pen.bg = with_colour(pen.bg, read[1], values),
        58 => pen.extended.colour = with_colour(pen.extended.colour, read[1], values),
        _ => {}
    }
    advance
}
