//! Runners: added blank, calling home, claimed, assigned, living and gone.

use rusqlite::{Connection, params};
use session::{RunnerId, Secret, SessionId, SessionSecrets, Stage};

use super::Write;
use super::create::sessions_row;
use super::failure::{Attempt, Failure};
use super::pools;
use super::rows::{self, execute, first};
use crate::{
    Assignment, Beat, Digest, NewRunner, ReadyOutcome, ReadyRunner, Replacement, RunnerCall, RunnerRecord, RunnerState,
    SealKey, SessionRecord, Time,
};

/// Adds a runner that is about to be launched, reserved for a session.
pub(super) fn add(db: &Write<'_>, new: &NewRunner, session: SessionId, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO runners (id, state, session_id, boot_token, created_at) VALUES (?1, 'booting', ?2, ?3, ?4)",
        params![new.id.to_string(), session.to_string(), new.boot_token.0, now.as_millisecond()],
    )?;
    Ok(())
}

/// The idle runner of the pool's own template that has waited longest, and since when it has.
pub(super) fn find_idle(db: &Write<'_>, pool: &str) -> Attempt<Option<(RunnerId, Time)>> {
    let sql = "SELECT r.id, r.ready_at FROM runners r JOIN pools p ON p.name = r.pool AND p.template = r.template \
               WHERE r.pool = ?1 AND r.state = 'idle' ORDER BY r.created_at, r.id LIMIT 1";
    first(db, sql, [pool], |row| Ok((rows::word(row, "id")?, rows::time(row, "ready_at")?)))
}

/// Gives a session the idle runner that this transaction has found.
pub(super) fn claim(db: &Write<'_>, runner: RunnerId, session: SessionId) -> Attempt<()> {
    let sql = "UPDATE runners SET state = 'claimed', session_id = ?2 WHERE id = ?1";
    execute(db, sql, params![runner.to_string(), session.to_string()])?;
    Ok(())
}

/// What is known of a runner that calls home.
struct Caller {
    runner: RunnerRecord,
    boot_token: Option<Digest>,
    sealed: Option<Vec<u8>>,
}

pub(super) fn ready(db: &mut Write<'_>, call: &RunnerCall, now: Time) -> Attempt<ReadyOutcome> {
    let sql = format!("SELECT {}, boot_token, secret FROM runners WHERE id = ?1", rows::RUNNER);
    let caller = first(db, &sql, [call.id.to_string()], |row| {
        let boot_token: Option<[u8; 32]> = row.get("boot_token")?;
        Ok(Caller { runner: rows::read_runner(row)?, boot_token: boot_token.map(Digest), sealed: row.get("secret")? })
    })?;
    let Some(caller) = caller else { return Ok(ReadyOutcome::Refused) };
    if !caller.boot_token.is_some_and(|token| same(&token.0, &call.boot_token.0)) {
        return Ok(ReadyOutcome::Refused);
    }
    let session = caller.runner.session;
    match (caller.runner.state, &caller.sealed) {
        (RunnerState::Booting, _) => {
            let state = if session.is_some() { RunnerState::Claimed } else { RunnerState::Idle };
            let sealed = db.key.seal(&runners_row(call.id), call.secret.expose().as_bytes())?;
            execute(
                db,
                "UPDATE runners SET state = ?2, address = ?3, secret = ?4, seen_at = ?5, ready_at = ?5 WHERE id = ?1",
                params![call.id.to_string(), state.as_str(), call.address, sealed, now.as_millisecond()],
            )?;
            db.changed.extend(session);
        }
        (RunnerState::Idle | RunnerState::Claimed, Some(sealed)) => {
            let known = open_secret(db.key, call.id, sealed)?;
            let same_secret = same(known.expose().as_bytes(), call.secret.expose().as_bytes());
            if !same_secret || caller.runner.address.as_deref() != Some(&call.address) {
                return Ok(ReadyOutcome::Conflict);
            }
            seen(db, call.id, now)?;
        }
        _ => return Ok(ReadyOutcome::Conflict),
    }
    Ok(ReadyOutcome::Accepted { session: waiting(db, session)? })
}

/// In constant time, since the other side chooses one of them.
fn same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The session, unless it has ended by now: then it waits for nobody.
fn waiting(db: &Connection, session: Option<SessionId>) -> Attempt<Option<SessionId>> {
    let Some(id) = session else { return Ok(None) };
    Ok(rows::session(db, id)?.filter(|session| session.ended.is_none()).map(|session| session.id))
}

pub(super) fn list(db: &Connection) -> Attempt<Vec<RunnerRecord>> {
    let sql = format!("SELECT {} FROM runners WHERE state <> 'gone' ORDER BY created_at, id", rows::RUNNER);
    rows::all(db, &sql, [], rows::read_runner)
}

/// What a runner's secret is sealed for.
fn runners_row(id: RunnerId) -> String {
    format!("runner:{id}")
}

pub(super) fn open_secret(key: &SealKey, id: RunnerId, sealed: &[u8]) -> Attempt<Secret> {
    let plain = key.open(&runners_row(id), sealed)?;
    String::from_utf8(plain)
        .map(Secret::new)
        .map_err(|_| Failure::Corrupt("runners.secret", "holds no UTF-8".to_owned()))
}

