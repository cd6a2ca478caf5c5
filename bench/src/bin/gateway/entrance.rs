//! How a connection gets in: freely, or with a one-time token each, drawn and signed before anything is measured.

use std::cell::RefCell;

use anyhow::{Context, Result};
use session::SessionId;

pub enum Entrance {
    /// A peer checks nothing.
    Open,
    /// Signed tokens of one session, each good once.
    Tokens { session: SessionId, unused: RefCell<Vec<String>> },
}

impl Entrance {
    /// The path and query of the next connection.
    pub fn path(&self) -> Result<String> {
        match self {
            Self::Open => Ok("/ws".to_owned()),
            Self::Tokens { session, unused } => {
                let token = unused.borrow_mut().pop().context("a token for each connection")?;
                Ok(format!("/ws/{session}?token={token}"))
            }
        }
    }

    /// Without a token: for who has a ticket.
    pub fn bare_path(&self) -> String {
        match self {
            Self::Open => "/ws".to_owned(),
            Self::Tokens { session, .. } => format!("/ws/{session}"),
        }
    }
}
