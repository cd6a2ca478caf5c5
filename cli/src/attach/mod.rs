//! Attaching this terminal, or a pipe, to a session: a `tty.r1` client (and a plain ttyd one, where the session's
//! backend is a stock ttyd) that keeps its place across lost connections.
//!
//! Who does what: `link` is one WebSocket and `conversation` what is said on it; `place` knows what has been seen and
//! typed, and is pure; `stay` carries it from one connection to the next; `keyboard`, `display`, `raw_mode` and `modes`
//! are the local end, which `client` sets up and puts back.

mod client;
mod conversation;
mod display;
mod input_log;
mod keyboard;
mod link;
mod modes;
mod place;
mod raw_mode;
mod stay;
mod stop;

pub use client::{Attach, AttachError, Outcome, attach};
pub use keyboard::DETACH_NAME;
pub use stay::ended_as;
pub use stop::{StopSignals, Stopped};

use std::io::IsTerminal;

use session::frames::{MAX_SIZE, Size};

/// How the local end behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// A terminal on both sides: raw mode, keys are forwarded, the detach key leaves.
    Terminal,
    /// Output only, with line ends as files have them; nothing is typed.
    Stream,
}

impl Local {
    /// What this process was started with. Without a terminal to type at there is nothing to put into raw mode, and
    /// without one to look at, typing would be blind.
    pub fn of_this_process() -> Self {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() { Self::Terminal } else { Self::Stream }
    }

    /// The local terminal's size, when there is one.
    pub fn size(self) -> Option<Size> {
        if self == Self::Stream {
            return None;
        }
        let (columns, rows) = crossterm::terminal::size().ok()?;
        Size { columns: columns.clamp(1, MAX_SIZE), rows: rows.clamp(1, MAX_SIZE) }.checked().ok()
    }
}
