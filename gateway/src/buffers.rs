//! Buffers for bytes that move. A connection has one only while it reads and writes, or while bytes wait that its other
//! side did not take; every thread keeps a few for all of its connections.

use std::cell::RefCell;

/// What one read can take. Larger ones save few calls, and a connection whose reader stalls holds one of them.
pub const SIZE: usize = 32 * 1024;
/// Spare ones of a thread: more are only in use while as many readers are slow.
const SPARE: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// One of [`SIZE`] bytes, with whatever its last user left in it.
pub fn take() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

/// For the next user on this thread.
pub fn give(buffer: Box<[u8]>) {
    POOL.with_borrow_mut(|pool| {
        if buffer.len() == SIZE && pool.len() < SPARE {
            pool.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_a_few_of_the_right_size() {
        for _ in 0..2 * SPARE {
            give(vec![0; SIZE].into_boxed_slice());
        }
        give(vec![0; 1].into_boxed_slice());
        assert_eq!(POOL.with_borrow(Vec::len), SPARE);
        assert!((0..2 * SPARE).all(|_| take().len() == SIZE));
    }
}
