//! Reading and writing columns: what the database's types mean in ours, and the rows that several files read.

use std::str::FromStr;

use rusqlite::{Connection, Params, Row};
use serde::de::DeserializeOwned;
use session::frames::Wire;
use session::{Ended, RunnerId, SessionId};

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

/// All rows of a query.
pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Attempt<T>,
) -> Attempt<Vec<T>> {
    db.prepare_cached(sql)?.query_and_then(params, read)?.collect()
}

/// The first row of a query, if there is one.
pub(super) fn first<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Attempt<T>,
) -> Attempt<Option<T>> {
    db.prepare_cached(sql)?.query_and_then(params, read)?.next().transpose()
}

/// Runs a statement; answers how many rows it changed.
pub(super) fn execute(db: &Connection, sql: &str, params: impl Params) -> Attempt<usize> {
    Ok(db.prepare_cached(sql)?.execute(params)?)
}

pub(super) fn session(db: &Connection, id: SessionId) -> Attempt<Option<SessionRecord>> {
    first(db, &format!("SELECT {SESSION} FROM sessions WHERE id = ?1"), [id.to_string()], read_session)
}

/// A session that this transaction has just seen or written.
pub(super) fn known_session(db: &Connection, id: SessionId) -> Attempt<SessionRecord> {
    session(db, id)?.ok_or_else(|| Failure::Corrupt("sessions.id", "a row that must be there is not".to_owned()))
}

pub(super) fn runner(db: &Connection, id: RunnerId) -> Attempt<Option<RunnerRecord>> {
    first(db, &format!("SELECT {RUNNER} FROM runners WHERE id = ?1"), [id.to_string()], read_runner)
}

pub(super) fn read_active(row: &Row<'_>) -> Attempt<ActiveSession> {
    let WatchedSpec { idle_secs } = spec(row)?;
    Ok(ActiveSession {
        id: word(row, "id")?,
        stage: word(row, "stage")?,
        wire: wire(row)?,
        runner: maybe_word(row, "runner_id")?,
        epoch: epoch(row)?,
        expires_at: time(row, "expires_at")?,
        active_at: time(row, "active_at")?,
        idle_secs,
    })
}

fn spec<T: DeserializeOwned>(row: &Row<'_>) -> Attempt<T> {
    let spec: String = row.get("spec")?;
    serde_json::from_str(&spec).map_err(|error| Failure::Corrupt("sessions.spec", error.to_string()))
}

pub(super) fn read_session(row: &Row<'_>) -> Attempt<SessionRecord> {
    Ok(SessionRecord {
        id: word(row, "id")?,
        spec: spec(row)?,
        stage: word(row, "stage")?,
        ended: read_ended(row)?,
        api_key: word(row, "api_key")?,
        created_at: time(row, "created_at")?,
        started_at: maybe_time(row, "started_at")?,
        ended_at: maybe_time(row, "ended_at")?,
        expires_at: time(row, "expires_at")?,
        wire: wire(row)?,
        runner: maybe_word(row, "runner_id")?,
        epoch: epoch(row)?,
        active_at: time(row, "active_at")?,
    })
}

pub(super) fn read_ended(row: &Row<'_>) -> Attempt<Option<Ended>> {
    let Some(reason) = maybe_word(row, "end_reason")? else { return Ok(None) };
    Ok(Some(Ended {
        reason,
        exit_code: row.get("exit_code")?,
        signal: row.get("end_signal")?,
        message: row.get("end_message")?,
    }))
}

pub(super) fn read_runner(row: &Row<'_>) -> Attempt<RunnerRecord> {
    Ok(RunnerRecord {
        id: word(row, "id")?,
        state: runner_state(row)?,
        session: maybe_word(row, "session_id")?,
        address: row.get("address")?,
        handle: row.get("handle")?,
        pool: row.get("pool")?,
        created_at: time(row, "created_at")?,
        seen_at: maybe_time(row, "seen_at")?,
    })
}

pub(super) fn runner_state(row: &Row<'_>) -> Attempt<RunnerState> {
    let text: String = row.get("state")?;
    let state = RunnerState::ALL.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| Failure::Corrupt("runners.state", format!("{text:?}")))
}

pub(super) fn wire(row: &Row<'_>) -> Attempt<Wire> {
    let text: String = row.get("wire")?;
    Wire::of(&text).ok_or_else(|| Failure::Corrupt("sessions.wire", format!("{text:?}")))
}

pub(super) fn epoch(row: &Row<'_>) -> Attempt<u64> {
    let epoch: i64 = row.get("epoch")?;
    u64::try_from(epoch).map_err(|error| Failure::Corrupt("sessions.epoch", error.to_string()))
}

/// An id, or a member of a closed set.
pub(super) fn word<T: FromStr>(row: &Row<'_>, column: &'static str) -> Attempt<T>
where
    T::Err: std::fmt::Display,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| Failure::Corrupt(column, error.to_string()))
}

pub(super) fn maybe_word<T: FromStr>(row: &Row<'_>, column: &'static str) -> Attempt<Option<T>>
where
    T::Err: std::fmt::Display,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error: T::Err| Failure::Corrupt(column, error.to_string()))).transpose()
}

pub(super) fn digest(row: &Row<'_>, column: &'static str) -> Attempt<Digest> {
    Ok(Digest(row.get(column)?))
}

pub(super) fn time(row: &Row<'_>, column: &'static str) -> Attempt<Time> {
    moment(column, row.get(column)?)
}

pub(super) fn maybe_time(row: &Row<'_>, column: &'static str) -> Attempt<Option<Time>> {
    let millis: Option<i64> = row.get(column)?;
    millis.map(|millis| moment(column, millis)).transpose()
}

fn moment(column: &'static str, millis: i64) -> Attempt<Time> {
    Time::from_millisecond(millis).map_err(|error| Failure::Corrupt(column, error.to_string()))
}

/// The moment a duration before `now`, in milliseconds; a duration without end reaches back for ever.
pub(super) fn millis_before(now: Time, duration: std::time::Duration) -> i64 {
    now.as_millisecond().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
