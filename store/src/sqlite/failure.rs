//! What can go wrong inside a piece of database work, before it is known which operation it was part of.

use rusqlite::ErrorCode;

use crate::migrations::MigrateError;
use crate::{SealError, StoreError};

/// The outcome of a piece of work.
pub(crate) type Attempt<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    Sql(rusqlite::Error),
    Migration(MigrateError),
    /// A column holds what it never should: its name, and what was wrong. Never the value of a sealed column.
    Corrupt(&'static str, String),
    Seal(SealError),
    /// The caller asked for what the store never does.
    Misuse(&'static str),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl Failure {
    /// Names the operation, and sorts what may work later from what will not.
    pub(crate) fn during(self, operation: &str) -> StoreError {
        match self {
            Self::Sql(error) if is_passing(&error) => StoreError::Unavailable(format!("{operation}: {error}")),
            Self::Sql(error) => StoreError::Database(format!("{operation}: {error}")),
            Self::Migration(error) => match StoreError::from(error) {
                StoreError::Unavailable(text) => StoreError::Unavailable(format!("{operation}: {text}")),
                StoreError::Database(text) => StoreError::Database(format!("{operation}: {text}")),
                other => other,
            },
            Self::Corrupt(column, what) => StoreError::Corrupt(format!("{operation}: {column}: {what}")),
            Self::Seal(error) => StoreError::Seal(error),
            Self::Misuse(what) => StoreError::Database(format!("{operation}: {what}")),
        }
    }
}

pub(crate) fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
        )
    )
}
