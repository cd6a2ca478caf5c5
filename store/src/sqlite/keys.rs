//! API keys, of which only digests are kept, and the audit trail.

use rusqlite::{Connection, Row, params};
use session::ApiKeyId;

use super::Write;
use super::failure::Attempt;
use super::rows::{self, all, execute, first};
use crate::{ApiKey, AuditEntry, Digest, NewApiKey, Time};

const KEY: &str = "id, name, digest, creates_per_minute, created_at";

/// A key that is there already stays as it is, so that several controllers may add the same bootstrap key.
pub(super) fn add(db: &Write<'_>, new: &NewApiKey, now: Time) -> Attempt<ApiKey> {
    if let Some(known) = find(db, new.hash)? {
        return Ok(known);
    }
    execute(
        db,
        "INSERT INTO api_keys (id, name, digest, creates_per_minute, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.id.to_string(), new.name, new.hash.0, new.creates_per_minute, now.as_millisecond()],
    )?;
    let sql = format!("SELECT {KEY} FROM api_keys WHERE id = ?1");
    db.query_one(&sql, [new.id.to_string()], |row| Ok(read(row)))?
}

pub(super) fn find(db: &Connection, digest: Digest) -> Attempt<Option<ApiKey>> {
    let sql = format!("SELECT {KEY} FROM api_keys WHERE digest = ?1 AND revoked_at IS NULL");
    first(db, &sql, [digest.0], read)
}

pub(super) fn list(db: &Connection) -> Attempt<Vec<ApiKey>> {
    let sql = format!("SELECT {KEY} FROM api_keys WHERE revoked_at IS NULL ORDER BY created_at, id");
    all(db, &sql, [], read)
}

/// `false`: there is no such key, or it was revoked before.
pub(super) fn revoke(db: &Write<'_>, id: ApiKeyId, now: Time) -> Attempt<bool> {
    let revoked = execute(
        db,
        "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
        params![id.to_string(), now.as_millisecond()],
    )?;
    Ok(revoked > 0)
}

pub(super) fn audit(db: &Write<'_>, entry: &AuditEntry, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO audit (at, actor, action, subject) VALUES (?1, ?2, ?3, ?4)",
        params![now.as_millisecond(), entry.actor, entry.action, entry.subject],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> Attempt<ApiKey> {
    Ok(ApiKey {
        id: rows::word(row, "id")?,
        name: row.get("name")?,
        hash: rows::digest(row, "digest")?,
        creates_per_minute: row.get("creates_per_minute")?,
        created_at: rows::time(row, "created_at")?,
    })
}
