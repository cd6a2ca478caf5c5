//! Reading and writing columns: what the database's types mean in ours, and the rows that several files read.

use std::borrow::Cow;
use std::pin::pin;
use std::str::FromStr;

use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt;
use serde::Deserialize;
use session::frames::Wire;
use session::{Ended, RunnerId, SessionId};
use tokio::task::yield_now;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};
use uuid::Uuid;

use super::failure::{Attempt, Failure};
use crate::records::WatchedSpec;
use crate::{ActiveSession, Digest, RunnerRecord, RunnerState, SessionRecord, Time};

pub(super) const SESSION: &str = "id, api_key, spec, stage, wire, runner_id, epoch, created_at, started_at, ended_at, \
                                  expires_at, active_at, end_reason, exit_code, end_signal, end_message";

/// [`SESSION`] of the table that is called so in a statement.
pub(super) fn session_of(table: &str) -> String {
    SESSION.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", ")
}

/// [`read_active`]'s.
pub(super) const ACTIVE: &str = "id, spec, stage, wire, runner_id, epoch, expires_at, active_at";

pub(super) const RUNNER: &str = "id, state, session_id, address, handle, pool, created_at, seen_at";

/// Rows that are read before others have their turn: what comes from the network is looked for only then.
const IN_A_ROW: usize = 32;

pub(super) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// All rows of a query.
pub(super) async fn all<T>(
    db: &ClientWrapper,
    sql: &str,
    params: Params<'_>,
    read: impl Fn(&Row) -> Attempt<T>,
) -> Attempt<Vec<T>> {
    let statement = db.prepare_cached(sql).await?;
    // Each is read as it comes: there may be many.
    let mut rows = pin!(db.query_raw(&statement, params.iter().copied()).await?);
    let mut all = Vec::new();
    while let Some(row) = rows.try_next().await? {
        all.push(read(&row)?);
        if all.len() % IN_A_ROW == 0 {
            yield_now().await;
        }
    }
    Ok(all)
}

/// The first row of a query, if there is one.
pub(super) async fn first<T>(
    db: &ClientWrapper,
    sql: &str,
    params: Params<'_>,
    read: impl Fn(&Row) -> Attempt<T>,
) -> Attempt<Option<T>> {
    let statement = db.prepare_cached(sql).await?;
    db.query(&statement, params).await?.first().map(read).transpose()
}

/// Runs a statement; answers how many rows it changed.
pub(super) async fn execute(db: &ClientWrapper, sql: &str, params: Params<'_>) -> Attempt<u64> {
    let statement = db.prepare_cached(sql).await?;
    Ok(db.execute(&statement, params).await?)
}

/// An id as a column has it.
pub(super) fn uuid(id: impl Into<Uuid>) -> Uuid {
    id.into()
}

/// PostgreSQL's text holds every character but NUL, which others may send us.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

pub(super) async fn session(db: &ClientWrapper, id: SessionId) -> Attempt<Option<SessionRecord>> {
    first(db, &format!("SELECT {SESSION} FROM sessions WHERE id = $1"), &[&uuid(id)], read_session).await
}

/// The session, which no other transaction changes before this one ends.
pub(super) async fn locked_session(db: &ClientWrapper, id: SessionId) -> Attempt<Option<SessionRecord>> {
    let sql = format!("SELECT {SESSION} FROM sessions WHERE id = $1 FOR NO KEY UPDATE");
    first(db, &sql, &[&uuid(id)], read_session).await
}

/// A session that this transaction has just seen or written.
pub(super) async fn known_session(db: &ClientWrapper, id: SessionId) -> Attempt<SessionRecord> {
    let session = session(db, id).await?;
    session.ok_or_else(|| Failure::Corrupt("sessions.id", "a row that must be there is not".to_owned()))
}

pub(super) async fn runner(db: &ClientWrapper, id: RunnerId) -> Attempt<Option<RunnerRecord>> {
    first(db, &format!("SELECT {RUNNER} FROM runners WHERE id = $1"), &[&uuid(id)], read_runner).await
}

pub(super) fn read_active(row: &Row) -> Attempt<ActiveSession> {
    let WatchedSpec { idle_secs } = spec(row)?;
    Ok(ActiveSession {
        id: id(row, "id")?,
        stage: word(row, "stage")?,
        wire: wire(row)?,
        runner: maybe_id(row, "runner_id")?,
        epoch: epoch(row)?,
        expires_at: time(row, "expires_at")?,
        active_at: time(row, "active_at")?,
        idle_secs,
    })
}

