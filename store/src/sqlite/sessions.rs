//! Reading, listing, advancing and ending sessions.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use session::{Ended, RunnerId, Secret, SessionId, Stage};

use super::failure::{Attempt, Failure};
use super::rows::{self, execute, first};
use super::{Write, runners};
use crate::{ActiveSession, Advance, EndOutcome, Extension, Filter, Route, SealKey, SessionRecord, Time};

/// Newest first: ids sort by the time they were drawn.
pub(super) fn list(db: &Connection, filter: &Filter) -> Attempt<Vec<SessionRecord>> {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    if let Some(before) = filter.before {
        conditions.push("id < ?".to_owned());
        values.push(Value::from(before.to_string()));
    }
    if let Some(state) = filter.state {
        let stages: Vec<_> =
            Stage::ALL.iter().filter(|stage| stage.state() == state).map(|stage| format!("'{stage}'")).collect();
        conditions.push(format!("stage IN ({})", stages.join(", ")));
    }
    for (name, value) in &filter.labels {
        conditions.push(
            "EXISTS (SELECT 1 FROM session_labels WHERE session_id = sessions.id AND name = ? AND value = ?)"
                .to_owned(),
        );
        values.extend([Value::from(name.clone()), Value::from(value.clone())]);
    }
    let mut sql = format!("SELECT {} FROM sessions", rows::SESSION);
    if !conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    sql.push_str(" ORDER BY id DESC");
    if filter.limit > 0 {
        sql.push_str(" LIMIT ?");
        values.push(Value::from(i64::from(filter.limit)));
    }
    rows::all(db, &sql, params_from_iter(values), rows::read_session)
}

pub(super) fn active(db: &Connection) -> Attempt<Vec<ActiveSession>> {
    let sql = format!("SELECT {} FROM sessions WHERE stage <> 'ended'", rows::ACTIVE);
    rows::all(db, &sql, [], rows::read_active)
}

pub(super) fn advance(db: &mut Write<'_>, id: SessionId, epoch: u64, stage: Stage, now: Time) -> Attempt<Advance> {
    if stage == Stage::Ended {
        return Err(Failure::Misuse("a session ends with a reason, not by a stage alone"));
    }
    let Some(session) = rows::session(db, id)? else { return Ok(Advance::Unknown) };
    if session.ended.is_some() || session.epoch != epoch {
        return Ok(Advance::Fenced);
    }
    if !session.stage.may_become(stage) {
        return Ok(Advance::Unchanged);
    }
    let started = (stage == Stage::Running).then(|| now.as_millisecond());
    // Every stage after `queued` means that the runner has the secrets.
    execute(
        db,
        "UPDATE sessions SET stage = ?2, secrets = NULL, started_at = ?3 WHERE id = ?1",
        params![id.to_string(), stage.as_str(), started],
    )?;
    db.changed.push(id);
    Ok(Advance::Moved)
}

pub(super) fn end(
    db: &mut Write<'_>,
    id: SessionId,
    epoch: Option<u64>,
    ended: &Ended,
    now: Time,
) -> Attempt<EndOutcome> {
    let Some(session) = rows::session(db, id)? else { return Ok(EndOutcome::Unknown) };
    if epoch.is_some_and(|epoch| epoch != session.epoch) {
        return Ok(EndOutcome::Fenced);
    }
    if session.ended.is_some() {
        return Ok(EndOutcome::Already(session));
    }
    execute(
        db,
        "UPDATE sessions SET stage = 'ended', secrets = NULL, ended_at = ?2, end_reason = ?3, exit_code = ?4, \
         end_signal = ?5, end_message = ?6 WHERE id = ?1",
        params![
            id.to_string(),
            now.as_millisecond(),
            ended.reason.as_str(),
            ended.exit_code,
            ended.signal,
            ended.message
        ],
    )?;
    db.changed.push(id);
    rows::known_session(db, id).map(EndOutcome::Ended)
}

pub(super) fn extend(db: &mut Write<'_>, id: SessionId, expires_at: Time) -> Attempt<Extension> {
    let Some(session) = rows::session(db, id)? else { return Ok(Extension::Unknown) };
    if session.ended.is_some() {
        return Ok(Extension::Ended);
    }
    let expires_at = expires_at.max(session.expires_at).as_millisecond();
    execute(db, "UPDATE sessions SET expires_at = ?2 WHERE id = ?1", params![id.to_string(), expires_at])?;
    db.changed.push(id);
    rows::known_session(db, id).map(|session| Extension::Extended(Box::new(session)))
}

/// The runner's address and secret are given from its call home until it is gone, beyond the session's end.
pub(super) fn route(db: &Connection, key: &SealKey, id: SessionId) -> Attempt<Option<Route>> {
    let found = first(
        db,
        "SELECT s.id, s.stage, s.wire, s.epoch, s.end_reason, s.exit_code, s.end_signal, s.end_message, \
         r.id AS ready_id, r.address, r.secret \
         FROM sessions s LEFT JOIN runners r ON r.id = s.runner_id AND r.state IN ('idle', 'claimed') WHERE s.id = ?1",
        [id.to_string()],
        |row| {
            let runner: Option<RunnerId> = rows::maybe_word(row, "ready_id")?;
            let sealed: Option<Vec<u8>> = row.get("secret")?;
            let route = Route {
                session: id,
                stage: rows::word(row, "stage")?,
                ended: rows::read_ended(row)?,
                wire: rows::wire(row)?,
                epoch: rows::epoch(row)?,
                address: row.get("address")?,
                secret: open_secret(key, runner, sealed)?,
            };
            Ok(route)
        },
    )?;
    Ok(found)
}

fn open_secret(key: &SealKey, runner: Option<RunnerId>, sealed: Option<Vec<u8>>) -> Attempt<Option<Secret>> {
    match (runner, sealed) {
        (Some(runner), Some(sealed)) => runners::open_secret(key, runner, &sealed).map(Some),
        _ => Ok(None),
    }
}
