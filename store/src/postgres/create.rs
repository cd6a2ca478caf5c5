//! Creating a session: every check and every row in one transaction.
//!
//! What has to be exact across processes is counted under advisory locks: in READ COMMITTED, a statement that comes after
//! a lock sees all that the lock's holder before it committed. Everybody else waits meanwhile, so all is done in as few
//! round trips as it can be.

use session::SessionId;
use session::frames::Wire;
use uuid::Uuid;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::locks::{self, Lock};
use super::rows::{self, execute, first, text, uuid};
use super::{runners, tokens};
use crate::{Creation, Digest, NewSession, Placement, Rate, RunnerState, SessionRecord, Time};

/// The window that a rate counts in.
const WINDOW_MS: i64 = 60_000;

pub(super) async fn create_session(db: &mut Lease, new: &NewSession, now: Time) -> Attempt<Creation> {
    lock(db, new).await?;
    let found = look(db, new, now).await?;
    if let Some(idempotency) = &new.idempotency
        && let Some((body, earlier)) = found.earlier
    {
        if body != idempotency.body {
            return Ok(Creation::IdempotencyMismatch);
        }
        // It may have been pruned since it was found; then the key is free.
        if tokens::add(db, earlier, &new.token).await? {
            return rows::known_session(db, earlier).await.map(Creation::Repeated);
        }
    }
    if let Some(rate) = &new.rate
        && let Some(retry_after_secs) = over_rate(rate, found.filling, now)
    {
        return Ok(Creation::RateLimited { retry_after_secs });
    }
    if let (Some(max), Some(active)) = (new.max_sessions, found.active)
        && active >= max
    {
        return Ok(Creation::AtCapacity { active });
    }
    let idle = match new.placement {
        Placement::Fixed { .. } => None,
        Placement::Runner(_) | Placement::IdleRunner => runners::lock_idle(db, &new.spec.template).await?,
    };
    let runner = match (&new.placement, idle) {
        (_, Some((idle, _))) => idle,
        (Placement::Fixed { runner, .. }, None) => *runner,
        (Placement::Runner(blank), None) => blank.id,
        (Placement::IdleRunner, None) => return Ok(Creation::NoIdleRunner),
    };
    let session = insert(db, new, uuid(runner), now).await?;
    match &new.placement {
        _ if idle.is_some() => runners::claim(db, runner, new.id).await?,
        Placement::Fixed { address, .. } => fix(db, uuid(runner), new.id, address, now).await?,
        Placement::Runner(blank) => runners::add(db, blank, new.id, now).await?,
        // It has an idle one.
        Placement::IdleRunner => {}
    }
    db.changed.push(new.id);
    Ok(Creation::Created { session, runner, idle_since: idle.map(|(_, since)| since) })
}

async fn lock(db: &Lease, new: &NewSession) -> Attempt<()> {
    let key = new.idempotency.as_ref().map(|idempotency| format!("{} {}", new.api_key, idempotency.key));
    let key = key.map(|key| (Lock::Idempotency, key));
    let rate = new.rate.as_ref().map(|rate| (Lock::Rate, rate.scope.clone()));
    let capacity = new.max_sessions.map(|_| (Lock::Capacity, String::new()));
    locks::take_all(db, [key, rate, capacity]).await
}

/// What the checks are made of.
struct Found {
    /// The body and the session that came with the same idempotency key.
    earlier: Option<(Digest, SessionId)>,
    /// When the creation was that fills the rate's window.
    filling: Option<i64>,
    /// `None` where that is not limited.
    active: Option<u32>,
}

/// Creations of a far future are not counted, since they come from a clock that was set back.
async fn look(db: &Lease, new: &NewSession, now: Time) -> Attempt<Found> {
    let now = now.as_millisecond();
    let key = new.idempotency.as_ref().map(|idempotency| text(&idempotency.key));
    // Nothing is counted where nothing is allowed.
    let rate = new.rate.as_ref().filter(|rate| rate.per_minute > 0);
    let found = first(
        db,
        "SELECT body, session_id, \
            (SELECT created_at FROM creations WHERE scope = $3 AND created_at > $4 AND created_at < $5 \
             ORDER BY created_at DESC LIMIT 1 OFFSET $6) AS filling, \
            CASE WHEN $7 THEN (SELECT COUNT(*) FROM sessions WHERE stage <> 'ended') END AS active \
         FROM (VALUES (TRUE)) AS one LEFT JOIN idempotency ON api_key = $1 AND name = $2",
        &[
            &uuid(new.api_key),
            &key,
            &rate.map(|rate| text(&rate.scope)),
            &(now - WINDOW_MS),
            &(now + WINDOW_MS),
            &rate.map_or(0, |rate| i64::from(rate.per_minute) - 1),
            &new.max_sessions.is_some(),
        ],
        |row| {
            let active: Option<i64> = rows::column(row, "active")?;
            Ok(Found {
                earlier: rows::maybe_digest(row, "body")?.zip(rows::maybe_id(row, "session_id")?),
                filling: rows::column(row, "filling")?,
                active: active.map(|active| u32::try_from(active).unwrap_or(u32::MAX)),
            })
        },
    )
    .await?;
    found.ok_or_else(|| Failure::Corrupt("idempotency", "no answer".to_owned()))
}

