//! Runners: added blank, calling home, claimed, assigned, living and gone.
//!
//! Where a transaction locks rows of both, it locks sessions before runners, and several of one kind by id.

use std::sync::LazyLock;

use session::{RunnerId, Secret, SessionId, SessionSecrets, Stage};
use tokio_postgres::Row;
use uuid::Uuid;

use super::create::sessions_row;
use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::pools;
use super::rows::{self, execute, first, text, uuid};
use crate::{
    Assignment, Beat, Digest, NewRunner, ReadyOutcome, ReadyRunner, Replacement, RunnerCall, RunnerRecord, RunnerState,
    SealKey, SessionRecord, Time,
};

/// Adds a runner that is about to be launched, reserved for a session.
async fn add(db: &Lease, new: &NewRunner, session: SessionId, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO runners (id, state, session_id, boot_token, created_at) VALUES ($1, 'booting', $2, $3, $4)",
        &[&uuid(new.id), &uuid(session), &new.boot_token.0.as_slice(), &now.as_millisecond()],
    )
    .await?;
    Ok(())
}

/// Selects the idle runner of the pool's own template that has waited longest, of those that no other transaction is
/// about to take, since when it has waited, and where and with which secret it is reached; `pool` is the parameter with
/// the pool's name, `condition` what is asked besides.
pub(super) fn idle_of(pool: &str, condition: &str) -> String {
    format!(
        "SELECT r.id, r.ready_at, r.address, r.secret \
         FROM runners r JOIN pools p ON p.name = r.pool AND p.template = r.template \
         WHERE r.pool = {pool} AND r.state = 'idle' {condition} ORDER BY r.created_at, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED"
    )
}

async fn lock_idle(db: &Lease, pool: &str) -> Attempt<Option<(RunnerId, Time)>> {
    first(db, &idle_of("$1", ""), &[&text(pool)], |row| Ok((rows::id(row, "id")?, rows::time(row, "ready_at")?))).await
}

/// Gives a session the idle runner that this transaction has locked.
async fn claim(db: &Lease, runner: RunnerId, session: SessionId) -> Attempt<()> {
    let sql = "UPDATE runners SET state = 'claimed', session_id = $2 WHERE id = $1";
    execute(db, sql, &[&uuid(runner), &uuid(session)]).await?;
    Ok(())
}

/// What is known of a runner that calls home.
struct Caller {
    runner: RunnerRecord,
    boot_token: Option<Digest>,
    sealed: Option<Vec<u8>>,
}

pub(super) async fn ready(db: &mut Lease, call: &RunnerCall, now: Time) -> Attempt<ReadyOutcome> {
    let sql = format!("SELECT {}, boot_token, secret FROM runners WHERE id = $1 FOR NO KEY UPDATE", rows::RUNNER);
    let caller = first(db, &sql, &[&uuid(call.id)], |row| {
        let boot_token = rows::maybe_digest(row, "boot_token")?;
        Ok(Caller { runner: rows::read_runner(row)?, boot_token, sealed: rows::column(row, "secret")? })
    })
    .await?;
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
                "UPDATE runners SET state = $2, address = $3, secret = $4, seen_at = $5, ready_at = $5 WHERE id = $1",
                &[&uuid(call.id), &state.as_str(), &text(&call.address), &sealed, &now.as_millisecond()],
            )
            .await?;
            db.changed.extend(session);
        }
        (RunnerState::Idle | RunnerState::Claimed, Some(sealed)) => {
            let known = open_secret(&db.key, call.id, sealed)?;
            let same_secret = same(known.expose().as_bytes(), call.secret.expose().as_bytes());
            if !same_secret || caller.runner.address.as_deref() != Some(&call.address) {
                return Ok(ReadyOutcome::Conflict);
            }
            seen(db, &[uuid(call.id)], now).await?;
        }
        _ => return Ok(ReadyOutcome::Conflict),
    }
    Ok(ReadyOutcome::Accepted { session: waiting(db, session).await? })
}

