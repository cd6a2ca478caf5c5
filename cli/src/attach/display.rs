//! The local output: written by a thread of its own, since a terminal that is scrolled back or a pipe whose reader
//! is slow stops a writer for as long as it likes, and the connection must stay alive meanwhile.

use std::io::Write;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

/// Writes that may wait: a slow reader holds the server back instead of filling our memory.
const WAITING: usize = 64;

pub struct Display {
    chunks: mpsc::Sender<Chunk>,
    written: watch::Receiver<u64>,
    done: oneshot::Receiver<()>,
}

/// Some bytes, and the stream's offset after them.
pub struct Chunk {
    pub bytes: Bytes,
    pub end: u64,
}

impl Display {
    /// `unix_lines` turns the CR LF that a PTY makes of every line's end back into LF.
    pub fn start(output: impl Write + Send + 'static, unix_lines: bool) -> Self {
        let (chunks, waiting) = mpsc::channel(WAITING);
        let (progress, written) = watch::channel(0);
        let (finished, done) = oneshot::channel();
        std::thread::spawn(move || {
            write_all(output, waiting, &progress, unix_lines);
            let _ = finished.send(());
        });
        Self { chunks, written, done }
    }

    /// Room for one chunk; `None` when the output was closed by its reader.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, Chunk>> {
        self.chunks.reserve().await.ok()
    }

    /// Follows the offset up to which everything is written.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }

    /// Waits until all is written.
    pub async fn finish(self) {
        drop(self.chunks);
        let _ = self.done.await;
    }
}

fn write_all(
    mut output: impl Write,
    mut waiting: mpsc::Receiver<Chunk>,
    progress: &watch::Sender<u64>,
    unix_lines: bool,
) {
    let mut lines = UnixLines::default();
    while let Some(chunk) = waiting.blocking_recv() {
        let sent =
            if unix_lines { output.write_all(&lines.pass(&chunk.bytes)) } else { output.write_all(&chunk.bytes) };
        if sent.and_then(|()| output.flush()).is_err() {
            return;
        }
        progress.send_replace(chunk.end);
    }
    let _ = output.write_all(lines.finish()).and_then(|()| output.flush());
}

/// Undoes a PTY's ONLCR: exactly one CR before each LF goes. A CR that a program wrote itself stays.
#[derive(Default)]
struct UnixLines {
    held_cr: bool,
}

impl UnixLines {
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if std::mem::take(&mut self.held_cr) && byte != b'\n' {
                text.push(b'\r');
            }
            match byte {
                b'\r' => self.held_cr = true,
                _ => text.push(byte),
            }
        }
        text
    }

    fn finish(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held_cr) { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(chunks: &[&str]) -> String {
        let mut lines = UnixLines::default();
        let mut text: Vec<u8> = chunks.iter().flat_map(|chunk| lines.pass(chunk.as_bytes())).collect();
        text.extend(lines.finish());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn exactly_what_the_pty_added_is_taken_away() {
        assert_eq!(unix(&["a\r\nb\r", "\nc"]), "a\nb\nc");
        assert_eq!(unix(&["10%\r20%\r\r\n"]), "10%\r20%\r\n");
        assert_eq!(unix(&["end\r"]), "end\r");
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_output_that_was_closed_has_no_more_room() {
        let display = Display::start(Closed, false);
        display.room().await.unwrap().send(Chunk { bytes: Bytes::from_static(b"x"), end: 1 });
        while display.room().await.is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*display.written().borrow(), 0);
    }
}
