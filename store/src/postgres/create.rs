//! Creating a session: every check and every row in one statement.
//!
//! What has to be exact across processes is counted under advisory locks: in READ COMMITTED, a statement that comes after
//! a lock sees all that the lock's holder before it committed.

use std::sync::LazyLock;

use session::frames::Wire;
use session::{RunnerId, SessionId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::locks::{Lock, Locks};
use super::rows::{self, text, uuid};
use super::{runners, tokens};
use crate::{
    Assignment, AuditEntry, Creation, Digest, Idle, NewSession, Placement, Rate, RunnerState, SessionRecord, Time,
};

/// The window that a rate counts in.
const WINDOW_MS: i64 = 60_000;

/// What is waited for before a creation looks at anything.
fn locks(new: &NewSession) -> Locks {
    let mut locks = Locks::default();
    if let Some(idempotency) = &new.idempotency {
        locks = locks.and(Lock::Idempotency, &format!("{} {}", new.api_key, idempotency.key));
    }
    if let Some(rate) = &new.rate {
        locks = locks.and(Lock::Rate, &rate.scope);
    }
    if new.max_sessions.is_some() {
        locks = locks.and(Lock::Capacity, "");
    }
    locks
}

pub(super) async fn create_session(db: &Lease, new: &NewSession, now: Time) -> Attempt<Creation> {
    loop {
        let (found, session) = try_to_create(db, new, now).await?;
        if let Some(creation) = session {
            return Ok(creation);
        }
        if let Some((body, earlier)) = found.earlier {
            if new.idempotency.as_ref().is_none_or(|idempotency| idempotency.body != body) {
                return Ok(Creation::IdempotencyMismatch);
            }
            if tokens::add(db, earlier, &new.token).await?
                && let Some(session) = rows::session(db, earlier).await?
            {
                return Ok(Creation::Repeated(session));
            }
            // It was pruned since it was found, and its key with it.
            continue;
        }
        if let Some(retry_after_secs) = new.rate.as_ref().and_then(|rate| over_rate(rate, found.filling, now)) {
            return Ok(Creation::RateLimited { retry_after_secs });
        }
        return Ok(match (new.max_sessions, found.active) {
            (Some(max), Some(active)) if active >= max => Creation::AtCapacity { active },
            _ => Creation::NoIdleRunner,
        });
    }
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

/// Seconds until one more creation fits, unless it fits now: until the one that fills the window leaves it.
fn over_rate(rate: &Rate, filling: Option<i64>, now: Time) -> Option<u64> {
    if rate.per_minute == 0 {
        return Some(WINDOW_MS as u64 / 1000);
    }
    filling.map(|at| ((at + WINDOW_MS - now.as_millisecond()).max(1) as u64).div_ceil(1000))
}

/// The checks, and where they let it pass the session, its runner, and all that is counted with them; foreign keys are
/// looked at when it is over. `chosen` is the idle runner of the template's own pool that has waited longest, of those
/// that no other transaction is about to take, else the new one. Where there is neither, there is no row of anything.
/// Creations of a far future are not counted, since they come from a clock that was set back.
static CREATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH found AS ( \
            SELECT body, session_id AS earlier, \
                (SELECT created_at FROM creations WHERE scope = $16 AND created_at > $24 AND created_at < $25 \
                 ORDER BY created_at DESC LIMIT 1 OFFSET $26) AS filling, \
                CASE WHEN $27::bigint IS NOT NULL THEN (SELECT COUNT(*) FROM sessions WHERE stage <> 'ended') END AS active \
            FROM (VALUES (TRUE)) AS one LEFT JOIN idempotency ON api_key = $2 AND name = $14), \
         allowed AS (SELECT FROM found \
            WHERE earlier IS NULL AND filling IS NULL AND NOT $28::boolean AND (active IS NULL OR active < $27)), \
         idle AS ({}), \
         chosen AS (SELECT id FROM allowed, (SELECT COALESCE((SELECT id FROM idle), $6::uuid) AS id) AS one \
            WHERE id IS NOT NULL), \
         session AS ( \
            INSERT INTO sessions (id, api_key, spec, secrets, stage, wire, runner_id, epoch, created_at, expires_at, \
                                  active_at) \
            SELECT $1::uuid, $2::uuid, $3::text, $4::bytea, 'queued', $5::text, id, 1, $7::bigint, $8::bigint, $7 \
            FROM chosen RETURNING {}), \
         runner AS (INSERT INTO runners (id, state, session_id, boot_token, address, created_at) \
            SELECT id, $18::text, $1, $19::bytea, $20::text, $7 FROM chosen \
            ON CONFLICT (id) DO UPDATE SET state = 'claimed', session_id = $1), \
         label AS (INSERT INTO session_labels (session_id, name, value) \
            SELECT $1, name, value FROM chosen, unnest($9::text[], $10::text[]) AS label (name, value)), \
         token AS (INSERT INTO tokens (jti, session_id, role, expires_at) \
            SELECT $11::text, $1, $12::text, $13::bigint FROM chosen), \
         key AS (INSERT INTO idempotency (api_key, name, body, session_id, created_at) \
            SELECT $2, $14::text, $15::bytea, $1, $7 FROM chosen WHERE $14::text IS NOT NULL), \
         creation AS (INSERT INTO creations (scope, created_at) \
            SELECT $16::text, $7 FROM chosen WHERE $16::text IS NOT NULL), \
         trail AS (INSERT INTO audit (at, actor, action, subject) \
            SELECT $7, $21::text, $22::text, $23::text FROM chosen) \
         SELECT body, earlier, filling, active, session.*, idle.ready_at, idle.address, idle.secret \
         FROM found LEFT JOIN session ON TRUE LEFT JOIN idle ON TRUE",
        runners::idle_of("$17", "AND EXISTS (SELECT FROM allowed)"),
        rows::SESSION
    )
});

