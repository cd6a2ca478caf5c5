//! The download as a reader for the thread that unpacks it.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// Chunks in flight between the network and the thread.
pub(super) const CHUNKS: usize = 16;

pub(super) enum Chunk {
    Bytes(Bytes),
    /// The download is whole. A channel that closes without it means that the download failed.
    End,
}

pub(super) struct ChunkReader {
    chunks: mpsc::Receiver<Chunk>,
    current: Bytes,
    ended: bool,
    taken: Rc<Cell<u64>>,
}

impl ChunkReader {
    pub(super) fn new(chunks: mpsc::Receiver<Chunk>) -> Self {
        Self { chunks, current: Bytes::new(), ended: false, taken: Rc::default() }
    }

    /// How many bytes have been read, followed while another owns the reader.
    pub(super) fn taken(&self) -> Rc<Cell<u64>> {
        self.taken.clone()
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Chunk::Bytes(bytes)) => self.current = bytes,
                Some(Chunk::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}
