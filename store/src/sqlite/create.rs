//! Creating a session: every check and every row in one transaction.

use rusqlite::params;
use session::frames::Wire;
use session::{RunnerId, SessionId};

use super::failure::{Attempt, Failure};
use super::rows::{self, execute, first};
use super::{Write, keys, runners, tokens};
use crate::{AuditEntry, Creation, Digest, Idempotency, Idle, NewSession, Placement, Rate, RunnerState, Time};

/// The window that a rate counts in.
const WINDOW_MS: i64 = 60_000;

pub(super) fn create_session(db: &mut Write<'_>, new: &NewSession, now: Time) -> Attempt<Creation> {
    if let Some(idempotency) = &new.idempotency
        && let Some(earlier) = repeated(db, new, idempotency)?
    {
        return Ok(earlier);
    }
    if let Some(rate) = &new.rate
        && let Some(retry_after_secs) = over_rate(db, rate, now)?
    {
        return Ok(Creation::RateLimited { retry_after_secs });
    }
    if let Some(max) = new.max_sessions {
        let active = active(db)?;
        if active >= max {
            return Ok(Creation::AtCapacity { active });
        }
    }
    // No other transaction writes before this one has ended, so an idle runner that is there now is there below.
    let idle = match new.placement {
        Placement::Fixed { .. } => None,
        Placement::Runner(_) | Placement::IdleRunner => runners::find_idle(db, &new.spec.template)?,
    };
    if matches!(new.placement, Placement::IdleRunner) && idle.is_none() {
        return Ok(Creation::NoIdleRunner);
    }
    insert(db, new, now)?;
    place(db, new, idle.map(|(idle, _)| idle), now)?;
    tokens::add(db, new.id, &new.token)?;
    if let Some(idempotency) = &new.idempotency {
        execute(
            db,
            "INSERT INTO idempotency (api_key, name, body, session_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                new.api_key.to_string(),
                idempotency.key,
                idempotency.body.0,
                new.id.to_string(),
                now.as_millisecond()
            ],
        )?;
    }
    if let Some(rate) = &new.rate {
        execute(
            db,
            "INSERT INTO creations (scope, created_at) VALUES (?1, ?2)",
            params![rate.scope, now.as_millisecond()],
        )?;
    }
    keys::audit(db, &AuditEntry::created(new.api_key, new.id), now)?;
    let session = rows::known_session(db, new.id)?;
    let runner = session.runner.ok_or_else(|| Failure::Corrupt("sessions.runner_id", "none".to_owned()))?;
    let idle = idle.map(|(_, since)| Idle { since, assignment: None });
    Ok(Creation::Created { session, runner, idle })
}

/// What to answer when the same key came before. The row of a session that was pruned went with it.
fn repeated(db: &Write<'_>, new: &NewSession, idempotency: &Idempotency) -> Attempt<Option<Creation>> {
    let earlier = first(
        db,
        "SELECT body, session_id FROM idempotency WHERE api_key = ?1 AND name = ?2",
        params![new.api_key.to_string(), idempotency.key],
        |row| Ok((rows::digest(row, "body")?, rows::word::<SessionId>(row, "session_id")?)),
    )?;
    let Some((body, id)): Option<(Digest, SessionId)> = earlier else { return Ok(None) };
    if body != idempotency.body {
        return Ok(Some(Creation::IdempotencyMismatch));
    }
    tokens::add(db, id, &new.token)?;
    rows::known_session(db, id).map(Creation::Repeated).map(Some)
}

/// Seconds until one more creation fits, unless it fits now: until the one that fills the window leaves it. Creations
/// of a far future are not counted, since they come from a clock that was set back.
fn over_rate(db: &Write<'_>, rate: &Rate, now: Time) -> Attempt<Option<u64>> {
    let now = now.as_millisecond();
    if rate.per_minute == 0 {
        return Ok(Some(WINDOW_MS as u64 / 1000));
    }
    let filling = first(
        db,
        "SELECT created_at FROM creations WHERE scope = ?1 AND created_at > ?2 AND created_at < ?3 \
         ORDER BY created_at DESC LIMIT 1 OFFSET ?4",
        params![rate.scope, now - WINDOW_MS, now + WINDOW_MS, i64::from(rate.per_minute) - 1],
        |row| Ok(row.get::<_, i64>("created_at")?),
    )?;
    Ok(filling.map(|at| ((at + WINDOW_MS - now).max(1) as u64).div_ceil(1000)))
}

fn active(db: &Write<'_>) -> Attempt<u32> {
    let active = first(db, "SELECT COUNT(*) AS active FROM sessions WHERE stage <> 'ended'", [], |row| {
        Ok(row.get::<_, u32>("active")?)
    })?;
    Ok(active.unwrap_or(0))
}

fn insert(db: &Write<'_>, new: &NewSession, now: Time) -> Attempt<()> {
    let id = new.id.to_string();
    let spec =
        serde_json::to_string(&new.spec).map_err(|error| Failure::Corrupt("sessions.spec", error.to_string()))?;
    let secrets = serde_json::to_vec(&new.secrets)
        // The error might quote what is secret.
        .map_err(|_| Failure::Corrupt("sessions.secrets", "cannot be written as JSON".to_owned()))?;
    let wire = match new.placement {
        Placement::Runner(_) | Placement::IdleRunner => Wire::TtyR1,
        Placement::Fixed { .. } => Wire::Tty,
    };
    execute(
        db,
        "INSERT INTO sessions (id, api_key, spec, secrets, stage, wire, epoch, created_at, expires_at, active_at) \
         VALUES (?1, ?2, ?3, ?4, 'queued', ?5, 1, ?6, ?7, ?6)",
        params![
            id,
            new.api_key.to_string(),
            spec,
            db.key.seal(&sessions_row(new.id), &secrets)?,
            wire.as_str(),
            now.as_millisecond(),
            new.expires_at.as_millisecond(),
        ],
    )?;
    for (name, value) in &new.spec.labels {
        execute(
            db,
            "INSERT INTO session_labels (session_id, name, value) VALUES (?1, ?2, ?3)",
            params![id, name, value],
        )?;
    }
    Ok(())
}

/// What a session's secrets are sealed for.
pub(super) fn sessions_row(id: SessionId) -> String {
    format!("session:{id}")
}

/// Gives the session its runner: the idle one where there is one.
fn place(db: &Write<'_>, new: &NewSession, idle: Option<RunnerId>, now: Time) -> Attempt<()> {
    let runner = match (&new.placement, idle) {
        (_, Some(idle)) => {
            runners::claim(db, idle, new.id)?;
            idle
        }
        (Placement::Fixed { runner, address }, None) => {
            execute(
                db,
                "INSERT INTO runners (id, state, session_id, address, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    runner.to_string(),
                    RunnerState::Claimed.as_str(),
                    new.id.to_string(),
                    address,
                    now.as_millisecond()
                ],
            )?;
            *runner
        }
        (Placement::Runner(blank), None) => {
            runners::add(db, blank, new.id, now)?;
            blank.id
        }
        (Placement::IdleRunner, None) => {
            return Err(Failure::Corrupt("runners.state", "no runner is idle any more".to_owned()));
        }
    };
    execute(db, "UPDATE sessions SET runner_id = ?2 WHERE id = ?1", params![new.id.to_string(), runner.to_string()])?;
    Ok(())
}
