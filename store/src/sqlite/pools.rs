//! Pools of standbys: adopted, filled, retired. Every transaction that writes is alone, so nothing is locked.

use rusqlite::{Connection, Row, params};
use session::RunnerId;

use super::Write;
use super::failure::{Attempt, Failure};
use super::rows::{all, execute, first, maybe_time, millis_before, word};
use crate::pools::{
    ABANDONED_AFTER, EARLY_DEATH, FIRST_BACK_OFF, FORGIVEN_AFTER, LONGEST_BACK_OFF, PoolRecord, PoolSight, PoolTarget,
    REFILL_WINDOW, Refill, Retired,
};
use crate::{NewRunner, Time};

const GONE: &str = "UPDATE runners SET state = 'gone', secret = NULL, gone_at = ?1 \
                    WHERE state IN ('booting', 'idle') AND session_id IS NULL";

pub(super) fn adopt(db: &Write<'_>, target: &PoolTarget, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO pools (name, template, revision, confirmed_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET template = ?2, revision = ?3, confirmed_at = ?4",
        params![target.name, target.template, target.revision, now.as_millisecond()],
    )?;
    Ok(())
}

pub(super) fn refill(db: &Write<'_>, target: &PoolTarget, new: &[NewRunner], now: Time) -> Attempt<Refill> {
    confirm(db, target, now)?;
    let sight = look(db, target, now)?;
    let sight = sight.ok_or_else(|| Failure::Corrupt("pools.name", "a row that must be there is not".to_owned()))?;
    let refill = target.judge(&sight, new.len(), now);
    for new in &new[..refill.added] {
        execute(
            db,
            "INSERT INTO runners (id, state, boot_token, pool, template, created_at) \
             VALUES (?1, 'booting', ?2, ?3, ?4, ?5)",
            params![new.id.to_string(), new.boot_token.0, target.name, target.template, now.as_millisecond()],
        )?;
    }
    Ok(refill)
}

/// Says that somebody is configured like the pool, takes over one that nobody is, makes one that is not there, and
/// forgets what failed long ago.
fn confirm(db: &Write<'_>, target: &PoolTarget, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO pools AS p (name, template, revision, confirmed_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET template = ?2, revision = ?3, confirmed_at = ?4, \
            failures = CASE WHEN p.failed_at > ?7 THEN p.failures ELSE 0 END, \
            retry_at = CASE WHEN p.failed_at > ?7 THEN p.retry_at END \
         WHERE (p.revision = ?3 AND p.confirmed_at < ?5) OR p.confirmed_at < ?6",
        params![
            target.name,
            target.template,
            target.revision,
            now.as_millisecond(),
            millis_before(now, ABANDONED_AFTER / 4),
            millis_before(now, ABANDONED_AFTER),
            millis_before(now, FORGIVEN_AFTER),
        ],
    )?;
    Ok(())
}

fn look(db: &Write<'_>, target: &PoolTarget, now: Time) -> Attempt<Option<PoolSight>> {
    first(
        db,
        "SELECT p.revision, p.paused, p.retry_at, \
            COUNT(*) FILTER (WHERE r.state IN ('booting', 'idle') AND r.session_id IS NULL \
                             AND r.template = p.template) AS standing, \
            COUNT(*) FILTER (WHERE r.state <> 'gone') AS living, \
            COUNT(*) FILTER (WHERE r.created_at > ?2) AS recent \
         FROM pools p LEFT JOIN runners r ON r.pool = p.name AND (r.state <> 'gone' OR r.created_at > ?2) \
         WHERE p.name = ?1 GROUP BY p.name",
        params![target.name, millis_before(now, REFILL_WINDOW)],
        |row| {
            Ok(PoolSight {
                revision: row.get("revision")?,
                paused: row.get("paused")?,
                retry_at: maybe_time(row, "retry_at")?,
                standing: row.get("standing")?,
                living: row.get("living")?,
                recent: row.get("recent")?,
            })
        },
    )
}

