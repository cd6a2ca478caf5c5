//! Takes a program's questions to its terminal out of replayed output. They were asked in the past: a stock client
//! that answered them again would type the answers into whatever runs now.
//!
//! Removed are DA, DSR and CPR, DECRQM, DECREQTPARM, window reports, XTVERSION, the kitty keyboard query, DECRQSS,
//! XTGETTCAP, colour queries and ENQ (xterm, "Control Sequences"). Everything else passes through unchanged.

/// A control sequence longer than this is no query, and passes as it comes.
const MAX_HELD: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    /// After ESC.
    Escape,
    Csi,
    /// Inside OSC or DCS, until BEL or ST.
    Text,
    /// Inside OSC or DCS, after an ESC that may begin ST.
    TextEscape,
}

/// One replay's filter; it keeps what may yet turn out to be a query from one chunk to the next.
pub struct QueryFilter {
    state: State,
    held: Vec<u8>,
}

impl Default for QueryFilter {
    fn default() -> Self {
        Self { state: State::Ground, held: Vec::new() }
    }
}

impl QueryFilter {
    /// What may be shown of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len() + self.held.len());
        for &byte in bytes {
            self.step(byte, &mut shown);
        }
        shown
    }

    /// What is still held when the replay is over: a sequence that live output completes.
    pub fn finish(&mut self) -> Vec<u8> {
        self.state = State::Ground;
        std::mem::take(&mut self.held)
    }

    fn step(&mut self, byte: u8, shown: &mut Vec<u8>) {
        const ENQ: u8 = 5;
        if self.state == State::Ground {
            match byte {
                0x1b => self.hold(byte, State::Escape),
                ENQ => {}
                _ => shown.push(byte),
            }
            return;
        }
        if byte == 0x1b && matches!(self.state, State::Escape | State::Csi) {
            // A new sequence begins; the one before it was cut short and so asked nothing.
            shown.append(&mut self.held);
            return self.hold(byte, State::Escape);
        }
        self.held.push(byte);
        let next = match (self.state, byte) {
            (State::Escape, b'[') => State::Csi,
            (State::Escape, b']' | b'P') => State::Text,
            (State::Csi, 0x20..=0x3f) => State::Csi,
            (State::Text, 0x1b) => State::TextEscape,
            (State::Text, 0x07) => return self.end(shown),
            (State::Text, _) => State::Text,
            // Whatever follows ends it: ST, a final byte, or a character that aborts the sequence.
            _ => return self.end(shown),
        };
        self.state = next;
        if self.held.len() > MAX_HELD {
            shown.append(&mut self.held);
            self.state = State::Ground;
        }
    }

    fn hold(&mut self, byte: u8, state: State) {
        self.held.push(byte);
        self.state = state;
    }

    fn end(&mut self, shown: &mut Vec<u8>) {
        if !is_query(&self.held) {
            shown.extend_from_slice(&self.held);
        }
        self.held.clear();
        self.state = State::Ground;
    }
}

/// Judges one whole sequence, ESC and final byte included.
fn is_query(sequence: &[u8]) -> bool {
    match sequence {
        [0x1b, b'Z'] => true,
        [0x1b, b'[', parameters @ .., last] => is_csi_query(parameters, *last),
        [0x1b, b']', text @ ..] => {
            let text = text.strip_suffix(b"\x07").or_else(|| text.strip_suffix(b"\x1b\\")).unwrap_or(text);
            text.split(|&byte| byte == b';').skip(1).any(|part| part == b"?")
        }
        [0x1b, b'P', b'$' | b'+', b'q', ..] => true,
        _ => false,
    }
}

fn is_csi_query(parameters: &[u8], last: u8) -> bool {
    let first = parameters.first().copied();
    match last {
        b'c' => true,
        b'n' => first != Some(b'>'),
        b'p' => parameters.ends_with(b"$"),
        b'x' => !parameters.ends_with(b"$") && !parameters.ends_with(b"*"),
        b'q' => first == Some(b'>'),
        b'u' => first == Some(b'?'),
        b't' => matches!(
            parameters,
            b"11" | b"13" | b"13;2" | b"14" | b"14;2" | b"15" | b"16" | b"18" | b"19" | b"20" | b"21"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(bytes: &[u8]) -> Vec<u8> {
        let mut filter = QueryFilter::default();
        let mut shown = filter.pass(bytes);
        shown.extend(filter.finish());
        shown
    }

    #[test]
    fn questions_go_and_everything_else_stays() {
        for query in [
            "\x1b[c",
            "\x1b[0c",
            "\x1b[>c",
            "\x1b[=c",
            "\x1b[5n",
            "\x1b[6n",
            "\x1b[?6n",
            "\x1b[?2026$p",
            "\x1b[4$p",
            "\x1bZ",
            "\x1b]11;?\x07",
            "\x1b]4;1;?\x1b\\",
            "\x1bP$qm\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b[18t",
            "\x1b[>0q",
            "\x1b[?u",
            "\x05",
        ] {
            assert_eq!(filtered(format!("a{query}b").as_bytes()), b"ab", "{query:?}");
        }
        for kept in [
            "\x1b[31m",
            "\x1b[?1049h",
            "\x1b]0;what?\x07",
            "\x1b]8;;http://h/?\x1b\\",
            "\x1b[22;0t",
            "\x1b[!p",
            "\x1b[>4;2m",
            "\x1b(B",
            "\x1b[2 q",
        ] {
            assert_eq!(filtered(kept.as_bytes()), kept.as_bytes(), "{kept:?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(text in "(\\x1b\\[6n|\\x1b\\]11;\\?\\x07|\\x1b\\[1m|[a-z]|\\x1b){0,12}", cut in 0usize..60) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let mut filter = QueryFilter::default();
            let mut shown = filter.pass(&bytes[..cut]);
            shown.extend(filter.pass(&bytes[cut..]));
            shown.extend(filter.finish());
            prop_assert_eq!(shown, filtered(bytes));
        }
    }
}
