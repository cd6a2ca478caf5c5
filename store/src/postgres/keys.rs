//! API keys, of which only digests are kept, and the audit trail.

use session::ApiKeyId;
use tokio_postgres::Row;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::rows::{self, all, execute, first, text, uuid};
use crate::{ApiKey, AuditEntry, Digest, NewApiKey, Time};

const KEY: &str = "id, name, digest, creates_per_minute, created_at";

/// A key that is there already stays as it is, so that several controllers may add the same bootstrap key.
pub(super) async fn add(db: &Lease, new: &NewApiKey, now: Time) -> Attempt<ApiKey> {
    // The update changes nothing; by it the row that is there is locked and answered.
    let sql = format!(
        "INSERT INTO api_keys ({KEY}) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (digest) WHERE revoked_at IS NULL DO UPDATE SET digest = EXCLUDED.digest RETURNING {KEY}"
    );
    let added = first(
        db,
        &sql,
        &[
            &uuid(new.id),
            &text(&new.name),
            &new.hash.0.as_slice(),
            &new.creates_per_minute.map(i64::from),
            &now.as_millisecond(),
        ],
        read,
    )
    .await?;
    added.ok_or_else(|| Failure::Corrupt("api_keys.id", "a row that must be there is not".to_owned()))
}

pub(super) async fn find(db: &Lease, digest: Digest) -> Attempt<Option<ApiKey>> {
    let sql = format!("SELECT {KEY} FROM api_keys WHERE digest = $1 AND revoked_at IS NULL");
    first(db, &sql, &[&digest.0.as_slice()], read).await
}

pub(super) async fn list(db: &Lease) -> Attempt<Vec<ApiKey>> {
    let sql = format!("SELECT {KEY} FROM api_keys WHERE revoked_at IS NULL ORDER BY created_at, id");
    all(db, &sql, &[], read).await
}

/// `false`: there is no such key, or it was revoked before.
pub(super) async fn revoke(db: &Lease, id: ApiKeyId, now: Time) -> Attempt<bool> {
    let revoked = execute(
        db,
        "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        &[&uuid(id), &now.as_millisecond()],
    )
    .await?;
    Ok(revoked > 0)
}

pub(super) async fn audit(db: &Lease, entry: &AuditEntry, now: Time) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO audit (at, actor, action, subject) VALUES ($1, $2, $3, $4)",
        &[&now.as_millisecond(), &text(&entry.actor), &entry.action, &text(&entry.subject)],
    )
    .await?;
    Ok(())
}

fn read(row: &Row) -> Attempt<ApiKey> {
    let per_minute: Option<i64> = rows::column(row, "creates_per_minute")?;
    let per_minute = per_minute.map(u32::try_from).transpose();
    Ok(ApiKey {
        id: rows::id(row, "id")?,
        name: rows::column(row, "name")?,
        hash: rows::digest(row, "digest")?,
        creates_per_minute: per_minute
            .map_err(|error| Failure::Corrupt("api_keys.creates_per_minute", error.to_string()))?,
        created_at: rows::time(row, "created_at")?,
    })
}
