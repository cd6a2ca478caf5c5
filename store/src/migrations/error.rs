//! What can go wrong with the schema, in words for whoever runs the migrations.

use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::StoreError;

pub type Result<T> = std::result::Result<T, MigrateError>;

/// Why the schema could not be brought where it should be. Unless it says otherwise nothing was changed, since every
/// run is one transaction.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Away, busy or locked: may work later.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// Another migration runs, or somebody else's transaction holds what this one needs: may work later.
    #[error("database locked: {0}")]
    Locked(String),
    /// The connection was lost while a rollback was being committed.
    #[error("the connection was lost: whether {0} was taken back shows `cliscale-controller migrate status`")]
    Unknown(String),
    /// A statement failed. It will fail again.
    #[error("database error: {0}")]
    Database(String),
    /// The history does not hold what it should.
    #[error("the migrations' history cannot be read: {0}")]
    History(String),
    /// This program's migration is not the one that was applied.
    #[error(
        "{applied} was applied, but is not the {own} that this program has: its name or text was changed after it was applied"
    )]
    Differs { applied: String, own: String },
    /// Applying it now would change the order.
    #[error("{skipped} was never applied, though the later {later} was")]
    Skipped { skipped: String, later: String },
    /// Only what applied it can take it back.
    #[error("{0} was applied by a newer release, and only that has its undo: roll back with it")]
    NoUndo(String),
    /// A server needs what is not there yet.
    #[error("the database's schema is too old: {0} to be applied; run `cliscale-controller migrate up`")]
    Behind(String),
}

impl MigrateError {
    /// Whether the same may work later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Locked(_))
    }
}

/// Of the connection that a migration needs.
impl From<StoreError> for MigrateError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::Database(text) => Self::Database(text),
            other => Self::Database(other.to_string()),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Unavailable(text) | MigrateError::Locked(text) => Self::Unavailable(text),
            MigrateError::Database(text) => Self::Database(text),
            other => Self::Database(other.to_string()),
        }
    }
}

/// What a statement's failure means for the migration that it was part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody else had a lock for too long; the connection is as good as before.
    Blocked,
    /// The database is away, or has no room for us.
    Away,
    Wrong,
}

pub(super) fn kind_of_postgres(error: &tokio_postgres::Error) -> Kind {
    let Some(code) = error.code() else {
        // No answer of the server's: the connection is broken, unless this program misused it.
        let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
        return if io || error.is_closed() { Kind::Away } else { Kind::Wrong };
    };
    let blocked = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
    // Read-only: a standby that may be about to be promoted.
    let away = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    // Classes 08 and 53: connection exceptions, and insufficient resources.
    match code {
        code if blocked.contains(code) => Kind::Blocked,
        code if away.contains(code) || matches!(code.code().get(..2), Some("08" | "53")) => Kind::Away,
        _ => Kind::Wrong,
    }
}

/// The server's message and code. Its details stay out: they may hold values of rows.
pub(super) fn text_of_postgres(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
        None => chain(error),
    }
}

/// An error with all that caused it.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The first of an error and its causes that is a `T`.
pub(super) fn cause<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        error = this.source();
    }
    None
}
