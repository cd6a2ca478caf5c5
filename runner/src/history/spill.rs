//! What left the memory, in a file that nobody else can see and that goes with this process. It is a ring, too: the
//! oldest bytes are written over. Where it cannot be written or read it is given up, and said so once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

/// A file for at most `capacity` bytes of a stream, made when the first are kept.
pub struct Spill {
    folder: PathBuf,
    capacity: u64,
    /// It could not be written or read.
    broken: bool,
    file: Option<File>,
    /// The offsets between which it has the stream.
    base: u64,
    end: u64,
}

impl Spill {
    /// A capacity of 0 keeps nothing.
    pub fn new(folder: PathBuf, capacity: u64) -> Self {
        Self { folder, capacity, broken: false, file: None, base: 0, end: 0 }
    }

    /// How much it can keep from now on.
    pub fn capacity(&self) -> u64 {
        if self.broken { 0 } else { self.capacity }
    }

    /// The offset of the oldest byte that it has; [`Spill::end`] where it has none.
    pub fn base(&self) -> u64 {
        self.base
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends what is at `at` in the stream. False where that failed; then nothing more is kept, and what was can
    /// still be read, but for what had to go for it.
    pub fn keep(&mut self, at: u64, bytes: &[u8]) -> bool {
        if self.capacity() == 0 {
            return false;
        }
        if at != self.end {
            (self.base, self.end) = (at, at);
        }
        if let Err(error) = self.append(bytes) {
            let folder = self.folder.display();
            tracing::warn!(%error, %folder, "output cannot be spilled: whoever falls behind is sent the screen alone");
            self.broken = true;
            // Part of it may have been written over the oldest.
            self.base = self.base.max((self.end + bytes.len() as u64).saturating_sub(self.capacity)).min(self.end);
            return false;
        }
        self.end += bytes.len() as u64;
        self.base = self.base.max(self.end.saturating_sub(self.capacity));
        true
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&self.folder)?);
        }
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let mut at = self.end;
        for part in parts(at, bytes.len() as u64, self.capacity) {
            let from = (at - self.end) as usize;
            file.write_all_at(&bytes[from..from + part as usize], at % self.capacity)?;
            at += part;
        }
        Ok(())
    }

    /// At most `limit` bytes from `from` on; none outside of what it has. Where that fails it has nothing any more, so
    /// that nobody waits for it.
    pub fn read(&mut self, from: u64, limit: usize) -> Bytes {
        match self.try_to_read(from, limit) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "spilled output cannot be read: it is lost");
                self.broken = true;
                self.clear();
                Bytes::new()
            }
        }
    }

    fn try_to_read(&self, from: u64, limit: usize) -> io::Result<Bytes> {
        let (Some(file), true) = (&self.file, (self.base..self.end).contains(&from)) else { return Ok(Bytes::new()) };
        let wanted = (self.end - from).min(limit as u64);
        let mut read = BytesMut::zeroed(wanted as usize);
        let mut at = from;
        for part in parts(at, wanted, self.capacity) {
            let to = (at - from) as usize;
            file.read_exact_at(&mut read[to..to + part as usize], at % self.capacity)?;
            at += part;
        }
        Ok(read.freeze())
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.base = self.end;
    }
}

/// The lengths of the pieces in which `len` bytes at `at` lie in a ring of `capacity`.
fn parts(at: u64, len: u64, capacity: u64) -> impl Iterator<Item = u64> {
    let first = len.min(capacity - at % capacity);
    [first, len - first].into_iter().filter(|part| *part > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_streams_tail_at_its_offsets(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 1..12), capacity in 30u64..64, from in 0u64..400, limit in 0usize..80) {
            let folder = tempfile::tempdir().unwrap();
            let mut spill = Spill::new(folder.path().into(), capacity);
            let mut all = Vec::new();
            for chunk in &chunks {
                prop_assert!(spill.keep(all.len() as u64, chunk));
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(spill.base(), (all.len() as u64).saturating_sub(capacity));
            let expected: &[u8] = match from >= spill.base() && from < spill.end() {
                true => &all[from as usize..all.len().min(from as usize + limit)],
                false => &[],
            };
            prop_assert_eq!(&spill.read(from, limit)[..], expected);
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        }
    }

    #[test]
    fn what_cannot_be_read_is_there_no_more() {
        let mut spill = Spill::new(std::env::temp_dir(), 100);
        assert!(spill.keep(0, b"abcdef"));
        spill.file.as_ref().unwrap().set_len(3).unwrap();
        assert_eq!(&spill.read(0, 3)[..], b"abc");
        assert!(spill.read(2, 9).is_empty());
        assert_eq!((spill.capacity(), spill.base(), spill.end()), (0, 6, 6));
    }

    #[test]
    fn without_a_folder_it_keeps_nothing_and_says_so() {
        let mut spill = Spill::new("/nowhere/at/all".into(), 100);
        assert!(!spill.keep(0, b"abc"));
        assert_eq!((spill.capacity(), spill.read(0, 9).len()), (0, 0));
    }
}
