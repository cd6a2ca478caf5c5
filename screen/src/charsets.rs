//! The national and graphic character sets of the VT220 that xterm.js knows, and which of them is in use.

/// A set by the final byte that designates it; ASCII is `None`.
pub(crate) type Charset = Option<u8>;

/// The set that `ESC ( final` designates; ASCII for those that xterm.js has no table for.
pub(crate) fn designated(last: u8) -> Option<Charset> {
    match last {
        b'B' => Some(None),
        b'0' | b'A' | b'4' | b'C' | b'5' | b'R' | b'Q' | b'K' | b'Y' | b'E' | b'6' | b'Z' | b'H' | b'7' | b'=' => {
            Some(Some(last))
        }
        _ => None,
    }
}

/// Pairs of a character and what it becomes.
fn pairs(charset: u8) -> &'static str {
    match charset {
        b'0' => "`◆a▒b␉c␌d␍e␊f°g±h␤i␋j┘k┐l┌m└n┼o⎺p⎻q─r⎼s⎽t├u┤v┴w┬x│y≤z≥{π|≠}£~·",
        b'A' => "#£",
        // xterm.js writes the Dutch digraph as its first letter.
        b'4' => "#£@¾[i\\½]|{¨|f}¼~´",
        b'C' | b'5' => "[Ä\\Ö]Å^Ü`é{ä|ö}å~ü",
        b'R' => "#£@à[°\\ç]§{é|ù}è~¨",
        b'Q' => "@à[â\\ç]ê^î`ô{é|ù}è~û",
        b'K' => "@§[Ä\\Ö]Ü{ä|ö}ü~ß",
        b'Y' => "#£@§[°\\ç]é`ù{à|ò}è~ì",
        b'E' | b'6' => "@Ä[Æ\\Ø]Å^Ü`ä{æ|ø}å~ü",
        b'Z' => "#£@§[¡\\Ñ]¿{°|ñ}ç",
        b'H' | b'7' => "@É[Ä\\Ö]Å^Ü`é{ä|ö}å~ü",
        b'=' => "#ù@à[é\\ç]ê^î_è`ô{ä|ö}ü~û",
        _ => "",
    }
}

/// What `code` is shown as.
pub(crate) fn map(charset: Charset, code: u32) -> u32 {
    let Some(charset) = charset.filter(|_| code < 127) else { return code };
    let mut pairs = pairs(charset).chars();
    while let (Some(from), Some(to)) = (pairs.next(), pairs.next()) {
        if u32::from(from) == code {
            return to.into();
        }
    }
    code
}

/// What is shown as `shown`.
pub(crate) fn unmap(charset: Charset, shown: char) -> Option<char> {
    (' '..='~').find(|&from| map(charset, from.into()) == u32::from(shown))
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Charsets {
    /// The one in use. A restored cursor may bring back another than `sets[level]`.
    pub current: Charset,
    pub level: usize,
    pub sets: [Charset; 4],
}

impl Charsets {
    pub fn shift(&mut self, level: usize) {
        self.level = level;
        self.current = self.sets[level];
    }

    pub fn designate(&mut self, level: usize, charset: Charset) {
        self.sets[level] = charset;
        if self.level == level {
            self.current = charset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_drawing_replaces_letters_and_leaves_the_rest() {
        assert_eq!(map(Some(b'0'), 'q'.into()), '─'.into());
        assert_eq!(map(Some(b'0'), 'Q'.into()), 'Q'.into());
        assert_eq!(map(None, 'q'.into()), 'q'.into());
    }
}
