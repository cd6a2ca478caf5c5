//! A log out of a recording, as it is read: lines that scrolled away, or the bytes as they were. Holds a piece of the file,
//! its line that is not whole yet, and a screen.

use bytes::Bytes;
use screen::Transcript;
use tokio::sync::mpsc;

use super::LogFormat;
use super::events::{Event, Lines, read_line};

/// Before a recording says what it was.
const SIZE: (u16, u16) = (80, 24);

type Pieces = mpsc::Receiver<object_store::Result<Bytes>>;

/// Writes until the recording ends, or breaks off as it does.
pub fn written(mut recording: Pieces, format: LogFormat) -> Pieces {
    let (outlet, log) = mpsc::channel(1);
    // Ends when nobody reads any more.
    tokio::spawn(async move {
        let mut writer = Writer::new(format);
        while let Some(piece) = recording.recv().await {
            let text = match piece {
                Ok(piece) => writer.write(&piece),
                Err(error) => {
                    let _ = outlet.send(Err(error)).await;
                    return;
                }
            };
            if !text.is_empty() && outlet.send(Ok(text.into())).await.is_err() {
                return;
            }
        }
        let rest = writer.finish();
        if !rest.is_empty() {
            let _ = outlet.send(Ok(rest.into())).await;
        }
    });
    log
}

struct Writer {
    lines: Lines,
    /// `None`: raw.
    transcript: Option<Transcript>,
}

impl Writer {
    fn new(format: LogFormat) -> Self {
        let transcript = (format == LogFormat::Text).then(|| Transcript::new(SIZE.0, SIZE.1));
        Self { lines: Lines::default(), transcript }
    }

    fn write(&mut self, piece: &[u8]) -> String {
        let (mut raw, transcript) = (String::new(), &mut self.transcript);
        self.lines.push(piece, |line| match (read_line(line), &mut *transcript) {
            (Event::Output(text), Some(transcript)) => transcript.write(text.as_bytes()),
            (Event::Output(text), None) => raw.push_str(&text),
            (Event::Size(cols, rows), Some(transcript)) => transcript.resize(cols, rows),
            _ => {}
        });
        transcript.as_mut().map_or(raw, Transcript::take)
    }

    fn finish(self) -> String {
        self.transcript.map_or(String::new(), Transcript::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: &str = concat!(
        "{\"version\":3,\"term\":{\"cols\":10,\"rows\":3}}\n",
        "[0.1, \"m\", \"running\"]\n",
        "[0.1, \"o\", \"one\\r\\n\\u001b[31mtwo\\u001b[0m and more than fits\\r\\n\"]\n",
        "[0.1, \"i\", \"typed\"]\n",
        "[0.1, \"r\", \"40x5\"]\n",
        "[0.1, \"o\", \"three\\r\\n\\r\\n\\r\\nfour\\r\\n\"]\n",
        "[0.0, \"x\", \"0\"]\n",
    );

    fn log(format: LogFormat, cut: usize) -> String {
        let mut writer = Writer::new(format);
        let text: String = CAST.as_bytes().chunks(cut).map(|piece| writer.write(piece)).collect();
        text + &writer.finish()
    }

    #[test]
    fn a_log_is_the_output_however_the_file_was_cut() {
        for cut in [1, 3, 50, 10_000] {
            assert_eq!(log(LogFormat::Text, cut), "one\ntwo and more than fits\nthree\n\n\nfour\n");
            let raw = "one\r\n\x1b[31mtwo\x1b[0m and more than fits\r\nthree\r\n\r\n\r\nfour\r\n";
            assert_eq!(log(LogFormat::Raw, cut), raw);
        }
    }
}
