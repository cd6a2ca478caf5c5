//! What can go wrong inside a piece of database work, before it is known which operation it was part of, and which of
//! it may be tried again.

use std::error::Error as _;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use super::tls::TlsError;
use crate::{SealError, StoreError};

/// The outcome of a piece of work.
pub(super) type Attempt<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub(super) enum Failure {
    /// No connection was made.
    Connect(tokio_postgres::Error),
    /// Something took longer than we wait.
    Unanswered(&'static str),
    Sql(tokio_postgres::Error),
    /// The connection broke after COMMIT was sent and before its answer came.
    CommitUnknown(tokio_postgres::Error),
    /// The server is a standby, which takes no writes.
    Standby,
    Tls(TlsError),
    /// A column holds what it never should: its name, and what was wrong. Never the value of a sealed column.
    Corrupt(&'static str, String),
    Seal(SealError),
    /// The caller asked for what the store never does.
    Misuse(&'static str),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Unanswered("no connection became free in time"),
            PoolError::Timeout(_) => Self::Unanswered("no connection was made in time"),
            PoolError::Backend(error) => Self::Connect(error),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::Misuse("the pool of connections is closed")
            }
        }
    }
}

impl Failure {
    /// Whether the work may be done once more, since nothing of it was committed. `repeatable` work also when that is
    /// not known.
    pub(super) fn may_be_tried_again(&self, repeatable: bool) -> bool {
        match self {
            Self::Sql(error) => is_lost(error) || is_conflict(error) || is_stale_plan(error),
            Self::CommitUnknown(_) => repeatable,
            _ => false,
        }
    }

    /// Whether the connection is of no more use: broken, to a server that no longer takes writes, or with plans made for
    /// another schema.
    pub(super) fn spoils_connection(&self) -> bool {
        match self {
            Self::Sql(error) => is_lost(error) || is_stale_plan(error) || is_read_only(error),
            Self::CommitUnknown(_) | Self::Unanswered(_) | Self::Standby => true,
            _ => false,
        }
    }

    /// Names the operation, and sorts what may work later from what will not.
    pub(super) fn during(self, operation: &str) -> StoreError {
        let (passing, text) = match self {
            Self::Connect(error) => (may_connect_later(&error), describe(&error)),
            Self::Unanswered(what) => (true, what.to_owned()),
            Self::Sql(error) => (is_passing(&error), describe(&error)),
            Self::CommitUnknown(error) => {
                (true, format!("whether it was committed is not known: {}", describe(&error)))
            }
            Self::Standby => (true, "the database is a standby, which takes no writes".to_owned()),
            Self::Tls(error) => (false, error.to_string()),
            Self::Corrupt(column, what) => return StoreError::Corrupt(format!("{operation}: {column}: {what}")),
            Self::Seal(error) => return StoreError::Seal(error),
            Self::Misuse(what) => (false, what.to_owned()),
        };
        let text = format!("{operation}: {text}");
        if passing { StoreError::Unavailable(text) } else { StoreError::Database(text) }
    }
}

/// The connection is no more, and a transaction that was open on it with it.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // Somebody ended the session, or the server itself; 57P05 and 25P03 are its own timeouts for idle ones.
        Some(code) => code.code().starts_with("08") || code.code().starts_with("57P") || code.code() == "25P03",
        None => error.is_closed() || io_cause(error).is_some(),
    }
}

/// A deadlock, or another transaction came first: undone by the server, to be tried again.
fn is_conflict(error: &tokio_postgres::Error) -> bool {
    [Some(&SqlState::T_R_SERIALIZATION_FAILURE), Some(&SqlState::T_R_DEADLOCK_DETECTED)].contains(&error.code())
}

/// A migration changed a table under a statement that was prepared before it.
fn is_stale_plan(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.message().contains("cached plan")
    })
}

/// A standby, or a primary that was stepped down.
fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

fn is_passing(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return is_lost(error) };
    // Resources; operators and timeouts; the system under the server.
    let class = ["53", "57", "58"].iter().any(|class| code.code().starts_with(class));
    class || is_lost(error) || is_conflict(error) || is_read_only(error) || *code == SqlState::LOCK_NOT_AVAILABLE
}

fn may_connect_later(error: &tokio_postgres::Error) -> bool {
    // What TLS, credentials and names are about, only somebody's hand changes.
    match io_cause(error) {
        Some(cause) => !cause.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        None => is_passing(error),
    }
}

fn io_cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source().and_then(|cause| cause.downcast_ref::<io::Error>())
}

/// What the server or the system says, without the values: those are in a server's `DETAIL`, which is left out.
fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => {
            let constraint = db.constraint().map(|name| format!(", constraint {name}")).unwrap_or_default();
            format!("{} (SQLSTATE {}{constraint})", db.message(), db.code().code())
        }
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
