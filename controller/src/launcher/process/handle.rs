//! By what a process is recognised for certain: its id alone is given again to others, but never with the same start
//! time in the same boot of the machine.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process, in all time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub pid: i32,
    /// Clock ticks from the machine's boot to the process's start; 0 where the system does not tell.
    pub start: u64,
    /// Which boot that was; empty where the system does not tell.
    pub boot: String,
}

impl Handle {
    /// Whether the process still exists, even as one that was not reaped yet.
    pub fn exists(&self) -> bool {
        *self == super::tree::handle_of(self.pid)
    }

    /// Sends a signal, unless the id is another process's by now.
    pub fn signal(&self, signal: Signal) {
        if self.exists() {
            // It may end at any moment, which is what it was asked for.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pid, self.start, self.boot)
    }
}

/// The text was not written by [`Handle`].
#[derive(Debug, thiserror::Error)]
#[error("not a process launcher's handle")]
pub(super) struct InvalidHandle;

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, InvalidHandle> {
        let mut parts = text.trim().splitn(3, '/');
        let mut part = || parts.next().ok_or(InvalidHandle);
        let pid = part()?.parse().map_err(|_| InvalidHandle)?;
        let start = part()?.parse().map_err(|_| InvalidHandle)?;
        let boot = part()?.to_owned();
        // Signals to 0 and to negative numbers mean whole groups, and 1 is init.
        if pid > 1 { Ok(Self { pid, start, boot }) } else { Err(InvalidHandle) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_survives_its_text_and_never_means_a_group() {
        let handle = Handle { pid: 77, start: 5, boot: "b-1".into() };
        assert_eq!(handle.to_string().parse::<Handle>().unwrap(), handle);
        for text in ["", "1/5/b", "-1/5/b", "0/5/b", "x/5/b", "7"] {
            assert!(text.parse::<Handle>().is_err(), "{text}");
        }
    }
}