/// In constant time, since the other side chooses one of them.
fn same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The session, unless it has ended by now: then it waits for nobody.
async fn waiting(db: &Lease, session: Option<SessionId>) -> Attempt<Option<SessionId>> {
    let Some(id) = session else { return Ok(None) };
    Ok(rows::session(db, id).await?.filter(|session| session.ended.is_none()).map(|session| session.id))
}

pub(super) async fn list(db: &Lease) -> Attempt<Vec<RunnerRecord>> {
    let sql = format!("SELECT {} FROM runners WHERE state <> 'gone' ORDER BY created_at, id", rows::RUNNER);
    rows::all(db, &sql, &[], rows::read_runner).await
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

/// What is read of a runner that is ready, with its session's row where it has one.
static READY: LazyLock<String> =
    LazyLock::new(|| format!("SELECT r.id AS ready_id, r.address, r.secret, {}", rows::session_of("s")));

static FIND_READY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} FROM runners r LEFT JOIN sessions s ON s.runner_id = r.id WHERE r.id = $1 AND r.secret IS NOT NULL",
        *READY
    )
});

/// Each is looked up by itself: whatever the planner knows of the tables, and whenever, it cannot come to read all of
/// them.
static FIND_ALL_READY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} FROM unnest($1::uuid[]) AS wanted (id) \
         CROSS JOIN LATERAL (SELECT * FROM runners WHERE id = wanted.id AND secret IS NOT NULL LIMIT 1) r \
         LEFT JOIN LATERAL (SELECT * FROM sessions WHERE runner_id = r.id LIMIT 1) s ON TRUE",
        *READY
    )
});

pub(super) async fn find_ready(db: &Lease, id: RunnerId) -> Attempt<Option<ReadyRunner>> {
    first(db, &FIND_READY, &[&uuid(id)], |row| read_ready(db, row)).await
}

pub(super) async fn find_all_ready(db: &Lease, ids: &[RunnerId]) -> Attempt<Vec<ReadyRunner>> {
    let ids: Vec<Uuid> = ids.iter().copied().map(uuid).collect();
    rows::all(db, &FIND_ALL_READY, &[&ids], |row| read_ready(db, row)).await
}

fn read_ready(db: &Lease, row: &Row) -> Attempt<ReadyRunner> {
    let id = rows::id(row, "ready_id")?;
    let session: Option<SessionId> = rows::maybe_id(row, "id")?;
    Ok(ReadyRunner {
        id,
        address: rows::column(row, "address")?,
        secret: open_secret(&db.key, id, rows::column(row, "secret")?)?,
        session: session.map(|_| rows::read_session(row)).transpose()?,
    })
}

pub(super) async fn set_handle(db: &Lease, id: RunnerId, handle: &str) -> Attempt<bool> {
    let sql = "UPDATE runners r SET handle = $2 WHERE id = $1 RETURNING r.state <> 'gone' AND (r.session_id IS NULL \
               OR EXISTS (SELECT FROM sessions s WHERE s.id = r.session_id AND s.stage <> 'ended')) AS wanted";
    let wanted = first(db, sql, &[&uuid(id), &text(handle)], |row| rows::column(row, "wanted")).await?;
    Ok(wanted.unwrap_or(false))
}

static ASSIGNMENT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, s.secrets, r.address, r.secret FROM runners r JOIN sessions s ON s.runner_id = r.id \
         WHERE r.id = $1 AND r.state = 'claimed' AND r.secret IS NOT NULL AND s.stage <> 'ended'",
        rows::session_of("s")
    )
});

/// One statement, so that session, secrets and runner are of one moment.
pub(super) async fn assignment(db: &Lease, runner: RunnerId) -> Attempt<Option<Assignment>> {
    first(db, &ASSIGNMENT, &[&uuid(runner)], |row| {
        let session = rows::read_session(row)?;
        let sealed: Option<&[u8]> = rows::column(row, "secrets")?;
        Ok(Assignment {
            secrets: open_secrets(&db.key, &session, sealed)?,
            session,
            runner,
            address: rows::column(row, "address")?,
            runner_secret: open_secret(&db.key, runner, rows::column(row, "secret")?)?,
        })
    })
    .await
}

