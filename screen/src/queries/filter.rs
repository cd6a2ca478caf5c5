//! Takes questions out of replayed output. They were asked in the past: a client that answered them again would type
//! the answers into whatever runs now.

use crate::parser::Parser;

use super::scan::Sink;

/// Something longer than this is no question, and passes as it comes.
const MAX_HELD: usize = 4096;
const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const STRING_TERMINATOR: &[u8] = b"\x1b\\";

/// One replay's filter. It holds back what may yet turn out to be a question.
#[derive(Default)]
pub struct QueryFilter {
    parser: Parser,
    held: Vec<u8>,
    /// What was held was too long to be a question; the rest of it passes.
    passing: bool,
    /// A question was taken out whose terminator is still to come.
    terminator_due: bool,
}

impl QueryFilter {
    /// What may be shown of `bytes`: all of it, byte by byte, but questions.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len() + self.held.len());
        for &byte in bytes {
            self.step(byte, &mut shown);
        }
        shown
    }

    /// What is still held when the replay is over: the start of a sequence that live output completes.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(self).held
    }

    fn step(&mut self, byte: u8, shown: &mut Vec<u8>) {
        let mut seen = Sink::default();
        let was_idle = self.parser.is_idle();
        self.parser.advance(&[byte], &mut seen);
        let is_idle = self.parser.is_idle();
        // Text, and controls, also those inside a sequence: they are carried out at once, whatever becomes of it.
        if (was_idle && is_idle) || (seen.executed && !is_idle) {
            if seen.queries.is_empty() {
                shown.push(byte);
            }
            return;
        }
        // An ESC ends a string or cuts a sequence short, and begins the next one.
        let restarts = byte == ESC && !was_idle;
        if !restarts {
            self.held.push(byte);
        }
        if restarts || is_idle {
            self.judge(&seen, restarts, shown);
        }
        if restarts {
            self.held.push(byte);
        }
        if self.passing || self.held.len() > MAX_HELD {
            shown.append(&mut self.held);
            self.passing = !is_idle;
        }
    }

    /// Shows what is held, or what is left of it without its questions.
    fn judge(&mut self, seen: &Sink, restarts: bool, shown: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let terminator_due = std::mem::take(&mut self.terminator_due);
        if std::mem::take(&mut self.passing) || seen.queries.is_empty() {
            if !(terminator_due && held == STRING_TERMINATOR) {
                shown.extend(held);
            }
            return;
        }
        shown.extend_from_slice(seen.rest.as_bytes());
        match (restarts, seen.rest.is_empty()) {
            (true, true) => self.terminator_due = true,
            (false, false) => shown.push(BEL),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(pieces: &[&[u8]]) -> Vec<u8> {
        let mut filter = QueryFilter::default();
        let mut shown: Vec<u8> = pieces.iter().flat_map(|piece| filter.pass(piece)).collect();
        shown.extend(filter.finish());
        shown
    }

    const QUESTIONS: [&str; 24] = [
        "\x1b[c",
        "\x1b[0c",
        "\x1b[>c",
        "\x1b[=c",
        "\u{9b}6n",
        "\x1b[5n",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[?996n",
        "\x1b[?2026$p",
        "\x1b[4$p",
        "\x1bZ",
        "\x1b]11;?\x07",
        "\x1b]10;?;?\x1b\\",
        "\x1b]4;1;?\x1b\\",
        "\x1b]4;1;?;255;?\u{9c}",
        "\x1b]52;c;?\x07",
        "\x1b]5;1;?\x1b\\",
        "\x1bP$qm\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1b[18t",
        "\x1b[>0q",
        "\x1b[?u",
        "\x05",
    ];
    const OTHERS: [&str; 18] = [
        "\x1b[31m",
        "\x1b[?1049h",
        "\x1b]0;what?\x07",
        "\x1b]2;?\x07",
        "\x1b]52;c;Pz8/\x07",
        "\x1b]8;;http://h/?\x1b\\",
        "\x1b[22;0t",
        "\x1b[8;24;80t",
        "\x1b[!p",
        "\x1b[>4;2m",
        "\x1b[>1u",
        "\x1b(B",
        "\x1b[2 q",
        "\x1b[6\x18n",
        "\x1b]11;?\x18",
        "中é\r\n",
        "\x1b\\",
        "\x1b]4;1;#123456\x1b\\",
    ];

    #[test]
    fn questions_go_and_everything_else_stays() {
        for question in QUESTIONS {
            assert_eq!(filtered(&[b"a", question.as_bytes(), b"b"]), b"ab", "{question:?}");
        }
        for other in OTHERS {
            assert_eq!(filtered(&[other.as_bytes()]), other.as_bytes(), "{other:?}");
        }
    }

    #[test]
    fn what_a_question_is_mixed_with_stays() {
        assert_eq!(filtered(&[b"\x1b]4;1;#111111;2;?;3;#333333\x07"]), b"\x1b]4;1;#111111\x1b\\\x1b]4;3;#333333\x07");
        assert_eq!(filtered(&[b"\x1b]10;?;#000000\x1b\\x"]), b"\x1b]11;#000000\x1b\\x");
        assert_eq!(filtered(&[b"\x1b[6\r\nn"]), b"\r\n");
        assert_eq!(filtered(&[b"\x1b]11;?\x1b[31m"]), b"\x1b[31m");
        assert_eq!(filtered(&[b"\xff\xc2\x1b[6n\xe2\x80"]), b"\xff\xc2\xe2\x80");
    }

    #[test]
    fn a_long_string_passes_as_it_comes() {
        let long = [b"\x1b]52;c;".as_slice(), &[b'a'; 3 * MAX_HELD], b"\x1b\\"].concat();
        let mut filter = QueryFilter::default();
        assert!(filter.pass(&long[..2 * MAX_HELD]).len() > MAX_HELD);
        assert_eq!(filtered(&[&long, b"\x1b[6n"]), long);
    }

    proptest! {
        #[test]
        fn what_is_no_question_passes_byte_by_byte_wherever_it_is_cut(parts in proptest::collection::vec((0usize..QUESTIONS.len(), 0usize..OTHERS.len(), any::<bool>()), 0..8), noise in proptest::collection::vec(any::<u8>(), 0..20), cut in any::<prop::sample::Index>()) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (question, other, asks) in parts {
                let text = if asks { QUESTIONS[question] } else { OTHERS[other] };
                stream.extend_from_slice(text.as_bytes());
                expected.extend_from_slice(if asks { b"" } else { text.as_bytes() });
            }
            let (before, after) = stream.split_at(cut.index(stream.len() + 1));
            prop_assert_eq!(filtered(&[before, after]), expected);
            stream.extend(noise);
            let (before, after) = stream.split_at(cut.index(stream.len() + 1));
            prop_assert_eq!(filtered(&[before, after]), filtered(&[&stream]));
        }
    }
}