/// Standbys of another template than the pool's, those that have waited too long, and the youngest of too many.
pub(super) fn retire(db: &Write<'_>, target: &PoolTarget, now: Time) -> Attempt<Vec<Retired>> {
    let sql = format!(
        "{GONE} AND pool = ?2 AND EXISTS (SELECT 1 FROM pools WHERE name = ?2 AND revision = ?3) \
         AND (created_at <= ?4 OR template <> (SELECT template FROM pools WHERE name = ?2) \
              OR id IN (SELECT id FROM runners WHERE pool = ?2 AND state IN ('booting', 'idle') AND session_id IS NULL \
                        AND template = (SELECT template FROM pools WHERE name = ?2) \
                        ORDER BY created_at, id LIMIT -1 OFFSET ?5)) \
         RETURNING id, pool, handle, ready_at"
    );
    let params =
        params![now.as_millisecond(), target.name, target.revision, millis_before(now, target.max_idle), target.min];
    all(db, &sql, params, |row| read_retired(row, now))
}

/// Standbys of pools that nobody is configured with any more.
pub(super) fn retire_abandoned(db: &Write<'_>, now: Time) -> Attempt<Vec<Retired>> {
    let before = millis_before(now, ABANDONED_AFTER);
    let sql = format!(
        "{GONE} AND pool IS NOT NULL \
         AND COALESCE((SELECT confirmed_at FROM pools WHERE name = runners.pool), 0) < ?2 \
         RETURNING id, pool, handle, ready_at"
    );
    let retired = all(db, &sql, params![now.as_millisecond(), before], |row| read_retired(row, now))?;
    execute(
        db,
        "DELETE FROM pools WHERE confirmed_at < ?1 AND NOT paused \
         AND NOT EXISTS (SELECT 1 FROM runners WHERE pool = name AND state <> 'gone')",
        [before],
    )?;
    Ok(retired)
}

fn read_retired(row: &Row<'_>, now: Time) -> Attempt<Retired> {
    Ok(Retired {
        runner: word(row, "id")?,
        pool: row.get("pool")?,
        handle: row.get("handle")?,
        idle: crate::pools::since(maybe_time(row, "ready_at")?, now),
    })
}

pub(super) fn list(db: &Connection) -> Attempt<Vec<PoolRecord>> {
    all(
        db,
        "SELECT p.name, p.template, p.paused, p.failures, p.retry_at, \
            COUNT(*) FILTER (WHERE r.state = 'booting') AS booting, \
            COUNT(*) FILTER (WHERE r.state = 'idle') AS idle, \
            COUNT(*) FILTER (WHERE r.state = 'claimed') AS claimed \
         FROM pools p LEFT JOIN runners r ON r.pool = p.name AND r.state <> 'gone' GROUP BY p.name ORDER BY p.name",
        [],
        |row| {
            Ok(PoolRecord {
                name: row.get("name")?,
                template: row.get("template")?,
                paused: row.get("paused")?,
                failures: row.get("failures")?,
                retry_at: maybe_time(row, "retry_at")?,
                booting: row.get("booting")?,
                idle: row.get("idle")?,
                claimed: row.get("claimed")?,
            })
        },
    )
}

pub(super) fn pause(db: &Write<'_>, name: &str, paused: bool) -> Attempt<bool> {
    Ok(execute(db, "UPDATE pools SET paused = ?2 WHERE name = ?1", params![name, paused])? > 0)
}

/// Marks a runner as gone, and a standby's early end as a failure of its pool: one in each pause, since what makes one
/// standby fail makes all fail that boot at that moment.
pub(super) fn mark_gone(db: &Write<'_>, runner: RunnerId, now: Time) -> Attempt<bool> {
    let millis = now.as_millisecond();
    let failing: Option<Option<String>> = first(
        db,
        "UPDATE runners SET state = 'gone', secret = NULL, gone_at = ?2 WHERE id = ?1 AND state <> 'gone' \
         RETURNING CASE WHEN session_id IS NULL AND COALESCE(ready_at, ?2) > ?3 THEN pool END AS failing",
        params![runner.to_string(), millis, millis_before(now, EARLY_DEATH)],
        |row| Ok(row.get("failing")?),
    )?;
    let Some(failing) = failing else { return Ok(false) };
    if let Some(pool) = failing {
        execute(
            db,
            "UPDATE pools SET failures = failures + 1, failed_at = ?2, \
                retry_at = ?2 + MIN(?4, ?3 * (1 << MIN(failures, 20))) \
             WHERE name = ?1 AND COALESCE(retry_at, 0) <= ?2",
            params![pool, millis, FIRST_BACK_OFF.as_millis() as i64, LONGEST_BACK_OFF.as_millis() as i64],
        )?;
    }
    Ok(true)
}
