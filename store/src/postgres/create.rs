//! Creating a session: every check and every row in one transaction.
//!
//! What has to be exact across processes is counted under an advisory lock: in READ COMMITTED, a statement that comes
//! after the lock sees all that the lock's holder before it committed.

use session::SessionId;
use session::frames::Wire;
use uuid::Uuid;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::locks::{self, Lock};
use super::rows::{self, execute, first, text, uuid};
use super::{runners, tokens};
use crate::{Creation, Idempotency, NewSession, Placement, Rate, RunnerState, Time};

/// The window that a rate counts in.
const WINDOW_MS: i64 = 60_000;

pub(super) async fn create_session(db: &mut Lease, new: &NewSession, now: Time) -> Attempt<Creation> {
    if let Some(idempotency) = &new.idempotency
        && let Some(earlier) = repeated(db, new, idempotency).await?
    {
        return Ok(earlier);
    }
    if let Some(rate) = &new.rate
        && let Some(retry_after_secs) = over_rate(db, rate, now).await?
    {
        return Ok(Creation::RateLimited { retry_after_secs });
    }
    if let Some(max) = new.max_sessions {
        locks::take(db, Lock::Capacity, "").await?;
        let active = active(db).await?;
        if active >= max {
            return Ok(Creation::AtCapacity { active });
        }
    }
    let Some(claimed) = place(db, new, now).await? else { return Ok(Creation::NoIdleRunner) };
    tokens::add(db, new.id, &new.token).await?;
    if let Some(idempotency) = &new.idempotency {
        execute(
            db,
            "INSERT INTO idempotency (api_key, name, body, session_id, created_at) VALUES ($1, $2, $3, $4, $5)",
            &[
                &uuid(new.api_key),
                &text(&idempotency.key),
                &idempotency.body.0.as_slice(),
                &uuid(new.id),
                &now.as_millisecond(),
            ],
        )
        .await?;
    }
    if let Some(rate) = &new.rate {
        execute(
            db,
            "INSERT INTO creations (scope, created_at) VALUES ($1, $2)",
            &[&text(&rate.scope), &now.as_millisecond()],
        )
        .await?;
    }
    db.changed.push(new.id);
    let session = rows::known_session(db, new.id).await?;
    let runner = session.runner.ok_or_else(|| Failure::Corrupt("sessions.runner_id", "none".to_owned()))?;
    Ok(Creation::Created { session, runner, claimed })
}

/// What to answer when the same key came before. The row of a session that was pruned went with it.
async fn repeated(db: &Lease, new: &NewSession, idempotency: &Idempotency) -> Attempt<Option<Creation>> {
    locks::take(db, Lock::Idempotency, &format!("{} {}", new.api_key, idempotency.key)).await?;
    let earlier = first(
        db,
        "SELECT body, session_id FROM idempotency WHERE api_key = $1 AND name = $2",
        &[&uuid(new.api_key), &text(&idempotency.key)],
        |row| Ok((rows::digest(row, "body")?, rows::id::<SessionId>(row, "session_id")?)),
    )
    .await?;
    let Some((body, id)) = earlier else { return Ok(None) };
    if body != idempotency.body {
        return Ok(Some(Creation::IdempotencyMismatch));
    }
    // The session may have been pruned since that statement; then the key is free.
    if !tokens::add(db, id, &new.token).await? {
        return Ok(None);
    }
    rows::known_session(db, id).await.map(Creation::Repeated).map(Some)
}

