//! How wide a character is and whether it joins the one before it, as xterm.js' grapheme addon judges it: a port of
//! its `UnicodeGraphemeProvider`, over a table that is generated from the addon itself.

mod table;

/// What is known of the character before: 0 at the start of a cell run, else opaque.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct JoinState(u32);

const PREPEND: u32 = 1;
const EXTEND: u32 = 2;
const REGIONAL_INDICATOR: u32 = 3;
const SPACING_MARK: u32 = 4;
const HANGUL_L: u32 = 5;
const HANGUL_V: u32 = 6;
const HANGUL_T: u32 = 7;
const HANGUL_LV: u32 = 8;
const HANGUL_LVT: u32 = 9;
const ZWJ: u32 = 10;
const EXT_PIC: u32 = 11;
/// The state after a pair of regional indicators: no third joins.
const REGIONAL_PAIR: i32 = 32;
const BREAK_MASK: u32 = 0xf;
const WIDE: u32 = 3;
const AMBIGUOUS: u32 = 2;

/// U+FE0F asks for the wide, coloured form of what it follows.
const EMOJI_PRESENTATION: u32 = 0xfe0f;

impl JoinState {
    pub const NONE: Self = Self(0);
    /// After a character that is narrow and joins nothing, such as ASCII.
    pub const NARROW: Self = Self(1 << 1);

    fn new(kind: i32, width: u32, joins: bool) -> Self {
        Self(((kind as u32 & 0xff_ffff) << 3) | (width << 1) | u32::from(joins))
    }

    /// Columns of the whole cluster so far.
    pub fn width(self) -> usize {
        (self.0 >> 1 & 3) as usize
    }

    pub fn joins(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether whatever comes joins both or neither, and makes the same of it.
    pub fn is_like(self, other: Self) -> bool {
        let kind = |state: Self| state.0 >> 3 & BREAK_MASK;
        (self == Self::NONE) == (other == Self::NONE) && kind(self) == kind(other) && self.width() == other.width()
    }

    /// Whether ASCII begins a cluster of its own after this, and so leads to [`JoinState::NARROW`] or its equal.
    pub fn is_plain(self) -> bool {
        self.0 >> 3 & BREAK_MASK != PREPEND
    }

    /// The state after `character`.
    pub fn after(self, character: u32) -> Self {
        if (32..127).contains(&character) && self.is_plain() {
            return Self::NARROW;
        }
        let info = info(character);
        let class = info >> 4 & 3;
        let wide = class == WIDE || (class == AMBIGUOUS && character == EMOJI_PRESENTATION);
        let mut width = if wide { 2 } else { 1 };
        let mut kind = info as i32;
        let mut joins = false;
        if self != Self::NONE {
            kind = join(self.0 >> 3, info);
            joins = kind > 0;
            if joins {
                let before = self.width() as u32;
                if before > width {
                    width = before;
                } else if kind == REGIONAL_PAIR {
                    width = 2;
                }
            }
        }
        Self::new(kind, width, joins)
    }
}

/// Positive when `after` joins what came before.
fn join(before: u32, after: u32) -> i32 {
    let (before, after) = (before & BREAK_MASK, after & BREAK_MASK);
    match should_join(before, after) {
        true if after == REGIONAL_INDICATOR => REGIONAL_PAIR,
        true => after as i32 + 16,
        false => after as i32 - 16,
    }
}

/// UAX #29, GB6 to GB13.
fn should_join(before: u32, after: u32) -> bool {
    let hangul = match before {
        HANGUL_L => matches!(after, HANGUL_L | HANGUL_V | HANGUL_LV | HANGUL_LVT),
        HANGUL_LV | HANGUL_V => matches!(after, HANGUL_V | HANGUL_T),
        HANGUL_LVT | HANGUL_T => after == HANGUL_T,
        _ => false,
    };
    hangul
        || matches!(after, EXTEND | ZWJ | SPACING_MARK)
        || before == PREPEND
        || (before == ZWJ && after == EXT_PIC)
        || (before == REGIONAL_INDICATOR && after == REGIONAL_INDICATOR)
}

fn info(character: u32) -> u32 {
    let next = table::RANGES.partition_point(|&(start, _)| start <= character);
    u32::from(table::RANGES[next - 1].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The widths of the clusters that a text falls into.
    fn clusters(text: &str) -> Vec<usize> {
        let mut widths = Vec::new();
        let mut state = JoinState::NONE;
        for character in text.chars() {
            state = state.after(character.into());
            if state.joins() {
                widths.pop();
            }
            widths.push(state.width());
        }
        widths
    }

    #[test]
    fn clusters_are_as_wide_as_in_the_page() {
        assert_eq!(clusters("aé中"), [1, 1, 2]);
        assert_eq!(clusters("e\u{301}x"), [1, 1]);
        assert_eq!(clusters("👩\u{200d}👩\u{200d}👧!"), [2, 1]);
        assert_eq!(clusters("🇩🇪🇫🇷"), [2, 2]);
        assert_eq!(clusters("❤\u{fe0f}"), [2]);
        assert_eq!(clusters("각"), [2]);
    }
}