fn open_secrets(key: &SealKey, session: &SessionRecord, sealed: Option<&[u8]>) -> Attempt<SessionSecrets> {
    let Some(sealed) = sealed else { return Ok(SessionSecrets::default()) };
    let plain = key.open(&sessions_row(session.id), sealed)?;
    // The error might quote what is secret.
    serde_json::from_slice(&plain).map_err(|_| Failure::Corrupt("sessions.secrets", "hold no such JSON".to_owned()))
}

/// Only while the session is queued: after that the old runner had the secrets, and the database no longer has them.
pub(super) async fn replace(
    db: &mut Lease,
    session: SessionId,
    old: RunnerId,
    new: &NewRunner,
    now: Time,
) -> Attempt<Option<Replacement>> {
    let record = rows::locked_session(db, session).await?;
    let waits = |record: &SessionRecord| record.runner == Some(old) && record.stage == Stage::Queued;
    let Some(record) = record.filter(waits) else { return Ok(None) };
    let idle = lock_idle(db, &record.spec.template).await?;
    let runner = idle.map_or(new.id, |(idle, _)| idle);
    let epoch = record.epoch + 1;
    let sql = "UPDATE sessions SET runner_id = $2, epoch = epoch + 1 WHERE id = $1";
    execute(db, sql, &[&uuid(session), &uuid(runner)]).await?;
    pools::mark_gone(db, uuid(old), now).await?;
    // From now on the old one's end is nobody's.
    execute(db, "UPDATE runners SET session_id = NULL WHERE id = $1", &[&uuid(old)]).await?;
    match idle {
        Some(_) => claim(db, runner, session).await?,
        None => add(db, new, session, now).await?,
    }
    db.changed.push(session);
    Ok(Some(Replacement { epoch, runner, idle_since: idle.map(|(_, since)| since) }))
}

pub(super) async fn beat(db: &Lease, beats: &[Beat], now: Time) -> Attempt<()> {
    let now_ms = now.as_millisecond();
    let quiet = |beat: &Beat| if beat.operators > 0 { 0 } else { i64::try_from(beat.quiet_ms).unwrap_or(i64::MAX) };
    let runners: Vec<Uuid> = beats.iter().map(|beat| uuid(beat.runner)).collect();
    let active: Vec<i64> = beats.iter().map(|beat| now_ms.saturating_sub(quiet(beat))).collect();
    // A runner may be in the batch twice; an update would take either of its rows.
    execute(
        db,
        "WITH beat AS (SELECT runner, MAX(active) AS active FROM unnest($1::uuid[], $2::bigint[]) AS b (runner, active) \
                       GROUP BY runner), \
              due AS (SELECT s.id, beat.active FROM sessions s JOIN beat ON beat.runner = s.runner_id \
                      WHERE s.stage <> 'ended' ORDER BY s.id FOR NO KEY UPDATE OF s) \
         UPDATE sessions SET active_at = GREATEST(active_at, due.active) FROM due WHERE sessions.id = due.id",
        &[&runners, &active],
    )
    .await?;
    seen(db, &runners, now).await
}

async fn seen(db: &Lease, ids: &[Uuid], now: Time) -> Attempt<()> {
    execute(
        db,
        "WITH alive AS (SELECT id FROM runners WHERE id = ANY ($1) AND state <> 'gone' \
                        ORDER BY id FOR NO KEY UPDATE) \
         UPDATE runners SET seen_at = GREATEST(seen_at, $2) FROM alive WHERE runners.id = alive.id",
        &[&ids, &now.as_millisecond()],
    )
    .await?;
    Ok(())
}

/// Answers the session that the runner has, ended or not, and again when asked again; one that was replaced has none.
pub(super) async fn gone(db: &mut Lease, id: RunnerId, now: Time) -> Attempt<Option<SessionId>> {
    let fresh = pools::mark_gone(db, uuid(id), now).await?;
    let session = rows::runner(db, id).await?.and_then(|runner| runner.session);
    if fresh {
        db.changed.extend(session);
    }
    Ok(session)
}
