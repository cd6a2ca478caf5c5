//! The last bytes of a stream in memory, each at its absolute offset.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A bounded log: pushing never fails, the oldest bytes leave.
pub struct Ring {
    bytes: VecDeque<u8>,
    /// Offset of the first byte that is still here.
    base: u64,
    capacity: usize,
}

impl Ring {
    /// Holds at most `capacity` bytes; memory is taken as they come.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), base: 0, capacity }
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    /// The offset that the next byte will have.
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.capacity)..];
        // Room is made first, so that the buffer never grows beyond its capacity.
        let leaving = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..leaving);
        self.base += (leaving + bytes.len() - kept.len()) as u64;
        self.bytes.extend(kept);
    }

    /// At most `limit` bytes from `from` on; none outside of what is here.
    pub fn read(&self, from: u64, limit: usize) -> Bytes {
        let Some(skip) = from.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok()) else {
            return Bytes::new();
        };
        let until = self.bytes.len().min(skip.saturating_add(limit));
        if skip >= until {
            return Bytes::new();
        }
        let mut read = BytesMut::with_capacity(until - skip);
        let (front, back) = self.bytes.as_slices();
        read.extend_from_slice(&front[skip.min(front.len())..until.min(front.len())]);
        read.extend_from_slice(&back[skip.saturating_sub(front.len())..until.saturating_sub(front.len())]);
        read.freeze()
    }

    /// The oldest bytes, at most `limit`, in two parts.
    pub fn front(&self, limit: usize) -> [&[u8]; 2] {
        let (front, back) = self.bytes.as_slices();
        let first = limit.min(front.len());
        [&front[..first], &back[..(limit - first).min(back.len())]]
    }

    /// How many bytes pushing `more` puts out.
    pub fn leaving(&self, more: usize) -> usize {
        (self.bytes.len() + more).saturating_sub(self.capacity)
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the next byte would start a line.
    pub fn at_line_start(&self) -> bool {
        self.bytes.back().is_none_or(|&byte| byte == b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ring_is_the_streams_tail_at_its_offsets(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20), capacity in 1usize..64, from in 0u64..900, limit in 0usize..80) {
            let mut ring = Ring::new(capacity);
            let mut all = Vec::new();
            for chunk in &chunks {
                ring.push(chunk);
                all.extend_from_slice(chunk);
            }
            prop_assert_eq!(ring.end(), all.len() as u64);
            prop_assert_eq!(ring.base(), all.len().saturating_sub(capacity) as u64);
            let expected: &[u8] = match from >= ring.base() && from <= ring.end() {
                true => &all[from as usize..all.len().min(from as usize + limit)],
                false => &[],
            };
            prop_assert_eq!(&ring.read(from, limit)[..], expected);
        }
    }
}