/// Seconds until one more creation fits, unless it fits now: until the one that fills the window leaves it. Creations
/// of a far future are not counted, since they come from a clock that was set back.
async fn over_rate(db: &Lease, rate: &Rate, now: Time) -> Attempt<Option<u64>> {
    let now = now.as_millisecond();
    if rate.per_minute == 0 {
        return Ok(Some(WINDOW_MS as u64 / 1000));
    }
    locks::take(db, Lock::Rate, &rate.scope).await?;
    let filling: Option<i64> = first(
        db,
        "SELECT created_at FROM creations WHERE scope = $1 AND created_at > $2 AND created_at < $3 \
         ORDER BY created_at DESC LIMIT 1 OFFSET $4",
        &[&text(&rate.scope), &(now - WINDOW_MS), &(now + WINDOW_MS), &(i64::from(rate.per_minute) - 1)],
        |row| rows::column(row, "created_at"),
    )
    .await?;
    Ok(filling.map(|at| ((at + WINDOW_MS - now).max(1) as u64).div_ceil(1000)))
}

async fn active(db: &Lease) -> Attempt<u32> {
    let sql = "SELECT COUNT(*) AS active FROM sessions WHERE stage <> 'ended'";
    let active: Option<i64> = first(db, sql, &[], |row| rows::column(row, "active")).await?;
    Ok(u32::try_from(active.unwrap_or(0)).unwrap_or(u32::MAX))
}

/// Writes the session and its runner; says whether that was an idle one, or `None` where only such a one would do.
async fn place(db: &Lease, new: &NewSession, now: Time) -> Attempt<Option<bool>> {
    let idle = match new.placement {
        Placement::Fixed { .. } => None,
        Placement::Runner(_) | Placement::IdleRunner => runners::lock_idle(db).await?,
    };
    match (&new.placement, idle) {
        (Placement::Fixed { runner, address }, _) => {
            insert(db, new, Wire::Tty, uuid(*runner), now).await?;
            execute(
                db,
                "INSERT INTO runners (id, state, session_id, address, created_at) VALUES ($1, $2, $3, $4, $5)",
                &[&uuid(*runner), &RunnerState::Claimed.as_str(), &uuid(new.id), &text(address), &now.as_millisecond()],
            )
            .await?;
            Ok(Some(false))
        }
        (_, Some(idle)) => {
            insert(db, new, Wire::TtyR1, uuid(idle), now).await?;
            runners::claim(db, idle, new.id).await?;
            Ok(Some(true))
        }
        (Placement::Runner(blank), None) => {
            insert(db, new, Wire::TtyR1, uuid(blank.id), now).await?;
            runners::add(db, blank, Some(new.id), now).await?;
            Ok(Some(false))
        }
        (Placement::IdleRunner, None) => Ok(None),
    }
}

async fn insert(db: &Lease, new: &NewSession, wire: Wire, runner: Uuid, now: Time) -> Attempt<()> {
    let id = uuid(new.id);
    let spec =
        serde_json::to_string(&new.spec).map_err(|error| Failure::Corrupt("sessions.spec", error.to_string()))?;
    let secrets = serde_json::to_vec(&new.secrets)
        // The error might quote what is secret.
        .map_err(|_| Failure::Corrupt("sessions.secrets", "cannot be written as JSON".to_owned()))?;
    execute(
        db,
        "INSERT INTO sessions (id, api_key, spec, secrets, stage, wire, runner_id, epoch, created_at, expires_at, \
         active_at) VALUES ($1, $2, $3, $4, 'queued', $5, $6, 1, $7, $8, $7)",
        &[
            &id,
            &uuid(new.api_key),
            &spec,
            &db.key.seal(&sessions_row(new.id), &secrets)?,
            &wire.as_str(),
            &runner,
            &now.as_millisecond(),
            &new.expires_at.as_millisecond(),
        ],
    )
    .await?;
    if !new.spec.labels.is_empty() {
        let (names, values): (Vec<_>, Vec<_>) = new.spec.labels.iter().unzip();
        execute(
            db,
            "INSERT INTO session_labels (session_id, name, value) \
             SELECT $1, name, value FROM unnest($2::text[], $3::text[]) AS label (name, value)",
            &[&id, &names, &values],
        )
        .await?;
    }
    Ok(())
}

/// What a session's secrets are sealed for.
pub(super) fn sessions_row(id: SessionId) -> String {
    format!("session:{id}")
}
