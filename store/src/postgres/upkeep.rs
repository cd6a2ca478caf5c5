//! Pruning what is over, and asking whether the database answers.
//!
//! A pruning goes in steps, each a transaction that deletes a bounded number of rows, so that none outlasts a
//! statement's time or holds its locks for long.

use std::time::Duration;

use uuid::Uuid;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::rows::{self, all, execute, first, millis_before};
use super::tickets::GRACE_MS;
use crate::{Pruned, Retention, Time};

/// How long a runner that is gone is still shown.
const GONE_RUNNERS: Duration = Duration::from_secs(3600);
/// No rate looks further back.
const CREATIONS: Duration = Duration::from_secs(60);

/// Sessions that one step deletes at most, with all that is theirs.
const SESSIONS: i64 = 500;
/// Rows of each other kind.
const ROWS: i64 = 5000;

impl std::ops::AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.tokens += other.tokens;
        self.tickets += other.tickets;
        self.idempotency += other.idempotency;
        self.runners += other.runners;
        self.audit += other.audit;
    }
}

/// What a step deleted, and whether there may be more.
pub(super) struct Step {
    pub(super) pruned: Pruned,
    pub(super) more: bool,
}

pub(super) async fn prune(db: &Lease, retention: Retention, now: Time) -> Attempt<Step> {
    let millis = now.as_millisecond();
    // What is theirs is deleted before them, so that it is counted. One that somebody works with can wait.
    let over: Vec<Uuid> = all(
        db,
        "SELECT id FROM sessions WHERE stage = 'ended' AND ended_at <= $1 ORDER BY ended_at LIMIT $2 \
         FOR UPDATE SKIP LOCKED",
        &[&millis_before(now, retention.sessions), &SESSIONS],
        |row| rows::column(row, "id"),
    )
    .await?;
    let mut more = over.len() as i64 == SESSIONS;
    let mut pruned = Pruned {
        tokens: of_sessions(db, "tokens", &over).await?,
        tickets: of_sessions(db, "tickets", &over).await?,
        idempotency: of_sessions(db, "idempotency", &over).await?,
        sessions: execute(db, "DELETE FROM sessions WHERE id = ANY ($1)", &[&over]).await?,
        runners: 0,
        audit: 0,
    };
    // Of a session that has ended, nothing can be taken over: its tombstones may go.
    let tombstones = "dead AND superseded_at <= $1 \
                      AND session_id IN (SELECT id FROM sessions WHERE stage = 'ended')";
    let mut creations = 0;
    for (count, table, condition, until) in [
        (&mut pruned.tokens, "tokens", "expires_at <= $1", millis),
        (&mut pruned.tickets, "tickets", tombstones, millis - GRACE_MS),
        (&mut pruned.idempotency, "idempotency", "created_at <= $1", millis_before(now, retention.idempotency)),
        (&mut pruned.runners, "runners", "state = 'gone' AND gone_at <= $1", millis_before(now, GONE_RUNNERS)),
        (&mut pruned.audit, "audit", "at <= $1", millis_before(now, retention.audit)),
        (&mut creations, "creations", "created_at <= $1", millis_before(now, CREATIONS)),
    ] {
        let deleted = until_then(db, table, condition, until).await?;
        more |= deleted as i64 == ROWS;
        *count += deleted;
    }
    Ok(Step { pruned, more })
}

async fn of_sessions(db: &Lease, table: &str, sessions: &Vec<Uuid>) -> Attempt<u64> {
    execute(db, &format!("DELETE FROM {table} WHERE session_id = ANY ($1)"), &[sessions]).await
}

/// Deletes rows up to a moment, without waiting for those that somebody works with.
async fn until_then(db: &Lease, table: &str, condition: &str, until: i64) -> Attempt<u64> {
    let sql = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT $2 \
         FOR UPDATE SKIP LOCKED))"
    );
    execute(db, &sql, &[&until, &ROWS]).await
}

/// A standby answers, but takes no writes.
pub(super) async fn touch(db: &Lease) -> Attempt<()> {
    let standby = first(db, "SELECT pg_is_in_recovery() AS standby", &[], |row| rows::column(row, "standby")).await?;
    if standby == Some(true) { Err(Failure::Standby) } else { Ok(()) }
}
