//! A stream as plain text: what scrolled away, line by line as it goes, and at the end what the screen shows. What is drawn
//! on the alternate screen is not in it.

use crate::Screen;
use crate::line::Line;

/// Lines between two looks at what scrolled away; only a change of width makes more of them at once.
const SCROLLBACK: usize = 10_000;
/// Bytes between two such looks.
const STEP: usize = 16 * 1024;
/// The largest screen that is made; what a stream says of its size is not to be trusted with memory.
const MAX_SIDE: u16 = 1000;

/// Writes down a stream of output and sizes. Holds a screen, and the lines that scrolled away since it was last asked.
pub struct Transcript {
    screen: Screen,
    text: String,
    /// Ends of lines that are held back until something follows: blank lines at the end are nobody's.
    ends: usize,
    begun: bool,
}

impl Transcript {
    pub fn new(cols: u16, rows: u16) -> Self {
        let mut screen = Screen::new(cols.min(MAX_SIDE), rows.min(MAX_SIDE), SCROLLBACK);
        screen.collect();
        Self { screen, text: String::new(), ends: 0, begun: false }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        for step in bytes.chunks(STEP) {
            self.screen.write(step);
            let departed = self.screen.emulator.main.take_departed();
            // What follows the last of them is still on the screen.
            let first = self.screen.emulator.main.lines.front().cloned();
            self.put(&departed, first.as_ref());
        }
    }

    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.screen.resize(cols.min(MAX_SIDE), rows.min(MAX_SIDE));
    }

    /// The text since this was last asked.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// The text since then, to the end of the stream.
    pub fn finish(mut self) -> String {
        let mut lines = self.screen.emulator.main.take_departed();
        lines.extend(self.screen.emulator.main.lines.drain(..));
        self.put(&lines, None);
        if self.begun {
            self.text.push('\n');
        }
        self.text
    }

    fn put(&mut self, lines: &[Line], after: Option<&Line>) {
        for (at, line) in lines.iter().enumerate() {
            let next = lines.get(at + 1).or(after).filter(|next| next.wrapped);
            let text = text_of(line, next);
            self.ends += usize::from(!line.wrapped);
            if text.is_empty() {
                continue;
            }
            // The first line begins the text, and ends nothing.
            let ends = std::mem::take(&mut self.ends).saturating_sub(usize::from(!self.begun));
            self.text.extend(std::iter::repeat_n('\n', ends));
            self.text.push_str(&text);
            self.begun = true;
        }
    }
}

/// A line without the blanks at its end, unless `next` goes on from it. A wide character that did not fit leaves a column
/// free, which is none of the text.
fn text_of(line: &Line, next: Option<&Line>) -> String {
    let mut text = String::new();
    for at in 0..line.stored() {
        match line.has_content(at) {
            true => line.push_text(at, &mut text),
            // The second half of a wide character has no width of its own.
            false if line.width(at) > 0 => text.push(' '),
            false => {}
        }
    }
    match next {
        None => text.truncate(text.trim_end_matches(' ').len()),
        Some(next) if next.width(0) == 2 && text.ends_with(' ') => text.truncate(text.len() - 1),
        Some(_) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cols: u16, rows: u16, stream: &str) -> String {
        let whole = written_in(cols, rows, stream, stream.len().max(1));
        for cut in [1, 7, 64] {
            assert_eq!(written_in(cols, rows, stream, cut), whole, "cut every {cut} bytes");
        }
        whole
    }

    fn written_in(cols: u16, rows: u16, stream: &str, cut: usize) -> String {
        let mut transcript = Transcript::new(cols, rows);
        let mut text = String::new();
        for piece in stream.as_bytes().chunks(cut) {
            transcript.write(piece);
            text += &transcript.take();
        }
        text + &transcript.finish()
    }

    #[test]
    fn every_line_is_there_once_and_in_order() {
        let stream: String = (1..=500).map(|n| format!("line \x1b[1m{n}\x1b[0m\r\n")).collect();
        let text: String = (1..=500).map(|n| format!("line {n}\n")).collect();
        assert_eq!(written(20, 5, &stream), text);
    }

    #[test]
    fn what_the_edge_broke_is_one_line_again() {
        let long: String = ('a'..='z').cycle().take(333).collect();
        assert_eq!(written(10, 3, &format!("{long}\r\nnext")), format!("{long}\nnext\n"));
        assert_eq!(written(10, 3, "ab      cd  ef\r\n"), "ab      cd  ef\n");
        assert_eq!(written(5, 3, "ab日本語テキスト!\r\n"), "ab日本語テキスト!\n");
    }

    #[test]
    fn blanks_at_the_end_are_left_out_and_those_between_kept() {
        assert_eq!(
            written(20, 4, "\r\n\r\none   \r\n\r\n\r\ntwo\x1b[5Cthree \r\n\r\n\r\n\r\n\r\n\r\n"),
            "\n\none\n\n\ntwo     three\n"
        );
        assert_eq!(written(20, 4, ""), "");
        assert_eq!(written(20, 4, "\r\n\r\n"), "");
    }

    #[test]
    fn a_line_is_as_it_was_last_drawn() {
        assert_eq!(written(40, 4, "10%\r50%\r100%\r\ndone\x08\x08no\r\n"), "100%\ndono\n");
    }

    #[test]
    fn the_alternate_screen_is_left_out() {
        let stream = "before\r\n\x1b[?1049h\x1b[2J\x1b[Hin an editor\r\n\r\n\r\n\r\n\r\n\x1b[?1049lafter\r\n";
        assert_eq!(written(20, 4, stream), "before\nafter\n");
        assert_eq!(written(20, 4, "before\r\n\x1b[?1049hstill there"), "before\n");
    }

    #[test]
    fn what_scrolled_away_outlives_its_scrollback() {
        let lines: String = (1..=9).map(|n| format!("{n}\r\n")).collect();
        // 7 to 9 were on the screen that was erased.
        assert_eq!(written(20, 4, &format!("{lines}\x1b[H\x1b[2J\x1b[3Jafter")), "1\n2\n3\n4\n5\n6\nafter\n");
        assert_eq!(written(20, 4, &format!("{lines}\x1bcafter")), "1\n2\n3\n4\n5\n6\n7\n8\n9\n\nafter\n");
    }

    #[test]
    fn a_change_of_size_loses_nothing() {
        let mut transcript = Transcript::new(40, 10);
        (1..=30).for_each(|n| transcript.write(format!("a somewhat long line {n}\r\n").as_bytes()));
        transcript.resize(10, 3);
        transcript.resize(0, 0);
        transcript.resize(u16::MAX, u16::MAX);
        (31..=60).for_each(|n| transcript.write(format!("a somewhat long line {n}\r\n").as_bytes()));
        let text: String = (1..=60).map(|n| format!("a somewhat long line {n}\n")).collect();
        assert_eq!(transcript.finish(), text);
    }

    #[test]
    fn more_than_the_scrollback_at_once_is_kept() {
        let stream = format!("{}end", "\r\n".repeat(2)) + &"x\x1b[1000b".repeat(300);
        let text = written_in(2, 2, &stream, stream.len());
        assert_eq!(text.matches('x').count(), 300 * 1001);
    }
}
