//! The words of a recording: asciicast v3 (<https://docs.asciinema.org/manual/asciicast/v3/>), a header and then a line for
//! each event. Neither command, prompt nor environment are in it, except where the terminal shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use session::EndReason;
use session::frames::{Exit, Size};

use crate::environment::TERM;
use crate::terminal::{Event, Recorded};

#[derive(Serialize)]
struct Header {
    version: u8,
    term: Term,
    /// Seconds since 1970 of what all times count from.
    timestamp: u64,
}

#[derive(Serialize)]
struct Term {
    cols: u16,
    rows: u16,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Writes events, each with the time since the one before it.
#[derive(Default)]
pub struct Cast {
    /// Milliseconds from the beginning to the last event.
    last: u64,
}

impl Cast {
    /// `began`: how long ago.
    pub fn header(size: Size, began: Duration) -> Vec<u8> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let term = Term { cols: size.columns, rows: size.rows, kind: TERM };
        let timestamp = since_1970.saturating_sub(began).as_secs();
        let mut line = Vec::new();
        write_json(&mut line, &Header { version: 3, term, timestamp });
        line.push(b'\n');
        line
    }

    /// Appends what was recorded.
    pub fn event(&mut self, line: &mut Vec<u8>, recorded: &Recorded) {
        let after = recorded.after;
        match &recorded.what {
            Event::Output(bytes) => self.line(line, after, 'o', &String::from_utf8_lossy(bytes)),
            Event::Input(bytes) => self.line(line, after, 'i', &String::from_utf8_lossy(bytes)),
            Event::Resized(Size { columns, rows }) => self.line(line, after, 'r', &format!("{columns}x{rows}")),
            Event::Stage(stage) => self.marker(line, after, stage.as_str()),
            Event::Missing(bytes) => self.marker(line, after, &format!("{bytes} bytes of output are missing")),
            Event::MissingInput(bytes) => self.marker(line, after, &format!("{bytes} bytes of input are missing")),
            Event::Ended(exit) => self.end(line, after, exit),
        }
    }

    /// What a player can jump to.
    pub fn marker(&mut self, line: &mut Vec<u8>, after: Duration, text: &str) {
        self.line(line, after, 'm', text);
    }

    fn end(&mut self, line: &mut Vec<u8>, after: Duration, exit: &Exit) {
        if exit.reason != EndReason::Exited {
            self.marker(line, after, exit.reason.as_str());
        }
        // Where no command ran there is no status of one.
        if let Some(code) = exit.code {
            self.line(line, after, 'x', &code.to_string());
        }
    }

    /// Times are told in milliseconds, so that what is left of one is not lost but added to the next.
    fn line(&mut self, line: &mut Vec<u8>, after: Duration, code: char, data: &str) {
        let now = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(self.last);
        let interval = now - std::mem::replace(&mut self.last, now);
        line.extend_from_slice(format!("[{}.{:03}, \"{code}\", ", interval / 1000, interval % 1000).as_bytes());
        write_json(line, data);
        line.extend_from_slice(b"]\n");
    }
}

fn write_json<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) {
    // Strings and numbers into memory: neither can fail.
    serde_json::to_writer(line, value).expect("a recording serialises");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use session::Stage;

    fn written(events: &[(u64, Event)]) -> String {
        let (mut cast, mut text) = (Cast::default(), Vec::new());
        for (millis, what) in events {
            let what = match what {
                Event::Output(bytes) => Event::Output(bytes.clone()),
                Event::Resized(size) => Event::Resized(*size),
                Event::Stage(stage) => Event::Stage(*stage),
                Event::Ended(exit) => Event::Ended(exit.clone()),
                _ => unreachable!("not among these"),
            };
            cast.event(&mut text, &Recorded { after: Duration::from_micros(millis * 1000 + 900), what });
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn times_are_those_since_the_event_before_and_add_up() {
        let output = |text: &'static str| Event::Output(Bytes::from_static(text.as_bytes()));
        let text = written(&[
            (0, Event::Stage(Stage::Running)),
            (1500, output("a\"\u{1b}é\r\n")),
            (1400, Event::Resized(Size { columns: 100, rows: 30 })),
            (3502, output("b")),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"[0.000, "m", "running"]"#,
                r#"[1.500, "o", "a\"\u001bé\r\n"]"#,
                r#"[0.000, "r", "100x30"]"#,
                r#"[2.002, "o", "b"]"#,
            ]
        );
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert!(written(&[(0, Event::Output(Bytes::from_static(b"a\xff\xfeb")))]).contains("a\u{fffd}\u{fffd}b"));
    }

    #[test]
    fn the_end_says_how_and_with_which_code() {
        let exit = |code, reason| Event::Ended(Exit { code, signal: None, reason, end: 0, message: None });
        assert_eq!(written(&[(0, exit(Some(3), EndReason::Exited))]), "[0.000, \"x\", \"3\"]\n");
        assert_eq!(
            written(&[(0, exit(Some(143), EndReason::TimedOut))]),
            "[0.000, \"m\", \"timed_out\"]\n[0.000, \"x\", \"143\"]\n"
        );
        assert_eq!(written(&[(0, exit(None, EndReason::FetchFailed))]), "[0.000, \"m\", \"fetch_failed\"]\n");
    }
}
