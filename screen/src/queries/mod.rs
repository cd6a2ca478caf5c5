//! What a program asks its terminal: recognised in the stream, answered for a terminal that nobody holds, and taken
//! out of replayed output (xterm, "Control Sequences").

mod answer;
mod filter;
mod scan;

pub use answer::Theme;
pub use filter::QueryFilter;
pub use scan::QueryScanner;

use crate::params::Params;
use crate::parser::ident;

/// A question to the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// DA1 (`CSI c`) and DECID (`ESC Z`): what are you?
    PrimaryAttributes,
    /// DA2 (`CSI > c`): which version?
    SecondaryAttributes,
    /// DA3 (`CSI = c`): which unit?
    TertiaryAttributes,
    /// DSR 5 and others, by number: are you well?
    Status { private: bool, number: u16 },
    /// DSR 6: where is the cursor?
    CursorPosition { private: bool },
    /// DECRQM: is this mode set?
    Mode { private: bool, mode: u16 },
    /// DECRQSS: what is this setting?
    Setting(String),
    /// XTGETTCAP: what does the terminal's description say?
    Capability,
    /// XTVERSION (`CSI > q`): name and version?
    Version,
    /// DECREQTPARM.
    Parameters,
    /// OSC 4: this colour of the palette?
    PaletteColour(u8),
    /// OSC 10 to 19: 10 is the text's, 11 the background's, 12 the cursor's.
    SpecialColour(u16),
    /// What else an OSC asks for by a `?` in the place of a value: the clipboard (52), special colours (5), and so on.
    Value(u32),
    /// XTWINOPS reports, by number.
    Window(u16),
    /// kitty: which keyboard flags are set (`CSI ? u`)?
    KeyboardFlags,
    /// ENQ.
    Enquiry,
}

/// OSCs whose text is shown, whatever it says.
const TITLES: [u32; 3] = [0, 1, 2];

impl Query {
    fn from_csi(id: u32, params: &Params) -> Option<Self> {
        // Numbers beyond 16 bits ask for nothing that there is.
        let number = u16::try_from(params.get(0)).unwrap_or(u16::MAX);
        let query = match id {
            _ if id == ident(b"c") => Self::PrimaryAttributes,
            _ if id == ident(b">c") => Self::SecondaryAttributes,
            _ if id == ident(b"=c") => Self::TertiaryAttributes,
            _ if id == ident(b"n") && number == 6 => Self::CursorPosition { private: false },
            _ if id == ident(b"?n") && number == 6 => Self::CursorPosition { private: true },
            _ if id == ident(b"n") => Self::Status { private: false, number },
            _ if id == ident(b"?n") => Self::Status { private: true, number },
            _ if id == ident(b"$p") => Self::Mode { private: false, mode: number },
            _ if id == ident(b"?$p") => Self::Mode { private: true, mode: number },
            _ if id == ident(b">q") => Self::Version,
            _ if id == ident(b"x") => Self::Parameters,
            _ if id == ident(b"?u") => Self::KeyboardFlags,
            _ if id == ident(b"t") && matches!(number, 11 | 13..=16 | 18..=21) => Self::Window(number),
            _ => return None,
        };
        Some(query)
    }

    fn from_dcs(id: u32, text: &str) -> Option<Self> {
        match id {
            _ if id == ident(b"$q") => Some(Self::Setting(text.to_owned())),
            _ if id == ident(b"+q") => Some(Self::Capability),
            _ => None,
        }
    }

    /// The questions in a colour command, and what it sets beside them: a command of its own without its terminator,
    /// empty where nothing is left.
    fn from_osc(number: u32, text: &str) -> (Vec<Self>, String) {
        let mut queries = Vec::new();
        let mut rest = Vec::new();
        let mut slots = text.split(';');
        if number == 4 {
            while let (Some(index), Some(spec)) = (slots.next(), slots.next()) {
                match crate::emulator::palette_index(index) {
                    Some(index) if spec == "?" => queries.push(Self::PaletteColour(index)),
                    _ => rest.push(format!("\x1b]4;{index};{spec}")),
                }
            }
        } else if (10..=19).contains(&number) {
            for (number, spec) in (number as u16..=19).zip(slots) {
                match spec {
                    "?" => queries.push(Self::SpecialColour(number)),
                    "" => {}
                    _ => rest.push(format!("\x1b]{number};{spec}")),
                }
            }
        } else if !TITLES.contains(&number) && slots.any(|slot| slot == "?") {
            queries.push(Self::Value(number));
        }
        (queries, rest.join("\x1b\\"))
    }
}