/// Seconds until one more creation fits, unless it fits now: until the one that fills the window leaves it.
fn over_rate(rate: &Rate, filling: Option<i64>, now: Time) -> Option<u64> {
    if rate.per_minute == 0 {
        return Some(WINDOW_MS as u64 / 1000);
    }
    filling.map(|at| ((at + WINDOW_MS - now.as_millisecond()).max(1) as u64).div_ceil(1000))
}

/// The session and all that is counted with it; the runner comes after it.
async fn insert(db: &Lease, new: &NewSession, runner: Uuid, now: Time) -> Attempt<SessionRecord> {
    let spec =
        serde_json::to_string(&new.spec).map_err(|error| Failure::Corrupt("sessions.spec", error.to_string()))?;
    let secrets = serde_json::to_vec(&new.secrets)
        // The error might quote what is secret.
        .map_err(|_| Failure::Corrupt("sessions.secrets", "cannot be written as JSON".to_owned()))?;
    let wire = match new.placement {
        Placement::Runner(_) | Placement::IdleRunner => Wire::TtyR1,
        Placement::Fixed { .. } => Wire::Tty,
    };
    let (names, values): (Vec<_>, Vec<_>) = new.spec.labels.iter().unzip();
    let key = new.idempotency.as_ref();
    // Foreign keys are looked at when the statement is over.
    let sql = format!(
        "WITH session AS ( \
            INSERT INTO sessions (id, api_key, spec, secrets, stage, wire, runner_id, epoch, created_at, expires_at, \
                                  active_at) \
            VALUES ($1, $2, $3, $4, 'queued', $5, $6, 1, $7, $8, $7) RETURNING {}), \
         label AS (INSERT INTO session_labels (session_id, name, value) \
            SELECT $1, name, value FROM unnest($9::text[], $10::text[]) AS label (name, value)), \
         token AS (INSERT INTO tokens (jti, session_id, role, expires_at) VALUES ($11, $1, $12, $13)), \
         key AS (INSERT INTO idempotency (api_key, name, body, session_id, created_at) \
            SELECT $2, $14::text, $15::bytea, $1, $7 WHERE $14::text IS NOT NULL), \
         creation AS (INSERT INTO creations (scope, created_at) SELECT $16::text, $7 WHERE $16::text IS NOT NULL) \
         SELECT * FROM session",
        rows::SESSION
    );
    let session = first(
        db,
        &sql,
        &[
            &uuid(new.id),
            &uuid(new.api_key),
            &spec,
            &db.key.seal(&sessions_row(new.id), &secrets)?,
            &wire.as_str(),
            &runner,
            &now.as_millisecond(),
            &new.expires_at.as_millisecond(),
            &names,
            &values,
            &text(&new.token.jti),
            &new.token.role.as_str(),
            &new.token.expires_at.as_millisecond(),
            &key.map(|key| text(&key.key)),
            &key.map(|key| key.body.0.to_vec()),
            &new.rate.as_ref().map(|rate| text(&rate.scope)),
        ],
        rows::read_session,
    )
    .await?;
    session.ok_or_else(|| Failure::Corrupt("sessions.id", "a row that must be there is not".to_owned()))
}

/// The runner of a session whose backend has a fixed address.
async fn fix(db: &Lease, runner: Uuid, session: SessionId, address: &str, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO runners (id, state, session_id, address, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[&runner, &RunnerState::Claimed.as_str(), &uuid(session), &text(address), &now.as_millisecond()],
    )
    .await?;
    Ok(())
}

/// What a session's secrets are sealed for.
pub(super) fn sessions_row(id: SessionId) -> String {
    format!("session:{id}")
}
