//! Reading, listing, advancing and ending sessions.

use std::sync::LazyLock;

use session::{Ended, RunnerId, Secret, SessionId, Stage};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::{Attempt, Failure};
use super::lease::Lease;
use super::rows::{self, execute, first, text, uuid};
use super::{notices, runners};
use crate::{ActiveSession, Advance, EndOutcome, Extension, Filter, Route, SealKey, SessionRecord, Time};

/// What a condition compares with.
type Value = Box<dyn ToSql + Sync + Send>;

/// Newest first: ids sort by the time they were drawn.
pub(super) async fn list(db: &Lease, filter: &Filter) -> Attempt<Vec<SessionRecord>> {
    let (sql, values) = selection(filter);
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
    rows::all(db, &sql, &values, rows::read_session).await
}

pub(super) async fn active(db: &Lease) -> Attempt<Vec<ActiveSession>> {
    let sql = format!("SELECT {} FROM sessions WHERE stage <> 'ended'", rows::ACTIVE);
    rows::all(db, &sql, &[], rows::read_active).await
}

fn selection(filter: &Filter) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    if let Some(before) = filter.before {
        values.push(Box::new(uuid(before)));
        conditions.push(format!("id < ${}", values.len()));
    }
    if let Some(state) = filter.state {
        let stages: Vec<_> =
            Stage::ALL.iter().filter(|stage| stage.state() == state).map(|stage| format!("'{stage}'")).collect();
        conditions.push(format!("stage IN ({})", stages.join(", ")));
    }
    for (name, value) in &filter.labels {
        values.push(Box::new(text(name).into_owned()));
        values.push(Box::new(text(value).into_owned()));
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM session_labels WHERE session_id = sessions.id AND name = ${} AND value = ${})",
            values.len() - 1,
            values.len()
        ));
    }
    let mut sql = format!("SELECT {} FROM sessions", rows::SESSION);
    if !conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    sql.push_str(" ORDER BY id DESC");
    if filter.limit > 0 {
        values.push(Box::new(i64::from(filter.limit)));
        sql.push_str(&format!(" LIMIT ${}", values.len()));
    }
    (sql, values)
}

/// Every stage after `queued` means that the runner has the secrets.
static ADVANCE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE sessions SET stage = $5, secrets = NULL, started_at = $6 \
         WHERE id = $2 AND epoch = $3 AND stage = ANY ($4) RETURNING {}",
        notices::TOLD
    )
});

static END: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE sessions SET stage = 'ended', secrets = NULL, ended_at = $4, end_reason = $5, exit_code = $6, \
         end_signal = $7, end_message = $8 \
         WHERE id = $2 AND stage <> 'ended' AND ($3::bigint IS NULL OR epoch = $3) RETURNING {}, {}",
        rows::SESSION,
        notices::TOLD
    )
});

/// A stage only grows, so that what a row says when nothing was changed is why.
pub(super) async fn advance(db: &mut Lease, id: SessionId, epoch: u64, stage: Stage, now: Time) -> Attempt<Advance> {
    if stage == Stage::Ended {
        return Err(Failure::Misuse("a session ends with a reason, not by a stage alone"));
    }
    let before: Vec<_> =
        Stage::ALL.iter().filter(|before| before.may_become(stage)).map(|before| before.as_str()).collect();
    let started = (stage == Stage::Running).then(|| now.as_millisecond());
    // Told also where nobody knows what came of it.
    db.changed.push(id);
    let moved = execute(
        db,
        &ADVANCE,
        &[&notices::notice(&db.origin, id), &uuid(id), &stored(epoch)?, &before, &stage.as_str(), &started],
    )
    .await?;
    if moved > 0 {
        return Ok(Advance::Moved);
    }
    db.changed.clear();
    Ok(match rows::session(db, id).await? {
        None => Advance::Unknown,
        Some(session) if session.ended.is_some() || session.epoch != epoch => Advance::Fenced,
        Some(_) => Advance::Unchanged,
    })
}

/// An epoch as its column has it.
fn stored(epoch: u64) -> Attempt<i64> {
    i64::try_from(epoch).map_err(|_| Failure::Misuse("an epoch that no session can have"))
}

pub(super) async fn end(
    db: &mut Lease,
    id: SessionId,
    epoch: Option<u64>,
    ended: &Ended,
    now: Time,
) -> Attempt<EndOutcome> {
    db.changed.push(id);
    let ended = first(
        db,
        &END,
        &[
            &notices::notice(&db.origin, id),
            &uuid(id),
            &epoch.map(stored).transpose()?,
            &now.as_millisecond(),
            &ended.reason.as_str(),
            &ended.exit_code,
            &ended.signal.as_deref().map(text),
            &ended.message.as_deref().map(text),
        ],
        rows::read_session,
    )
    .await?;
    if let Some(ended) = ended {
        return Ok(EndOutcome::Ended(ended));
    }
    db.changed.clear();
    Ok(match rows::session(db, id).await? {
        None => EndOutcome::Unknown,
        Some(session) if session.ended.is_some() && epoch.is_none_or(|epoch| epoch == session.epoch) => {
            EndOutcome::Already(session)
        }
        Some(_) => EndOutcome::Fenced,
    })
}

pub(super) async fn extend(db: &mut Lease, id: SessionId, expires_at: Time) -> Attempt<Extension> {
    let Some(session) = rows::locked_session(db, id).await? else { return Ok(Extension::Unknown) };
    if session.ended.is_some() {
        return Ok(Extension::Ended);
    }
    let expires_at = expires_at.max(session.expires_at).as_millisecond();
    execute(db, "UPDATE sessions SET expires_at = $2 WHERE id = $1", &[&uuid(id), &expires_at]).await?;
    db.changed.push(id);
    rows::known_session(db, id).await.map(|session| Extension::Extended(Box::new(session)))
}

/// What [`read_route`] reads of the session that is `$1`. The runner's address and secret are given from its call home
/// until it is gone, beyond the session's end.
pub(super) const ROUTE: &str = "SELECT s.stage, s.wire, s.epoch, s.end_reason, s.exit_code, s.end_signal, s.end_message, \
     r.id AS ready_id, r.address, r.secret \
     FROM sessions s LEFT JOIN runners r ON r.id = s.runner_id AND r.state IN ('idle', 'claimed') WHERE s.id = $1";

pub(super) async fn route(db: &Lease, id: SessionId) -> Attempt<Option<Route>> {
    first(db, ROUTE, &[&uuid(id)], |row| read_route(row, id, &db.key)).await
}

pub(super) fn read_route(row: &Row, id: SessionId, key: &SealKey) -> Attempt<Route> {
    let runner: Option<RunnerId> = rows::maybe_id(row, "ready_id")?;
    Ok(Route {
        session: id,
        stage: rows::word(row, "stage")?,
        ended: rows::read_ended(row)?,
        wire: rows::wire(row)?,
        epoch: rows::epoch(row)?,
        address: rows::column(row, "address")?,
        secret: open_secret(key, runner, rows::column(row, "secret")?)?,
    })
}

fn open_secret(key: &SealKey, runner: Option<RunnerId>, sealed: Option<&[u8]>) -> Attempt<Option<Secret>> {
    match (runner, sealed) {
        (Some(runner), Some(sealed)) => runners::open_secret(key, runner, sealed).map(Some),
        _ => Ok(None),
    }
}
