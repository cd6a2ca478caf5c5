//! What was typed and is not known to have arrived. Pure.
//!
//! Input has offsets, so that after a lost connection exactly the unseen rest is sent again: no key twice, none lost.

use bytes::{Buf, Bytes, BytesMut};

#[derive(Debug, Default)]
pub struct InputLog {
    /// The offset of the first byte in `waiting`: everything before it was accepted.
    accepted: u64,
    waiting: BytesMut,
}

impl InputLog {
    /// Notes that `bytes` are typed; answers the offset to send them at.
    pub fn typed(&mut self, bytes: &[u8]) -> u64 {
        let at = self.end();
        self.waiting.extend_from_slice(bytes);
        at
    }

    /// The server has accepted everything before `offset`.
    pub fn accepted(&mut self, offset: u64) {
        let seen = offset.saturating_sub(self.accepted).min(self.waiting.len() as u64);
        self.waiting.advance(seen as usize);
        self.accepted += seen;
    }

    /// A connection begins, on which the server counts from `offset`. With `same` the offset belongs to our own
    /// stream of input, and the answer is what it has not seen. Otherwise it counts for a new client: whether the
    /// waiting bytes arrived cannot be known, and since a command that is typed twice does more harm than one that is
    /// not, they are dropped.
    pub fn resume(&mut self, offset: u64, same: bool) -> Option<(u64, Bytes)> {
        if same && (self.accepted..=self.end()).contains(&offset) {
            self.accepted(offset);
        } else {
            self.waiting.clear();
            self.accepted = offset;
        }
        (!self.waiting.is_empty()).then(|| (self.accepted, Bytes::copy_from_slice(&self.waiting)))
    }

    /// Bytes that may have to be sent again.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The offset after all that was typed.
    pub fn end(&self) -> u64 {
        self.accepted + self.waiting.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_lost_connection_exactly_the_unseen_rest_is_sent_again() {
        let mut log = InputLog::default();
        assert_eq!(log.resume(0, false), None);
        assert_eq!(log.typed(b"make "), 0);
        assert_eq!(log.typed(b"test\r"), 5);
        log.accepted(3);
        assert_eq!(log.resume(7, true), Some((7, Bytes::from_static(b"st\r"))));
        log.accepted(10);
        assert_eq!((log.waiting(), log.end()), (0, 10));
        assert_eq!(log.resume(10, true), None);
    }

    #[test]
    fn a_new_client_starts_over_and_repeats_nothing() {
        let mut log = InputLog::default();
        log.typed(b"rm x\r");
        assert_eq!(log.resume(0, false), None);
        assert_eq!(log.typed(b"y"), 0);
    }

    #[test]
    fn an_offset_that_was_never_sent_moves_the_log_there() {
        let mut log = InputLog::default();
        log.typed(b"ab");
        assert_eq!(log.resume(90, true), None);
        assert_eq!(log.typed(b"c"), 90);
        log.accepted(10);
        assert_eq!(log.waiting(), 1);
    }
}
