//! A connection while one operation has it.

use std::ops::Deref;
use std::sync::Arc;

use deadpool_postgres::{ClientWrapper, Object};
use session::SessionId;

use crate::SealKey;

/// Goes back to the pool when it is dropped, unless it is in the middle of a transaction or was found to be of no more
/// use: then it is closed, by which the server undoes what was not committed.
pub(super) struct Lease {
    /// There until this is dropped.
    connection: Option<Object>,
    pub(super) key: Arc<SealKey>,
    /// [`super::notices::draw_origin`]
    pub(super) origin: Arc<str>,
    /// The sessions that the operation changes.
    pub(super) changed: Vec<SessionId>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The next one may have it.
    Clean,
    InTransaction,
    /// COMMIT was sent, and not answered.
    Committing,
    Spoilt,
}

impl Lease {
    pub(super) fn new(connection: Object, key: Arc<SealKey>, origin: Arc<str>) -> Self {
        Self { connection: Some(connection), key, origin, changed: Vec::new(), state: State::Clean }
    }
}

impl Deref for Lease {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        // Only taken by `drop`.
        self.connection.as_ref().expect("a connection until the end")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.state != State::Clean
            && let Some(connection) = self.connection.take()
        {
            drop(Object::take(connection));
        }
    }
}
