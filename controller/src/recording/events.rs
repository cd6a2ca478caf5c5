//! Reading asciicast: a header line, then one event per line. What cannot be read is passed over.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// No line of ours is longer; of one that is, nothing is kept.
const MAX_LINE: usize = 1024 * 1024;

/// What a log is made of.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The terminal's size, at the beginning or later.
    Size(u16, u16),
    Output(Cow<'a, str>),
    Other,
}

/// Cuts pieces of a file into lines.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
    /// The line is too long: what is left of it is passed over.
    skipping: bool,
}

impl Lines {
    /// Calls `each` for every line that is whole now.
    pub fn push(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, more) = (&piece[..end], &piece[end + 1..]);
            piece = more;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.rest.is_empty() {
                each(line);
            } else {
                self.rest.extend_from_slice(line);
                each(&self.rest);
                self.rest.clear();
            }
        }
        if !self.skipping {
            self.rest.extend_from_slice(piece);
        }
        if self.rest.len() > MAX_LINE {
            self.rest = Vec::new();
            self.skipping = true;
        }
    }
}

#[derive(Deserialize)]
struct Header {
    term: Term,
}

#[derive(Deserialize)]
struct Term {
    cols: u16,
    rows: u16,
}

pub fn read_line(line: &[u8]) -> Event<'_> {
    #[derive(Deserialize)]
    struct Line<'a>(#[allow(dead_code)] IgnoredAny, #[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Text<'a>);
    if line.first() == Some(&b'{') {
        let header = serde_json::from_slice::<Header>(line);
        return header.map_or(Event::Other, |Header { term }| Event::Size(term.cols, term.rows));
    }
    let Ok(Line(_, kind, Text(data))) = serde_json::from_slice(line) else { return Event::Other };
    match &*kind {
        "o" => Event::Output(data),
        "r" => read_size(&data).map_or(Event::Other, |(cols, rows)| Event::Size(cols, rows)),
        _ => Event::Other,
    }
}

/// Borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_size(text: &str) -> Option<(u16, u16)> {
    let (cols, rows) = text.split_once('x')?;
    Some((cols.parse().ok()?, rows.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = b"one\ntwo\n\nthree\n";
        for cut in 1..text.len() {
            let (mut lines, mut read) = (Lines::default(), Vec::new());
            text.chunks(cut).for_each(|piece| lines.push(piece, |line| read.push(line.to_vec())));
            assert_eq!(read, [&b"one"[..], b"two", b"", b"three"], "{cut}");
        }
    }

    #[test]
    fn a_line_that_never_ends_is_passed_over() {
        let (mut lines, mut read) = (Lines::default(), Vec::new());
        for _ in 0..40 {
            lines.push(&[b'x'; 64 * 1024], |_| panic!("no line has ended"));
            assert!(lines.rest.len() <= MAX_LINE);
        }
        lines.push(b"x\nshort\n", |line| read.push(line.to_vec()));
        assert_eq!(read, [b"short"]);
    }

    #[test]
    fn events_are_read_and_what_is_not_known_is_passed_over() {
        let header = br#"{"version":3,"term":{"cols":100,"rows":30,"type":"xterm-256color"},"timestamp":1}"#;
        assert_eq!(read_line(header), Event::Size(100, 30));
        assert_eq!(read_line(br#"[0.25, "o", "a\u001b[1mb\r\n"]"#), Event::Output("a\x1b[1mb\r\n".into()));
        assert_eq!(read_line(br#"[1, "r", "80x24"]"#), Event::Size(80, 24));
        for other in [r#"[1,"i","secret"]"#, r#"[1,"m","running"]"#, r#"[0,"x","0"]"#, "# a comment", "[1", ""] {
            assert_eq!(read_line(other.as_bytes()), Event::Other, "{other}");
        }
    }
}
