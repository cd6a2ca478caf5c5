//! The local output: written by a thread of its own, since a terminal that is scrolled back or a pipe whose reader
//! is slow stops a writer for as long as it likes, and the connection must stay alive meanwhile.

use std::io::Write;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

/// Bytes that may wait to be written; beyond them nothing more is read. More than our server sends ahead of what it
/// knows to be written, so that its connection is always read and a slow reader is known for what it is.
const WAITING: usize = 4 << 20;
/// What a chunk costs beside its bytes.
const CHUNK_COST: usize = 128;

pub struct Display {
    chunks: mpsc::UnboundedSender<Chunk>,
    /// The cost of what is not yet written.
    waiting: watch::Sender<usize>,
    written: watch::Receiver<u64>,
    done: oneshot::Receiver<()>,
}

/// Some bytes, and the stream's offset after them.
pub struct Chunk {
    pub bytes: Bytes,
    pub end: u64,
}

impl Chunk {
    fn cost(&self) -> usize {
        self.bytes.len() + CHUNK_COST
    }
}

impl Display {
    /// `unix_lines` turns the CR LF that a PTY makes of every line's end back into LF.
    pub fn start(output: impl Write + Send + 'static, unix_lines: bool) -> Self {
        let (chunks, to_write) = mpsc::unbounded_channel();
        let waiting = watch::Sender::new(0);
        let (progress, written) = watch::channel(0);
        let (finished, done) = oneshot::channel();
        let left = waiting.clone();
        std::thread::spawn(move || {
            let wrote = |chunk: &Chunk| {
                left.send_modify(|left| *left -= chunk.cost());
                progress.send_replace(chunk.end);
            };
            write_all(output, to_write, wrote, unix_lines);
            let _ = finished.send(());
        });
        Self { chunks, waiting, written, done }
    }

    /// Whether another chunk may come now.
    pub fn has_room(&self) -> bool {
        *self.waiting.borrow() < WAITING
    }

    /// Waits until another chunk may come; false when the output was closed by its reader.
    pub async fn room(&self) -> bool {
        let mut waiting = self.waiting.subscribe();
        tokio::select! {
            biased;
            () = self.chunks.closed() => false,
            room = waiting.wait_for(|&waiting| waiting < WAITING) => room.is_ok(),
        }
    }

    pub fn show(&self, chunk: Chunk) {
        self.waiting.send_modify(|waiting| *waiting += chunk.cost());
        // Closed means that its reader has left, which `room` tells.
        let _ = self.chunks.send(chunk);
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
    mut to_write: mpsc::UnboundedReceiver<Chunk>,
    wrote: impl Fn(&Chunk),
    unix_lines: bool,
) {
    let mut lines = UnixLines::default();
    while let Some(chunk) = to_write.blocking_recv() {
        let sent =
            if unix_lines { output.write_all(&lines.pass(&chunk.bytes)) } else { output.write_all(&chunk.bytes) };
        if sent.and_then(|()| output.flush()).is_err() {
            return;
        }
        wrote(&chunk);
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
        display.show(Chunk { bytes: Bytes::from_static(b"x"), end: 1 });
        while display.room().await {
            tokio::task::yield_now().await;
        }
        assert_eq!(*display.written().borrow(), 0);
    }

    /// Writes once it is let go.
    struct Slow(std::sync::mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_slow_output_is_full_after_so_many_bytes_and_has_room_when_they_are_written() {
        let (go, gone) = std::sync::mpsc::channel();
        let display = Display::start(Slow(gone), false);
        let (mut end, chunk) = (0, Bytes::from(vec![b'x'; 64 * 1024]));
        while display.has_room() {
            end += chunk.len() as u64;
            display.show(Chunk { bytes: chunk.clone(), end });
        }
        assert!(end as usize <= WAITING);
        drop(go);
        assert!(display.room().await);
        let mut written = display.written();
        written.wait_for(|&written| written == end).await.unwrap();
    }
}
