//! Finds questions in a live stream without following the screen, so that it has to catch up only when there is one.

use crate::params::Params;
use crate::parser::{Parser, Perform, ident};

use super::Query;

/// One stream's scanner; it remembers what is unfinished from one piece to the next.
#[derive(Default)]
pub struct QueryScanner {
    parser: Parser,
}

impl QueryScanner {
    /// Tells `found` of each question in `bytes`, with the number of bytes up to and including it; the `\` of a string
    /// terminator comes after that.
    pub fn scan(&mut self, bytes: &[u8], mut found: impl FnMut(usize, Query)) {
        let mut at = 0;
        while at < bytes.len() {
            if self.parser.is_idle() {
                // All that may begin something other than text and plain controls.
                match memchr::memchr3(ENQ, ESC, C1_LEAD, &bytes[at..]) {
                    Some(ahead) => at += ahead,
                    None => return,
                }
            }
            let mut sink = Sink::default();
            self.parser.advance(&bytes[at..=at], &mut sink);
            at += 1;
            for query in sink.queries {
                found(at, query);
            }
        }
    }
}

const ENQ: u8 = 0x05;
const ESC: u8 = 0x1b;
/// The first byte of U+0080 to U+00BF, some of which are controls.
const C1_LEAD: u8 = 0xc2;

/// Takes notice of questions alone.
#[derive(Default)]
pub(super) struct Sink {
    pub queries: Vec<Query>,
    /// What a command sets beside its questions: see [`Query::from_osc`].
    pub rest: String,
    /// A control was carried out.
    pub executed: bool,
}

impl Perform for Sink {
    fn print_ascii(&mut self, _run: &[u8]) {}

    fn print(&mut self, _run: &[u32]) {}

    fn execute(&mut self, code: u32) {
        self.executed = true;
        if code == u32::from(ENQ) {
            self.queries.push(Query::Enquiry);
        }
    }

    fn csi(&mut self, id: u32, params: &Params) {
        self.queries.extend(Query::from_csi(id, params));
    }

    fn esc(&mut self, id: u32) {
        if id == ident(b"Z") {
            self.queries.push(Query::PrimaryAttributes);
        }
    }

    fn osc(&mut self, number: u32, text: &str) {
        let (queries, rest) = Query::from_osc(number, text);
        self.queries.extend(queries);
        self.rest = rest;
    }

    fn dcs(&mut self, id: u32, text: &str) {
        self.queries.extend(Query::from_dcs(id, text));
    }

    fn nothing(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pieces: &[&[u8]]) -> Vec<(usize, Query)> {
        let mut scanner = QueryScanner::default();
        let mut found = Vec::new();
        let mut before = 0;
        for piece in pieces {
            scanner.scan(piece, |at, query| found.push((before + at, query)));
            before += piece.len();
        }
        found
    }

    #[test]
    fn a_question_is_found_where_it_ends_however_the_stream_is_cut() {
        let stream = "é\x1b[31mx\x1b[6n中\x1b]11;?\x07\x1b[?2026$p\x1bP$qr\x1b\\\u{9b}c".as_bytes();
        let expected = [
            (12, Query::CursorPosition { private: false }),
            (22, Query::SpecialColour(11)),
            (31, Query::Mode { private: true, mode: 2026 }),
            (37, Query::Setting("r".to_owned())),
            (41, Query::PrimaryAttributes),
        ];
        for cut in 0..=stream.len() {
            let (before, after) = stream.split_at(cut);
            assert_eq!(found(&[before, after]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_only_looks_like_a_question_is_none() {
        for text in [
            "\x1b[31m",
            "\x1b]0;what?\x07",
            "\x1b]8;;http://h/?\x07",
            "\x1b[22;0t",
            "\x1b[!p",
            "\x1b[1\"q",
            "\x1b[u",
            "\x1b[6\x18n",
        ] {
            assert_eq!(found(&[text.as_bytes()]), [], "{text:?}");
        }
    }
}
