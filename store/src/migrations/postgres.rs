//! Migrations on PostgreSQL, under an advisory lock that the session holds around all that refinery does.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_postgres::{Client, GenericClient};

use super::error::{Kind, MigrateError, Result, cause, chain, kind_of_postgres, text_of_postgres};
use super::history::{self, Applied, State, Status};
use super::{Limits, Report, Script, Scripts, pause, pauses};

/// One for each database: "cliscale" in ASCII. Locks of two integers, which the store may use, are other locks.
const LOCK: i64 = i64::from_be_bytes(*b"cliscale");

/// For what the server answers at once.
const ANSWER: Duration = Duration::from_secs(10);

/// What is done under the lock.
type Work<T> = for<'w> fn(&'w mut Client, &'w Scripts) -> BoxFuture<'w, Result<T>>;

pub(super) async fn status(client: &impl GenericClient, scripts: &Scripts) -> Result<Status> {
    Status::new(scripts, &history(client).await?)
}

/// What a server asks of the schema that it finds: nothing may be missing, but there may be more, since each release
/// runs on the next one's schema.
pub async fn require_current(client: &impl GenericClient) -> Result<()> {
    let status = status(client, &Scripts::postgres()).await?;
    let missing = [status.titles(State::Pending), status.titles(State::Skipped)].concat();
    for differs in status.titles(State::Differs) {
        tracing::warn!(migration = differs, "this migration was changed after it was applied");
    }
    if missing.is_empty() { Ok(()) } else { Err(MigrateError::Behind(missing.join(", "))) }
}

async fn history(client: &impl GenericClient) -> Result<Vec<Applied>> {
    let operation = "reading the migrations' history";
    let exists = "SELECT to_regclass($1) IS NOT NULL";
    let exists = answered(operation, client.query_one(exists, &[&history::TABLE])).await?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = answered(operation, client.query(history::SELECT, &[])).await?;
    let unreadable = |error: tokio_postgres::Error| MigrateError::History(chain(&error));
    let read = |row: &tokio_postgres::Row| {
        let at: String = row.try_get(2).map_err(unreadable)?;
        let checksum: String = row.try_get(3).map_err(unreadable)?;
        Applied::new(row.try_get(0).map_err(unreadable)?, row.try_get(1).map_err(unreadable)?, &at, &checksum)
    };
    rows.iter().map(read).collect()
}

/// Applies what is pending, in one transaction.
pub(super) async fn up(client: &mut Client, scripts: &Scripts, limits: Limits) -> Result<Report> {
    locked(client, scripts, limits, |client, scripts| Box::pin(apply(client, scripts))).await
}

pub(super) async fn rollback(client: &mut Client, scripts: &Scripts, limits: Limits) -> Result<Option<String>> {
    locked(client, scripts, limits, |client, scripts| Box::pin(take_back(client, scripts))).await
}

/// Runs `work` under the lock, again while a transaction of somebody else's stands in its way, until the time is over.
/// The lock ends with the session, however this ends.
async fn locked<T>(client: &mut Client, scripts: &Scripts, limits: Limits, work: Work<T>) -> Result<T> {
    let deadline = Instant::now() + limits.wait;
    prepare(client, limits).await?;
    lock(client, deadline).await?;
    let mut pauses = pauses();
    let outcome = loop {
        match work(client, scripts).await {
            Err(MigrateError::Locked(text)) => {
                tracing::warn!(reason = text, "a migration gave way to a lock, and will be tried again");
                if !pause(&mut pauses, deadline).await {
                    break Err(MigrateError::Locked(text));
                }
            }
            outcome => break outcome,
        }
    };
    if let Err(error) = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await {
        tracing::debug!(error = text_of_postgres(&error), "the lock goes with its session");
    }
    outcome
}

