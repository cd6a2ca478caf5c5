//! Pruning what is over, and asking whether the database answers.

use std::time::Duration;

use rusqlite::{Connection, Params, params};

use super::Write;
use super::failure::Attempt;
use super::rows::{execute, millis_before};
use super::tickets::GRACE_MS;
use crate::{Pruned, Retention, Time};

/// How long a runner that is gone is still shown.
const GONE_RUNNERS: Duration = Duration::from_secs(3600);
/// No rate looks further back.
const CREATIONS: Duration = Duration::from_secs(60);

/// The sessions that ended long enough ago; what is theirs is deleted before them, so that it is counted.
const OVER: &str = "(SELECT id FROM sessions WHERE stage = 'ended' AND ended_at <= ?1)";

pub(super) fn prune(db: &Write<'_>, retention: Retention, now: Time) -> Attempt<Pruned> {
    let over = millis_before(now, retention.sessions);
    let millis = now.as_millisecond();
    let pruned = Pruned {
        tokens: delete(
            db,
            &format!("DELETE FROM tokens WHERE expires_at <= ?2 OR session_id IN {OVER}"),
            params![over, millis],
        )?,
        // Of a session that has ended, nothing can be taken over: its tombstones may go.
        tickets: delete(
            db,
            &format!(
                "DELETE FROM tickets WHERE session_id IN {OVER} OR (dead = 1 AND superseded_at <= ?2 \
                 AND session_id IN (SELECT id FROM sessions WHERE stage = 'ended'))"
            ),
            params![over, millis - GRACE_MS],
        )?,
        idempotency: delete(
            db,
            &format!("DELETE FROM idempotency WHERE created_at <= ?2 OR session_id IN {OVER}"),
            params![over, millis_before(now, retention.idempotency)],
        )?,
        sessions: delete(db, &format!("DELETE FROM sessions WHERE id IN {OVER}"), [over])?,
        runners: delete(
            db,
            "DELETE FROM runners WHERE state = 'gone' AND gone_at <= ?1",
            [millis_before(now, GONE_RUNNERS)],
        )?,
        audit: delete(db, "DELETE FROM audit WHERE at <= ?1", [millis_before(now, retention.audit)])?,
    };
    execute(db, "DELETE FROM creations WHERE created_at <= ?1", [millis_before(now, CREATIONS)])?;
    Ok(pruned)
}

fn delete(db: &Write<'_>, sql: &str, params: impl Params) -> Attempt<u64> {
    Ok(execute(db, sql, params)? as u64)
}

/// Reads from the file; `SELECT 1` alone would not.
pub(super) fn touch(db: &Connection) -> Attempt<()> {
    db.query_one("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(())
}
