//! Where the stream is nothing but lines of text, so that a screen behind it need not be shown what has scrolled away by
//! its end: a flood then costs one look at its bytes instead of a terminal's work on each.

use std::collections::VecDeque;
use std::ops::Range;

/// Lines are counted from one mark to the next, so these are no closer than this.
const APART: u64 = 64 * 1024;

/// A place right behind CR LF, where a character comes next.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: u64,
    /// Line feeds before it, counted from some place on.
    feeds: u64,
}

/// The lines of text (0x20 to 0x7e, CR and LF) that the stream ends in: nothing else comes after the first mark.
#[derive(Default)]
pub struct Plain {
    marks: VecDeque<Mark>,
    feeds: u64,
    /// The last two bytes of all.
    last: [u8; 2],
}

impl Plain {
    /// `bytes` come at `at`.
    pub fn push(&mut self, at: u64, bytes: &[u8]) {
        // Without a branch for each byte and in a byte of its own, so that many are looked at in one instruction.
        let others = bytes.iter().fold(0, |others, &byte| others | u8::from(!is_text(byte)));
        let other = if others == 0 { None } else { bytes.iter().rposition(|&byte| !is_text(byte)) };
        if other.is_some() {
            self.marks.clear();
        }
        let text = &bytes[other.map_or(0, |other| other + 1)..];
        let begin = at + (bytes.len() - text.len()) as u64;
        let wanted = self.marks.back().map_or(begin, |mark| begin.max(mark.at + APART));
        let ahead = usize::try_from(wanted - begin).unwrap_or(usize::MAX);
        if let Some(line) = self.line_in(text, ahead, other.is_none()) {
            self.marks.push_back(Mark { at: begin + line as u64, feeds: self.feeds + feeds(&text[..line]) });
        }
        self.feeds += feeds(text);
        match bytes {
            [.., before, last] => self.last = [*before, *last],
            [last] => self.last = [self.last[1], *last],
            [] => {}
        }
    }

    /// Where the first line begins in `text`, at `ahead` or later. `continues`: this text follows on what came before.
    fn line_in(&self, text: &[u8], ahead: usize, continues: bool) -> Option<usize> {
        let is_shown = |at: usize| text.get(at).is_some_and(|byte| (0x20..=0x7e).contains(byte));
        if ahead == 0 && continues && self.last == *b"\r\n" && is_shown(0) {
            return Some(0);
        }
        let follows_cr = |feed: usize| match feed {
            0 => continues && self.last[1] == b'\r',
            _ => text[feed - 1] == b'\r',
        };
        let mut feeds = memchr::memchr_iter(b'\n', text.get(ahead..)?).map(|feed| ahead + feed);
        feeds.find(|&feed| follows_cr(feed) && is_shown(feed + 1)).map(|feed| feed + 1)
    }

    /// What a screen that comes by `from` need not be shown to be right at `until`: from a mark on, at least `rows` lines,
    /// after which at least `kept` follow before `until`.
    pub fn passed_over(&self, from: u64, until: u64, rows: u64, kept: u64) -> Option<Range<u64>> {
        let within = |mark: &&Mark| (from..=until).contains(&mark.at);
        let (first, last) = (self.marks.iter().find(within)?, self.marks.iter().rfind(within)?);
        let is_past = |mark: &&Mark| mark.feeds + kept <= last.feeds && mark.feeds >= first.feeds + rows;
        self.marks.iter().filter(within).rfind(is_past).map(|mark| first.at..mark.at)
    }

    /// The screen has come to `off`.
    pub fn followed(&mut self, off: u64) {
        while self.marks.front().is_some_and(|mark| mark.at < off) {
            self.marks.pop_front();
        }
    }
}

fn is_text(byte: u8) -> bool {
    (byte.wrapping_sub(0x20) < 0x5f) | (byte == b'\n') | (byte == b'\r')
}

fn feeds(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(pieces: &[&[u8]]) -> Plain {
        let mut plain = Plain::default();
        let mut at = 0;
        for piece in pieces {
            plain.push(at, piece);
            at += piece.len() as u64;
        }
        plain
    }

    /// So many lines of 64 bytes.
    fn lines(count: usize) -> Vec<u8> {
        [&[b'x'; 62][..], b"\r\n"].concat().repeat(count)
    }

    #[test]
    fn as_much_is_passed_over_as_leaves_the_lines_that_are_kept() {
        let piece = lines(1024);
        let plain = pushed(&[b"\x1b[m\r\n", &piece, &piece, &piece, &piece]);
        // A mark where each piece begins.
        let at = |piece: u64| 5 + piece * 65536;
        assert_eq!(plain.passed_over(0, u64::MAX, 24, 1000), Some(at(0)..at(2)));
        assert_eq!(plain.passed_over(at(1), u64::MAX, 24, 1000), Some(at(1)..at(2)));
        assert_eq!(plain.passed_over(0, at(2), 24, 1000), Some(at(0)..at(1)));
        assert_eq!(plain.passed_over(0, u64::MAX, 24, 3000), None);
        assert_eq!(plain.passed_over(0, u64::MAX, 2500, 1000), None);
    }

    #[test]
    fn whatever_is_no_text_begins_it_anew() {
        let piece = lines(2048);
        let mut cut = piece.clone();
        cut[100_000] = 0x1b;
        assert_eq!(pushed(&[&piece, &piece, &cut]).passed_over(0, u64::MAX, 1, 1000), None);
        assert_eq!(pushed(&[&piece, "é".as_bytes()]).passed_over(0, u64::MAX, 1, 1), None);
        assert!(pushed(&[&cut, &piece, &piece]).passed_over(0, u64::MAX, 1, 1000).is_some());
    }

    #[test]
    fn a_line_is_found_however_its_end_is_cut() {
        for cut in 0..=4 {
            let (before, after) = b"\t\r\nab".split_at(cut);
            let plain = pushed(&[before, after]);
            assert_eq!(plain.marks.front().map(|mark| mark.at), Some(3), "cut at {cut}");
        }
        assert!(pushed(&[b"\t\r\n\r\n", b"\r\n"]).marks.is_empty(), "no character came");
        assert!(pushed(&[b"a\nb"]).marks.is_empty(), "no CR came");
    }
}