pub(super) fn find_ready(db: &Connection, key: &SealKey, id: RunnerId) -> Attempt<Option<ReadyRunner>> {
    let sql = format!(
        "SELECT r.address, r.secret, {} FROM runners r LEFT JOIN sessions s ON s.runner_id = r.id \
         WHERE r.id = ?1 AND r.secret IS NOT NULL",
        rows::session_of("s")
    );
    first(db, &sql, [id.to_string()], |row| {
        let session: Option<SessionId> = rows::maybe_word(row, "id")?;
        let sealed: Vec<u8> = row.get("secret")?;
        Ok(ReadyRunner {
            id,
            address: row.get("address")?,
            secret: open_secret(key, id, &sealed)?,
            session: session.map(|_| rows::read_session(row)).transpose()?,
        })
    })
}

pub(super) fn set_handle(db: &Write<'_>, id: RunnerId, handle: &str) -> Attempt<bool> {
    let sql = "UPDATE runners SET handle = ?2 WHERE id = ?1 RETURNING state <> 'gone' AND (session_id IS NULL \
               OR EXISTS (SELECT 1 FROM sessions s WHERE s.id = session_id AND s.stage <> 'ended')) AS wanted";
    let wanted = first(db, sql, params![id.to_string(), handle], |row| Ok(row.get("wanted")?))?;
    Ok(wanted.unwrap_or(false))
}

/// One statement, so that session, secrets and runner are of one moment.
pub(super) fn assignment(db: &Connection, key: &SealKey, runner: RunnerId) -> Attempt<Option<Assignment>> {
    let sql = format!(
        "SELECT {}, s.secrets, r.address, r.secret FROM runners r JOIN sessions s ON s.runner_id = r.id \
         WHERE r.id = ?1 AND r.state = 'claimed' AND r.secret IS NOT NULL AND s.stage <> 'ended'",
        rows::session_of("s")
    );
    first(db, &sql, [runner.to_string()], |row| {
        let session = rows::read_session(row)?;
        let sealed: Option<Vec<u8>> = row.get("secrets")?;
        let runner_secret: Vec<u8> = row.get("secret")?;
        Ok(Assignment {
            secrets: open_secrets(key, &session, sealed)?,
            session,
            runner,
            address: row.get("address")?,
            runner_secret: open_secret(key, runner, &runner_secret)?,
        })
    })
}

fn open_secrets(key: &SealKey, session: &SessionRecord, sealed: Option<Vec<u8>>) -> Attempt<SessionSecrets> {
    let Some(sealed) = sealed else { return Ok(SessionSecrets::default()) };
    let plain = key.open(&sessions_row(session.id), &sealed)?;
    // The error might quote what is secret.
    serde_json::from_slice(&plain).map_err(|_| Failure::Corrupt("sessions.secrets", "hold no such JSON".to_owned()))
}

/// Only while the session is queued: after that the old runner had the secrets, and the database no longer has them.
pub(super) fn replace(
    db: &mut Write<'_>,
    session: SessionId,
    old: RunnerId,
    new: &NewRunner,
    now: Time,
) -> Attempt<Option<Replacement>> {
    let waits = |record: &SessionRecord| record.runner == Some(old) && record.stage == Stage::Queued;
    let Some(record) = rows::session(db, session)?.filter(waits) else { return Ok(None) };
    let idle = find_idle(db, &record.spec.template)?;
    let runner = idle.map_or(new.id, |(idle, _)| idle);
    let sql = "UPDATE sessions SET runner_id = ?2, epoch = epoch + 1 WHERE id = ?1";
    execute(db, sql, params![session.to_string(), runner.to_string()])?;
    pools::mark_gone(db, old, now)?;
    // From now on the old one's end is nobody's.
    execute(db, "UPDATE runners SET session_id = NULL WHERE id = ?1", [old.to_string()])?;
    match idle {
        Some(_) => claim(db, runner, session)?,
        None => add(db, new, session, now)?,
    }
    db.changed.push(session);
    Ok(Some(Replacement { epoch: record.epoch + 1, runner, idle_since: idle.map(|(_, since)| since) }))
}

pub(super) fn beat(db: &Write<'_>, beats: &[Beat], now: Time) -> Attempt<()> {
    for beat in beats {
        seen(db, beat.runner, now)?;
        let quiet = if beat.operators > 0 { 0 } else { i64::try_from(beat.quiet_ms).unwrap_or(i64::MAX) };
        execute(
            db,
            "UPDATE sessions SET active_at = MAX(active_at, ?2) WHERE runner_id = ?1 AND stage <> 'ended'",
            params![beat.runner.to_string(), now.as_millisecond().saturating_sub(quiet)],
        )?;
    }
    Ok(())
}

fn seen(db: &Write<'_>, id: RunnerId, now: Time) -> Attempt<()> {
    execute(
        db,
        "UPDATE runners SET seen_at = MAX(COALESCE(seen_at, ?2), ?2) WHERE id = ?1 AND state <> 'gone'",
        params![id.to_string(), now.as_millisecond()],
    )?;
    Ok(())
}

/// Answers the session that the runner has, ended or not, and again when asked again; one that was replaced has none.
pub(super) fn gone(db: &mut Write<'_>, id: RunnerId, now: Time) -> Attempt<Option<SessionId>> {
    let fresh = pools::mark_gone(db, id, now)?;
    let session = rows::runner(db, id)?.and_then(|runner| runner.session);
    if fresh {
        db.changed.extend(session);
    }
    Ok(session)
}
