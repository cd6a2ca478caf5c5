//! Advisory locks: what makes a transaction exact where no row is there to be locked.
//!
//! Each is held until its transaction ends. A transaction that takes several takes them in the order in which they are
//! listed here, and before any row lock, so that no two can wait for each other.

use deadpool_postgres::ClientWrapper;

use super::failure::Attempt;
use super::rows::execute;
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

/// Waits for the lock on `name`.
pub(super) async fn take(db: &ClientWrapper, lock: Lock, name: &str) -> Attempt<()> {
    execute(db, "SELECT pg_advisory_xact_lock($1)", &[&key(lock, name)]).await?;
    Ok(())
}

/// Waits for several, one after the other; `None` is not waited for.
pub(super) async fn take_all(db: &ClientWrapper, locks: [Option<(Lock, String)>; 3]) -> Attempt<()> {
    let [first, second, third] = locks.each_ref().map(|lock| lock.as_ref().map(|(lock, name)| key(*lock, name)));
    // A select list without a table is evaluated from left to right, and the function does nothing for NULL.
    let sql = "SELECT pg_advisory_xact_lock($1), pg_advisory_xact_lock($2), pg_advisory_xact_lock($3)";
    if locks.iter().any(Option::is_some) {
        execute(db, sql, &[&first, &second, &third]).await?;
    }
    Ok(())
}

/// Two names that meet in 64 bits only wait for each other for nothing.
fn key(lock: Lock, name: &str) -> i64 {
    let digest = Digest::of(format!("cliscale {lock:?} {name}").as_bytes());
    i64::from_be_bytes(*digest.0.first_chunk().expect("32 bytes"))
}
