//! Pools of standbys: adopted, filled, retired.
//!
//! Runners of a pool are added under its advisory lock, so that no two controllers add the same missing one. Whoever
//! takes one away needs no lock: there are only fewer then.

use uuid::Uuid;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::rows::{self, all, column, execute, first, id, maybe_time, millis_before, text, uuid};
use crate::pools::{
    ABANDONED_AFTER, EARLY_DEATH, FIRST_BACK_OFF, FORGIVEN_AFTER, LONGEST_BACK_OFF, PoolRecord, PoolSight, PoolTarget,
    REFILL_WINDOW, Refill, Retired,
};
use crate::{NewRunner, Time};

const GONE: &str = "UPDATE runners SET state = 'gone', secret = NULL, gone_at = $1 FROM due WHERE runners.id = due.id \
                    RETURNING runners.id, runners.pool, runners.handle, runners.ready_at";

pub(super) async fn adopt(db: &Lease, target: &PoolTarget, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO pools (name, template, revision, confirmed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET template = $2, revision = $3, confirmed_at = $4",
        &[&text(&target.name), &target.template, &target.revision, &now.as_millisecond()],
    )
    .await?;
    Ok(())
}

pub(super) async fn refill(db: &Lease, target: &PoolTarget, new: &[NewRunner], now: Time) -> Attempt<Refill> {
    confirm(db, target, now).await?;
    let sight = look(db, target, now).await?;
    let sight = sight.ok_or_else(|| Failure::Corrupt("pools.name", "a row that must be there is not".to_owned()))?;
    let refill = target.judge(&sight, new.len(), now);
    let new = &new[..refill.added];
    if !new.is_empty() {
        let ids: Vec<Uuid> = new.iter().map(|new| uuid(new.id)).collect();
        let tokens: Vec<&[u8]> = new.iter().map(|new| new.boot_token.0.as_slice()).collect();
        execute(
            db,
            "INSERT INTO runners (id, state, boot_token, pool, template, created_at) \
             SELECT id, 'booting', boot_token, $3, $4, $5 FROM unnest($1::uuid[], $2::bytea[]) AS new (id, boot_token)",
            &[&ids, &tokens, &text(&target.name), &target.template, &now.as_millisecond()],
        )
        .await?;
    }
    Ok(refill)
}

/// Says that somebody is configured like the pool, takes over one that nobody is, makes one that is not there, and
/// forgets what failed long ago. Only now and then, since every write of a row is a new version of it.
async fn confirm(db: &Lease, target: &PoolTarget, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO pools AS p (name, template, revision, confirmed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET template = $2, revision = $3, confirmed_at = $4, \
            failures = CASE WHEN p.failed_at > $7 THEN p.failures ELSE 0 END, \
            retry_at = CASE WHEN p.failed_at > $7 THEN p.retry_at END \
         WHERE (p.revision = $3 AND p.confirmed_at < $5) OR p.confirmed_at < $6",
        &[
            &text(&target.name),
            &target.template,
            &target.revision,
            &now.as_millisecond(),
            &millis_before(now, ABANDONED_AFTER / 4),
            &millis_before(now, ABANDONED_AFTER),
            &millis_before(now, FORGIVEN_AFTER),
        ],
    )
    .await?;
    Ok(())
}

async fn look(db: &Lease, target: &PoolTarget, now: Time) -> Attempt<Option<PoolSight>> {
    first(
        db,
        "SELECT p.revision, p.paused, p.retry_at, \
            COUNT(*) FILTER (WHERE r.state IN ('booting', 'idle') AND r.session_id IS NULL \
                             AND r.template = p.template) AS standing, \
            COUNT(*) FILTER (WHERE r.state <> 'gone') AS living, \
            COUNT(*) FILTER (WHERE r.created_at > $2) AS recent \
         FROM pools p LEFT JOIN runners r ON r.pool = p.name AND (r.state <> 'gone' OR r.created_at > $2) \
         WHERE p.name = $1 GROUP BY p.name",
        &[&text(&target.name), &millis_before(now, REFILL_WINDOW)],
        |row| {
            Ok(PoolSight {
                revision: column(row, "revision")?,
                paused: column(row, "paused")?,
                retry_at: maybe_time(row, "retry_at")?,
                standing: count(row, "standing")?,
                living: count(row, "living")?,
                recent: count(row, "recent")?,
            })
        },
    )
    .await
}

fn count(row: &tokio_postgres::Row, name: &'static str) -> Attempt<u32> {
    Ok(u32::try_from(column::<i64>(row, name)?).unwrap_or(u32::MAX))
}