fn spec<'r, T: Deserialize<'r>>(row: &'r Row) -> Attempt<T> {
    let spec: &str = row.try_get("spec")?;
    serde_json::from_str(spec).map_err(|error| Failure::Corrupt("sessions.spec", error.to_string()))
}

pub(super) fn read_session(row: &Row) -> Attempt<SessionRecord> {
    Ok(SessionRecord {
        id: id(row, "id")?,
        spec: spec(row)?,
        stage: word(row, "stage")?,
        ended: read_ended(row)?,
        api_key: id(row, "api_key")?,
        created_at: time(row, "created_at")?,
        started_at: maybe_time(row, "started_at")?,
        ended_at: maybe_time(row, "ended_at")?,
        expires_at: time(row, "expires_at")?,
        wire: wire(row)?,
        runner: maybe_id(row, "runner_id")?,
        epoch: epoch(row)?,
        active_at: time(row, "active_at")?,
    })
}

pub(super) fn read_ended(row: &Row) -> Attempt<Option<Ended>> {
    let reason: Option<&str> = row.try_get("end_reason")?;
    let Some(reason) = reason else { return Ok(None) };
    Ok(Some(Ended {
        reason: parsed(reason, "sessions.end_reason")?,
        exit_code: column(row, "exit_code")?,
        signal: column(row, "end_signal")?,
        message: column(row, "end_message")?,
    }))
}

pub(super) fn read_runner(row: &Row) -> Attempt<RunnerRecord> {
    Ok(RunnerRecord {
        id: id(row, "id")?,
        state: runner_state(row)?,
        session: maybe_id(row, "session_id")?,
        address: column(row, "address")?,
        handle: column(row, "handle")?,
        pool: column(row, "pool")?,
        created_at: time(row, "created_at")?,
        seen_at: maybe_time(row, "seen_at")?,
    })
}

fn runner_state(row: &Row) -> Attempt<RunnerState> {
    let text: &str = row.try_get("state")?;
    let state = RunnerState::ALL.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| Failure::Corrupt("runners.state", format!("{text:?}")))
}

pub(super) fn wire(row: &Row) -> Attempt<Wire> {
    let text: &str = row.try_get("wire")?;
    Wire::of(text).ok_or_else(|| Failure::Corrupt("sessions.wire", format!("{text:?}")))
}

pub(super) fn epoch(row: &Row) -> Attempt<u64> {
    let epoch: i64 = row.try_get("epoch")?;
    u64::try_from(epoch).map_err(|error| Failure::Corrupt("sessions.epoch", error.to_string()))
}

/// A column that needs no interpretation.
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, name: &'static str) -> Attempt<T> {
    Ok(row.try_get(name)?)
}

pub(super) fn id<T: From<Uuid>>(row: &Row, name: &'static str) -> Attempt<T> {
    Ok(column::<Uuid>(row, name)?.into())
}

pub(super) fn maybe_id<T: From<Uuid>>(row: &Row, name: &'static str) -> Attempt<Option<T>> {
    Ok(column::<Option<Uuid>>(row, name)?.map(T::from))
}

/// A member of a closed set.
pub(super) fn word<T: FromStr<Err: std::fmt::Display>>(row: &Row, name: &'static str) -> Attempt<T> {
    parsed(column(row, name)?, name)
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str, name: &'static str) -> Attempt<T> {
    text.parse().map_err(|error: T::Err| Failure::Corrupt(name, error.to_string()))
}

pub(super) fn digest(row: &Row, name: &'static str) -> Attempt<Digest> {
    let digest = maybe_digest(row, name)?;
    digest.ok_or_else(|| Failure::Corrupt(name, "is not there".to_owned()))
}

pub(super) fn maybe_digest(row: &Row, name: &'static str) -> Attempt<Option<Digest>> {
    let bytes: Option<&[u8]> = row.try_get(name)?;
    let digest = bytes.map(|bytes| bytes.try_into().map(Digest)).transpose();
    digest.map_err(|_| Failure::Corrupt(name, "is no SHA-256 digest".to_owned()))
}

pub(super) fn time(row: &Row, name: &'static str) -> Attempt<Time> {
    moment(name, column(row, name)?)
}

pub(super) fn maybe_time(row: &Row, name: &'static str) -> Attempt<Option<Time>> {
    column::<Option<i64>>(row, name)?.map(|millis| moment(name, millis)).transpose()
}

fn moment(name: &'static str, millis: i64) -> Attempt<Time> {
    Time::from_millisecond(millis).map_err(|error| Failure::Corrupt(name, error.to_string()))
}

/// The moment a duration before `now`, in milliseconds; a duration without end reaches back for ever.
pub(super) fn millis_before(now: Time, duration: std::time::Duration) -> i64 {
    now.as_millisecond().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
