//! Keys from the local terminal. They are read by a thread of their own: standard input has no asynchronous form that
//! leaves a terminal as other programs expect it.

use std::io::Read;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

/// Ctrl-].
const DETACH: u8 = 0x1d;
/// The same key under the kitty keyboard protocol: `]` is 93, and 5 means Ctrl.
const DETACH_KITTY: &[u8] = b"\x1b[93;5u";
/// And under xterm's modifyOtherKeys.
const DETACH_XTERM: &[u8] = b"\x1b[27;5;93~";

/// What a person calls it.
pub const DETACH_NAME: &str = "Ctrl-]";

/// Reads of at most 4 KiB that may wait: as much as anybody pastes. What is typed beyond it while nobody takes it is
/// lost, so that the detach key always works.
const WAITING: usize = 2048;

pub struct Keyboard {
    pub keys: mpsc::Receiver<Vec<u8>>,
    /// Woken by the detach key, and when the terminal is gone.
    pub leave: Arc<Notify>,
}

impl Keyboard {
    /// No keys will ever come.
    pub fn silent() -> Self {
        let (sender, keys) = mpsc::channel(1);
        // Kept open for ever: a closed channel would be ready at once, again and again.
        std::mem::forget(sender);
        Self { keys, leave: Arc::new(Notify::new()) }
    }

    /// Starts to read. The thread ends with the process: a read of a terminal cannot be called back.
    pub fn start() -> Self {
        let (sender, keys) = mpsc::channel(WAITING);
        let leave = Arc::new(Notify::new());
        let told = Arc::clone(&leave);
        std::thread::spawn(move || {
            read_keys(std::io::stdin().lock(), &sender);
            told.notify_one();
        });
        Self { keys, leave }
    }
}

/// Until the detach key, the end of the terminal, or nobody listens.
fn read_keys(mut terminal: impl Read, keys: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        let read = match terminal.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let detach = detach_at(read);
        let typed = &read[..detach.unwrap_or(read.len())];
        if !typed.is_empty() && matches!(keys.try_send(typed.to_vec()), Err(mpsc::error::TrySendError::Closed(_))) {
            return;
        }
        if detach.is_some() {
            return;
        }
    }
}

/// Where the detach key was pressed. A terminal sends one key's bytes together, so no key is cut by the buffer's end
/// unless 4 KiB came at once, which is a paste.
fn detach_at(read: &[u8]) -> Option<usize> {
    let plain = read.iter().position(|&byte| byte == DETACH);
    let encoded = |key: &[u8]| read.windows(key.len()).position(|window| window == key);
    [plain, encoded(DETACH_KITTY), encoded(DETACH_XTERM)].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &[u8]) -> Vec<u8> {
        let (sender, mut keys) = mpsc::channel(10);
        read_keys(input, &sender);
        let mut all = Vec::new();
        while let Ok(some) = keys.try_recv() {
            all.extend(some);
        }
        all
    }

    #[test]
    fn the_detach_key_ends_reading_and_is_not_forwarded() {
        assert_eq!(typed(b"ls\r\x1dmore"), b"ls\r");
        assert_eq!(typed(b"a\x1b[93;5ub"), b"a");
        assert_eq!(typed(b"a\x1b[27;5;93~b"), b"a");
    }

    #[test]
    fn every_other_key_is_forwarded_as_it_is() {
        let keys = b"\x03\x04\x1a\x1c\x1b[A\x1b[93;2u\xc3\xa9";
        assert_eq!(typed(keys), keys);
    }
}
