//! Attaching this terminal, or a pipe, to a session: a `tty.r1` client (and a plain ttyd one, where the session's
//! backend is a stock ttyd) that keeps its place across lost connections.
//!
//! Who does what: `link` is one WebSocket and `conversation` what is said on it; `place` knows what has been seen and
//! typed, and is pure, as is `lease`, which knows whose the keyboard is; `stay` carries it from one connection to the next; `keyboard`, `display`, `raw_mode` and `modes`
//! are the local end, which `client` sets up and puts back.

mod client;
mod conversation;
mod display;
mod input_log;
mod keyboard;
mod lease;
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

use session::Role;
use session::frames::{MAX_SIZE, Size};

/// How the local end behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// A terminal on both sides: raw mode, keys are forwarded, the detach key leaves.
    Terminal,
    /// Output only, with line ends as files have them; nothing is typed.
    Stream,
    /// Output only, every byte as the terminal was sent it, by somebody who only watches. With `follow` to the
    /// session's end, otherwise as much as there is on arrival.
    Log { follow: bool },
}

impl Local {
    /// What this process was started with. Without a terminal to type at there is nothing to put into raw mode, and
    /// without one to look at, typing would be blind.
    pub fn of_this_process() -> Self {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() { Self::Terminal } else { Self::Stream }
    }

    /// What this end may do. Whoever runs a command is its operator, also from where nothing can be typed: a session
    /// without an operator counts as idle.
    pub fn role(self) -> Role {
        match self {
            Self::Terminal | Self::Stream => Role::Operator,
            Self::Log { .. } => Role::Viewer,
        }
    }

    /// Whether a reader that is slow rather holds the program up than misses something, as with any pipe, and begins at
    /// the oldest output that is kept. A person at a terminal is shown the present instead.
    pub fn is_lossless(self) -> bool {
        self != Self::Terminal
    }

    /// The local terminal's size, when there is one.
    pub fn size(self) -> Option<Size> {
        if self != Self::Terminal {
            return None;
        }
        let (columns, rows) = crossterm::terminal::size().ok()?;
        Size { columns: columns.clamp(1, MAX_SIZE), rows: rows.clamp(1, MAX_SIZE) }.checked().ok()
    }
}
