//! Colours that a program changed: OSC 4, 10 to 12, and 104, 110 to 112 back.

use std::collections::BTreeMap;

/// Red, green and blue.
pub(crate) type Rgb = [u8; 3];

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Colours {
    pub palette: BTreeMap<u8, Rgb>,
    /// Foreground, background, cursor.
    pub special: [Option<Rgb>; 3],
    /// Whether a program ever changed one, or back: a reset terminal may have kept it.
    pub touched: bool,
}

impl Colours {
    /// Carries out a colour command; queries in it are left to whoever answers them.
    pub fn command(&mut self, number: u32, text: &str) {
        self.touched |= matches!(number, 104 | 110..=112);
        match number {
            4 => {
                let mut slots = text.split(';');
                while let (Some(index), Some(spec)) = (slots.next(), slots.next()) {
                    if let (Some(index), Some(colour)) = (palette_index(index), parse(spec)) {
                        self.palette.insert(index, colour);
                        self.touched = true;
                    }
                }
            }
            10..=12 => {
                for (slot, spec) in self.special[number as usize - 10..].iter_mut().zip(text.split(';')) {
                    if let Some(colour) = parse(spec) {
                        *slot = Some(colour);
                        self.touched = true;
                    }
                }
            }
            104 if text.is_empty() => self.palette.clear(),
            104 => text.split(';').filter_map(palette_index).for_each(|index| {
                self.palette.remove(&index);
            }),
            110..=112 => self.special[number as usize - 110] = None,
            _ => {}
        }
    }
}

pub(crate) fn palette_index(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// XParseColor's `rgb:` and `#` forms.
fn parse(spec: &str) -> Option<Rgb> {
    let spec = spec.to_lowercase();
    if let Some(parts) = spec.strip_prefix("rgb:") {
        let parts: Vec<&str> = parts.split('/').collect();
        let [red, green, blue] = parts[..] else { return None };
        let digits = red.len();
        if !(1..=4).contains(&digits) || green.len() != digits || blue.len() != digits {
            return None;
        }
        let most = (1u32 << (4 * digits)) - 1;
        let scaled = |part: &str| hex(part).map(|value| ((f64::from(value) / f64::from(most)) * 255.0).round() as u8);
        return Some([scaled(red)?, scaled(green)?, scaled(blue)?]);
    }
    let digits = spec.strip_prefix('#')?;
    if !digits.is_ascii() || ![3, 6, 9, 12].contains(&digits.len()) {
        return None;
    }
    let each = digits.len() / 3;
    let part = |at: usize| {
        let value = hex(&digits[at * each..(at + 1) * each])?;
        Some(if each == 1 { value << 4 } else { value >> (4 * (each - 2)) } as u8)
    };
    Some([part(0)?, part(1)?, part(2)?])
}

fn hex(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_colour_is_read() {
        assert_eq!(parse("rgb:f/0/8"), Some([255, 0, 136]));
        assert_eq!(parse("rgb:12/34/AB"), Some([0x12, 0x34, 0xab]));
        assert_eq!(parse("rgb:ffff/8080/0000"), Some([255, 128, 0]));
        assert_eq!(parse("#f08"), Some([0xf0, 0, 0x80]));
        assert_eq!(parse("#123456789"), Some([0x12, 0x45, 0x78]));
        for wrong in ["", "red", "rgb:1/22/3", "#1234", "#xyz", "rgb:é/1/2", "?"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_set_is_kept_until_it_is_set_back() {
        let mut colours = Colours::default();
        colours.command(4, "1;#102030;300;#ffffff;2;?;3;rgb:00/00/ff");
        colours.command(10, "#010101;?;#030303;#040404");
        assert_eq!(colours.palette, BTreeMap::from([(1, [0x10, 0x20, 0x30]), (3, [0, 0, 255])]));
        assert_eq!(colours.special, [Some([1; 3]), None, Some([3; 3])]);
        colours.command(104, "1");
        colours.command(112, "");
        assert_eq!((colours.palette.len(), colours.special[2]), (1, None));
        colours.command(104, "");
        assert!(colours.palette.is_empty());
    }
}