/// The session's settings. A client that vanishes must not keep the lock: the server looks for it while a statement
/// runs, between the statements of a transaction, and (keep-alive) while nothing is asked.
async fn prepare(client: &Client, limits: Limits) -> Result<()> {
    let settings = format!(
        "SET application_name = 'cliscale migrate'; SET lock_timeout = {}; SET statement_timeout = {};
         SET idle_in_transaction_session_timeout = '30s';
         SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3",
        limits.lock.as_millis(),
        limits.statement.as_millis(),
    );
    answered("preparing the session", client.batch_execute(&settings)).await?;
    // Not on every platform that PostgreSQL runs on.
    if let Err(error) = client.batch_execute("SET client_connection_check_interval = '1s'").await {
        tracing::debug!(error = text_of_postgres(&error), "the server cannot look for a vanished client");
    }
    Ok(())
}

/// Asks again and again instead of waiting inside the server: a statement that waits is a transaction that others (a
/// vacuum, an index that is built concurrently) would wait for.
async fn lock(client: &Client, deadline: Instant) -> Result<()> {
    let mut pauses = pauses();
    let mut told = false;
    loop {
        let row = answered("locking", client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])).await?;
        if row.get(0) {
            return Ok(());
        }
        if !told {
            tracing::info!("another migration is running; waiting for it");
            told = true;
        }
        if !pause(&mut pauses, deadline).await {
            return Err(MigrateError::Locked("another migration is still running".to_owned()));
        }
    }
}

async fn apply(client: &mut Client, scripts: &Scripts) -> Result<Report> {
    let status = status(client, scripts).await?;
    status.check(scripts)?;
    let (newer, pending) = (status.titles(State::Newer), status.titles(State::Pending));
    if !pending.is_empty() {
        scripts.runner()?.run_async(client).await.map_err(|error| refused(&pending, &error))?;
    }
    Ok(Report { applied: pending, newer })
}

/// Names what was being applied: in one transaction, refinery does not tell which script failed.
fn refused(pending: &[String], error: &refinery::Error) -> MigrateError {
    let operation = format!("applying {}", pending.join(", "));
    match cause::<tokio_postgres::Error>(error) {
        Some(error) => judge(&operation, error),
        None => MigrateError::Database(format!("{operation}: {}", chain(error))),
    }
}

async fn take_back(client: &mut Client, scripts: &Scripts) -> Result<Option<String>> {
    let Some(script) = history::last(scripts, &history(client).await?)? else { return Ok(None) };
    let operation = format!("rolling back {}", script.title());
    let transaction = client.transaction().await.map_err(sql(&operation))?;
    undo(&transaction, script).await.map_err(sql(&operation))?;
    match transaction.commit().await {
        Ok(()) => Ok(Some(script.title())),
        // Trying again could take back the one before it, too.
        Err(error) if kind_of_postgres(&error) == Kind::Away => Err(MigrateError::Unknown(script.title())),
        Err(error) => Err(judge(&operation, &error)),
    }
}

async fn undo(
    transaction: &tokio_postgres::Transaction<'_>,
    script: &Script,
) -> std::result::Result<(), tokio_postgres::Error> {
    transaction.batch_execute(script.undo).await?;
    let delete = format!("DELETE FROM {} WHERE version = $1", history::TABLE);
    transaction.execute(&delete, &[&script.version]).await?;
    Ok(())
}

/// The answer to something that takes no time, unless nobody is there any more.
async fn answered<T>(
    operation: &str,
    query: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    match tokio::time::timeout(ANSWER, query).await {
        Ok(answer) => answer.map_err(sql(operation)),
        Err(_) => Err(MigrateError::Unavailable(format!("{operation}: no answer for {} s", ANSWER.as_secs()))),
    }
}

fn sql(operation: &str) -> impl Fn(tokio_postgres::Error) -> MigrateError {
    move |error| judge(operation, &error)
}

fn judge(operation: &str, error: &tokio_postgres::Error) -> MigrateError {
    let text = format!("{operation}: {}", text_of_postgres(error));
    match kind_of_postgres(error) {
        Kind::Blocked => MigrateError::Locked(text),
        Kind::Away => MigrateError::Unavailable(text),
        Kind::Wrong => MigrateError::Database(text),
    }
}
