//! Keys from the local terminal. They are read by a thread of their own: standard input has no asynchronous form that
//! leaves a terminal as other programs expect it.

use std::io::Read;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

/// A key that is for us: as it is, under the kitty keyboard protocol (5 means Ctrl), and under xterm's modifyOtherKeys.
type Key = [&'static [u8]; 3];

/// Ctrl-].
const DETACH: Key = [b"\x1d", b"\x1b[93;5u", b"\x1b[27;5;93~"];
/// Ctrl-T. Only for us while somebody else has the keyboard, when no key is the program's.
const TAKE: Key = [b"\x14", b"\x1b[116;5u", b"\x1b[27;5;116~"];

/// What a person calls them.
pub const DETACH_NAME: &str = "Ctrl-]";
pub const TAKE_NAME: &str = "Ctrl-T";

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
        let detach = find(&DETACH, read).map(|(at, _)| at);
        let typed = &read[..detach.unwrap_or(read.len())];
        if !typed.is_empty() && matches!(keys.try_send(typed.to_vec()), Err(mpsc::error::TrySendError::Closed(_))) {
            return;
        }
        if detach.is_some() {
            return;
        }
    }
}

/// What was typed after the key that takes the keyboard over; `None` where that was not pressed.
pub fn after_take(typed: &[u8]) -> Option<&[u8]> {
    find(&TAKE, typed).map(|(_, end)| &typed[end..])
}

/// Where a key was pressed first, from and to. A terminal sends one key's bytes together, so no key is cut by the
/// buffer's end unless 4 KiB came at once, which is a paste.
fn find(key: &Key, typed: &[u8]) -> Option<(usize, usize)> {
    let position = |form: &[u8]| Some((typed.windows(form.len()).position(|window| window == form)?, form.len()));
    key.iter().filter_map(|form| position(form)).map(|(at, len)| (at, at + len)).min()
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
    fn the_key_that_takes_over_is_found_in_every_form_and_what_follows_is_kept() {
        assert_eq!(after_take(b"x\x14ls\r"), Some(&b"ls\r"[..]));
        assert_eq!(after_take(b"\x1b[116;5u"), Some(&b""[..]));
        assert_eq!(after_take(b"\x1b[27;5;116~y"), Some(&b"y"[..]));
        assert_eq!(after_take(b"\x1b[6;1Rt"), None);
    }

    #[test]
    fn every_other_key_is_forwarded_as_it_is() {
        let keys = b"\x03\x14\x04\x1a\x1c\x1b[A\x1b[93;2u\xc3\xa9";
        assert_eq!(typed(keys), keys);
    }
}
