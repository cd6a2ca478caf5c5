//! UTF-8 to code points, byte by byte, dropping what xterm.js drops: stray and overlong bytes, surrogates and U+FEFF
//! vanish without a replacement character.

/// Keeps an incomplete sequence between calls.
#[derive(Clone, Default)]
pub(crate) struct Decoder {
    pending: [u8; 3],
    len: usize,
}

impl Decoder {
    /// Bytes of a character that is not complete yet, at most three.
    pub fn pending(&self) -> &[u8] {
        &self.pending[..self.len]
    }

    /// Takes one byte; the character that it completes, if any.
    pub fn step(&mut self, byte: u8) -> Option<u32> {
        if self.len > 0 {
            if byte & 0xc0 != 0x80 {
                // The sequence was cut short: it is dropped, and this byte starts afresh.
                self.len = 0;
                return self.start(byte);
            }
            return self.proceed(byte);
        }
        self.start(byte)
    }

    fn start(&mut self, byte: u8) -> Option<u32> {
        match byte {
            0..0x80 => return Some(byte.into()),
            0xc0..0xf8 => {
                self.pending[0] = byte;
                self.len = 1;
            }
            _ => {}
        }
        None
    }

    fn proceed(&mut self, byte: u8) -> Option<u32> {
        let (needed, first) = match self.pending[0] {
            lead @ 0xc0..0xe0 => (2, lead & 0x1f),
            lead @ 0xe0..0xf0 => (3, lead & 0x0f),
            lead => (4, lead & 0x07),
        };
        if self.len + 1 < needed {
            self.pending[self.len] = byte;
            self.len += 1;
            return None;
        }
        let rest = self.pending[1..self.len].iter().chain([&byte]);
        let code = rest.fold(u32::from(first), |code, &byte| code << 6 | u32::from(byte & 0x3f));
        self.len = 0;
        let legal = match needed {
            2 => code >= 0x80,
            3 => code >= 0x800 && !(0xd800..=0xdfff).contains(&code) && code != 0xfeff,
            _ => (0x1_0000..=0x10_ffff).contains(&code),
        };
        legal.then_some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> String {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&byte| decoder.step(byte)).filter_map(char::from_u32).collect()
    }

    #[test]
    fn what_is_not_utf_8_vanishes_and_the_rest_stays() {
        assert_eq!(decoded("aé’中😀".as_bytes()), "aé’中😀");
        assert_eq!(decoded(b"a\x80\xffb"), "ab");
        assert_eq!(decoded(b"\xe2\x82a\xc3b"), "ab");
        assert_eq!(decoded(b"\xc0\x80\xed\xa0\x80\xef\xbb\xbfx"), "x");
        assert_eq!(decoded(b"\xf0\x9f\xe2\x82\xac"), "€");
    }
}
