//! Migrations on a SQLite file, blocking. Its write lock is the lock: a run that finds another one's work instead of
//! what it read before looks again.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use tokio::time::Instant;

use super::error::{MigrateError, Result, cause, chain};
use super::history::{self, Applied, State, Status};
use super::{Report, Scripts, pause, pauses};
use crate::sqlite::failure::{Failure, is_passing};
use crate::sqlite::open;

/// Runs `attempt` on a thread that may block, again while it is locked out, until `wait` is over.
pub(super) async fn patiently<T: Send + 'static>(
    wait: Duration,
    attempt: impl Fn() -> Result<T> + Clone + Send + 'static,
) -> Result<T> {
    let deadline = Instant::now() + wait;
    let mut pauses = pauses();
    loop {
        let outcome = tokio::task::spawn_blocking(attempt.clone())
            .await
            .map_err(|_| MigrateError::Database("migrating panicked".to_owned()))?;
        match outcome {
            Err(error @ MigrateError::Locked(_)) => {
                if !pause(&mut pauses, deadline).await {
                    return Err(error);
                }
            }
            outcome => return outcome,
        }
    }
}

/// Changes nothing: where there is no file, there will be none, and everything is pending.
pub(super) fn status_at(path: &Path, scripts: &Scripts) -> Result<Status> {
    if !path.exists() {
        return Status::new(scripts, &[]);
    }
    status(&open::reader(path).map_err(|failure| failed(path, failure))?, scripts)
}

pub(super) fn up_at(path: &Path, scripts: &Scripts) -> Result<Report> {
    up(&mut writer(path)?, scripts)
}

pub(super) fn rollback_at(path: &Path, scripts: &Scripts) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    rollback(&mut writer(path)?, scripts)
}

fn writer(path: &Path) -> Result<Connection> {
    // Nobody makes a folder or gives a right while we wait.
    open::create_private(path).map_err(|error| MigrateError::Database(format!("{}: {error}", path.display())))?;
    open::writer(path).map_err(|failure| failed(path, failure))
}

fn failed(path: &Path, failure: Failure) -> MigrateError {
    match failure {
        Failure::Sql(error) => sql(&format!("opening {}", path.display()))(error),
        other => MigrateError::Database(other.during(&format!("opening {}", path.display())).to_string()),
    }
}

fn sql(operation: &str) -> impl Fn(rusqlite::Error) -> MigrateError {
    move |error| judge(operation, &error)
}

fn judge(operation: &str, error: &rusqlite::Error) -> MigrateError {
    let text = format!("{operation}: {error}");
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MigrateError::Locked(text),
        _ if is_passing(error) => MigrateError::Unavailable(text),
        _ => MigrateError::Database(text),
    }
}

fn status(db: &Connection, scripts: &Scripts) -> Result<Status> {
    Status::new(scripts, &history(db)?)
}

fn history(db: &Connection) -> Result<Vec<Applied>> {
    let failed = sql("reading the migrations' history");
    let exists = db.query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [history::TABLE], |_| Ok(()));
    if exists.optional().map_err(&failed)?.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = db.prepare(history::SELECT).map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut applied = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let read = || Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?));
        let (version, name, at, checksum) =
            read().map_err(|error: rusqlite::Error| MigrateError::History(error.to_string()))?;
        applied.push(Applied::new(version, name, &at, &checksum)?);
    }
    Ok(applied)
}

/// Applies what is pending, in one transaction. `db` takes the write lock as a transaction begins.
pub(crate) fn up(db: &mut Connection, scripts: &Scripts) -> Result<Report> {
    without_foreign_keys(db, |db| {
        loop {
            let before = history(db)?;
            let status = Status::new(scripts, &before)?;
            status.check(scripts)?;
            let newer = status.titles(State::Newer);
            let pending = status.titles(State::Pending);
            if pending.is_empty() {
                return Ok(Report { applied: pending, newer });
            }
            match scripts.runner()?.run(db) {
                Ok(report) => {
                    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
                    return Ok(Report { applied, newer });
                }
                // Another process was quicker. The history's primary key let only one of us commit.
                Err(_) if history(db)? != before => {}
                Err(error) => return Err(refused(&pending, &error)),
            }
        }
    })
}

/// Names what was being applied: in one transaction, refinery does not tell which script failed.
fn refused(pending: &[String], error: &refinery::Error) -> MigrateError {
    let operation = format!("applying {}", pending.join(", "));
    match cause::<rusqlite::Error>(error) {
        Some(error) => judge(&operation, error),
        None => MigrateError::Database(format!("{operation}: {}", chain(error))),
    }
}

fn rollback(db: &mut Connection, scripts: &Scripts) -> Result<Option<String>> {
    without_foreign_keys(db, |db| {
        let failed = sql("rolling back");
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let Some(script) = history::last(scripts, &history(&transaction)?)? else { return Ok(None) };
        let title = script.title();
        let operation = format!("rolling back {title}");
        let failed = sql(&operation);
        transaction.execute_batch(script.undo).map_err(&failed)?;
        let delete = format!("DELETE FROM {} WHERE version = ?1", history::TABLE);
        transaction.execute(&delete, [script.version]).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(Some(title))
    })
}

/// SQLite changes some things of a table only by building it anew and dropping the old one, and while foreign keys are
/// enforced that deletes all that refers to it. The setting cannot be changed inside a transaction.
fn without_foreign_keys<T>(db: &mut Connection, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
    let failed = sql("setting foreign_keys");
    let enforced: bool = db.pragma_query_value(None, "foreign_keys", |row| row.get(0)).map_err(&failed)?;
    db.pragma_update(None, "foreign_keys", false).map_err(&failed)?;
    let outcome = work(db);
    db.pragma_update(None, "foreign_keys", enforced).map_err(&failed)?;
    outcome
}
