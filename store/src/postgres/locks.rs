//! Advisory locks: what makes a transaction exact where no row is there to be locked.
//!
//! Each is held until its transaction ends. A transaction that takes several takes them in the order in which they are
//! listed here, and before any row lock, so that no two can wait for each other.

use futures_util::future::join3;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::failure::Attempt;
use super::lease::Lease;
use crate::Digest;

#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// One pruning at a time.
    Upkeep,
    /// One creation at a time with the same idempotency key.
    Idempotency,
    /// One creation at a time in the same scope of a rate.
    Rate,
    /// One creation at a time where the number of sessions is limited.
    Capacity,
    /// One redemption at a time of a session's tickets.
    Tickets,
    /// One addition at a time of standbys to a pool.
    Pool,
}

/// What a transaction begins with.
#[derive(Debug, Clone, Default)]
pub(super) struct Locks(Vec<i64>);

impl Locks {
    pub(super) fn on(lock: Lock, name: &str) -> Self {
        Self::default().and(lock, name)
    }

    pub(super) fn and(mut self, lock: Lock, name: &str) -> Self {
        self.0.push(key(lock, name));
        self
    }

    /// `begin`, and waiting for one after the other: one round trip, and nobody is waited for where it fails.
    pub(super) fn after(&self, begin: &str) -> String {
        let waits = self.0.iter().map(|key| format!("; SELECT pg_advisory_xact_lock({key})"));
        std::iter::once(begin.to_owned()).chain(waits).collect()
    }

    /// A statement that sees all that the locks' holders before it committed. It stands between BEGIN with the locks and
    /// COMMIT. They are sent together and in this order, so that nobody who waits for a lock waits for the way to us and
    /// back.
    pub(super) async fn query(
        &self,
        db: &Lease,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Attempt<Vec<Row>> {
        if self.0.is_empty() {
            return Ok(db.query(statement, params).await?);
        }
        // `join3` begins with the first, and each is sent when it begins.
        let begin = self.after("BEGIN ISOLATION LEVEL READ COMMITTED");
        let (begun, answered, committed) =
            join3(db.batch_execute(&begin), db.query(statement, params), db.batch_execute("COMMIT")).await;
        // After a failure, the server refuses what comes next and takes COMMIT for ROLLBACK.
        begun?;
        let answered = answered?;
        committed?;
        Ok(answered)
    }
}

/// Two names that meet in 64 bits only wait for each other for nothing.
fn key(lock: Lock, name: &str) -> i64 {
    let digest = Digest::of(format!("cliscale {lock:?} {name}").as_bytes());
    i64::from_be_bytes(*digest.0.first_chunk().expect("32 bytes"))
}