async fn try_to_create(db: &Lease, new: &NewSession, now: Time) -> Attempt<(Found, Option<Creation>)> {
    let spec =
        serde_json::to_string(&new.spec).map_err(|error| Failure::Corrupt("sessions.spec", error.to_string()))?;
    let secrets = serde_json::to_vec(&new.secrets)
        // The error might quote what is secret.
        .map_err(|_| Failure::Corrupt("sessions.secrets", "cannot be written as JSON".to_owned()))?;
    let place = Place::of(new);
    let (names, values): (Vec<_>, Vec<_>) = new.spec.labels.iter().unzip();
    let (key, rate) = (new.idempotency.as_ref(), new.rate.as_ref());
    let entry = AuditEntry::created(new.api_key, new.id);
    let now = now.as_millisecond();
    let statement = db.prepare_cached(&CREATE).await?;
    let (sealed, key_name) = (db.key.seal(&sessions_row(new.id), &secrets)?, key.map(|key| text(&key.key)));
    let scope = rate.map(|rate| text(&rate.scope));
    let params: [&(dyn ToSql + Sync); 28] = [
        &uuid(new.id),
        &uuid(new.api_key),
        &spec,
        &sealed,
        &place.wire.as_str(),
        &place.runner,
        &now,
        &new.expires_at.as_millisecond(),
        &names,
        &values,
        &text(&new.token.jti),
        &new.token.role.as_str(),
        &new.token.expires_at.as_millisecond(),
        &key_name,
        &key.map(|key| key.body.0.to_vec()),
        &scope,
        &place.pool.map(text),
        &place.state.as_str(),
        &place.boot_token,
        &place.address.map(text),
        &entry.actor,
        &entry.action,
        &entry.subject,
        &(now - WINDOW_MS),
        &(now + WINDOW_MS),
        &rate.map_or(0, |rate| i64::from(rate.per_minute.saturating_sub(1))),
        &new.max_sessions.map(i64::from),
        &rate.is_some_and(|rate| rate.per_minute == 0),
    ];
    let rows = locks(new).query(db, &statement, &params).await?;
    let row = rows.first().ok_or_else(|| Failure::Corrupt("sessions", "no answer to a creation".to_owned()))?;
    let active: Option<i64> = rows::column(row, "active")?;
    let found = Found {
        earlier: rows::maybe_digest(row, "body")?.zip(rows::maybe_id(row, "earlier")?),
        filling: rows::column(row, "filling")?,
        active: active.map(|active| u32::try_from(active).unwrap_or(u32::MAX)),
    };
    let created: Option<SessionId> = rows::maybe_id(row, "id")?;
    Ok((found, created.map(|_| read_creation(db, new, row)).transpose()?))
}

fn read_creation(db: &Lease, new: &NewSession, row: &Row) -> Attempt<Creation> {
    let session = rows::read_session(row)?;
    let runner = session.runner.ok_or_else(|| Failure::Corrupt("sessions.runner_id", "none".to_owned()))?;
    let idle = rows::maybe_time(row, "ready_at")?.map(|since| {
        // The session is there, whatever its runner's row holds.
        let assignment = read_assignment(db, new, &session, runner, row).ok();
        Idle { since, assignment: assignment.map(Box::new) }
    });
    Ok(Creation::Created { session, runner, idle })
}

fn read_assignment(
    db: &Lease,
    new: &NewSession,
    session: &SessionRecord,
    runner: RunnerId,
    row: &Row,
) -> Attempt<Assignment> {
    Ok(Assignment {
        session: session.clone(),
        secrets: new.secrets.clone(),
        runner,
        address: rows::column(row, "address")?,
        runner_secret: runners::open_secret(&db.key, runner, rows::column(row, "secret")?)?,
    })
}

/// What of a session's row, and of its runner's, depends on where it is to run.
struct Place<'a> {
    wire: Wire,
    /// Whose idle runners will do.
    pool: Option<&'a str>,
    /// The new runner, where one may be made, and what its row says.
    runner: Option<Uuid>,
    state: RunnerState,
    boot_token: Option<&'a [u8]>,
    address: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(new: &'a NewSession) -> Self {
        let blank = Self {
            wire: Wire::TtyR1,
            pool: Some(&new.spec.template),
            runner: None,
            state: RunnerState::Booting,
            boot_token: None,
            address: None,
        };
        match &new.placement {
            Placement::IdleRunner => blank,
            Placement::Runner(runner) => {
                Self { runner: Some(uuid(runner.id)), boot_token: Some(runner.boot_token.0.as_slice()), ..blank }
            }
            Placement::Fixed { runner, address } => Self {
                wire: Wire::Tty,
                pool: None,
                runner: Some(uuid(*runner)),
                state: RunnerState::Claimed,
                address: Some(address),
                ..blank
            },
        }
    }
}

/// What a session's secrets are sealed for.
pub(super) fn sessions_row(id: SessionId) -> String {
    format!("session:{id}")
}