/// Standbys of another template than the pool's, those that have waited too long, and the youngest of too many. One that
/// is being claimed stays.
pub(super) async fn retire(db: &Lease, target: &PoolTarget, now: Time) -> Attempt<Vec<Retired>> {
    let sql = format!(
        "WITH due AS (SELECT r.id FROM runners r JOIN pools p ON p.name = r.pool \
                      WHERE p.name = $2 AND p.revision = $3 AND r.state IN ('booting', 'idle') AND r.session_id IS NULL \
                      AND (r.template <> p.template OR r.created_at <= $4 \
                           OR r.id IN (SELECT id FROM runners WHERE pool = $2 AND state IN ('booting', 'idle') \
                                       AND session_id IS NULL AND template = p.template \
                                       ORDER BY created_at, id OFFSET $5)) \
                      ORDER BY r.id FOR UPDATE OF r SKIP LOCKED) {GONE}"
    );
    let params: rows::Params<'_> = &[
        &now.as_millisecond(),
        &text(&target.name),
        &target.revision,
        &millis_before(now, target.max_idle),
        &i64::from(target.min),
    ];
    all(db, &sql, params, |row| read_retired(row, now)).await
}

/// Standbys of pools that nobody is configured with any more.
pub(super) async fn retire_abandoned(db: &Lease, now: Time) -> Attempt<Vec<Retired>> {
    let sql = format!(
        "WITH due AS (SELECT r.id FROM runners r LEFT JOIN pools p ON p.name = r.pool \
                      WHERE r.pool IS NOT NULL AND r.state IN ('booting', 'idle') AND r.session_id IS NULL \
                      AND COALESCE(p.confirmed_at, 0) < $2 ORDER BY r.id FOR UPDATE OF r SKIP LOCKED) {GONE}"
    );
    let retired =
        all(db, &sql, &[&now.as_millisecond(), &millis_before(now, ABANDONED_AFTER)], |row| read_retired(row, now))
            .await?;
    execute(
        db,
        "DELETE FROM pools WHERE confirmed_at < $1 AND NOT paused \
         AND NOT EXISTS (SELECT FROM runners WHERE pool = name AND state <> 'gone')",
        &[&millis_before(now, ABANDONED_AFTER)],
    )
    .await?;
    Ok(retired)
}

fn read_retired(row: &tokio_postgres::Row, now: Time) -> Attempt<Retired> {
    let ready = maybe_time(row, "ready_at")?;
    Ok(Retired {
        runner: id(row, "id")?,
        pool: column(row, "pool")?,
        handle: column(row, "handle")?,
        idle: crate::pools::since(ready, now),
    })
}

pub(super) async fn list(db: &Lease) -> Attempt<Vec<PoolRecord>> {
    all(
        db,
        "SELECT p.name, p.template, p.paused, p.failures, p.retry_at, \
            COUNT(*) FILTER (WHERE r.state = 'booting') AS booting, \
            COUNT(*) FILTER (WHERE r.state = 'idle') AS idle, \
            COUNT(*) FILTER (WHERE r.state = 'claimed') AS claimed \
         FROM pools p LEFT JOIN runners r ON r.pool = p.name AND r.state <> 'gone' GROUP BY p.name ORDER BY p.name",
        &[],
        |row| {
            Ok(PoolRecord {
                name: column(row, "name")?,
                template: column(row, "template")?,
                paused: column(row, "paused")?,
                failures: column::<i32>(row, "failures")?.unsigned_abs(),
                retry_at: maybe_time(row, "retry_at")?,
                booting: count(row, "booting")?,
                idle: count(row, "idle")?,
                claimed: count(row, "claimed")?,
            })
        },
    )
    .await
}

pub(super) async fn pause(db: &Lease, name: &str, paused: bool) -> Attempt<bool> {
    Ok(execute(db, "UPDATE pools SET paused = $2 WHERE name = $1", &[&text(name), &paused]).await? > 0)
}

/// Marks a runner as gone, and a standby's early end as a failure of its pool: one in each pause, since what makes one
/// standby fail makes all fail that boot at that moment.
pub(super) async fn mark_gone(db: &Lease, runner: Uuid, now: Time) -> Attempt<bool> {
    let marked = first(
        db,
        "WITH gone AS (UPDATE runners SET state = 'gone', secret = NULL, gone_at = $2 \
                       WHERE id = $1 AND state <> 'gone' RETURNING pool, session_id, ready_at), \
              failed AS (UPDATE pools SET failures = failures + 1, failed_at = $2, \
                            retry_at = $2 + LEAST($4, $3 * (1::bigint << LEAST(failures, 20))) \
                         FROM gone WHERE name = gone.pool AND gone.session_id IS NULL \
                         AND (gone.ready_at IS NULL OR gone.ready_at > $5) AND COALESCE(retry_at, 0) <= $2) \
         SELECT COUNT(*) AS count FROM gone",
        &[
            &runner,
            &now.as_millisecond(),
            &(FIRST_BACK_OFF.as_millis() as i64),
            &(LONGEST_BACK_OFF.as_millis() as i64),
            &millis_before(now, EARLY_DEATH),
        ],
        |row| count(row, "count"),
    )
    .await?;
    Ok(marked.unwrap_or(0) > 0)
}
