//! Resume tickets and page tokens: the rules are those of the embedded backend (`crate::sqlite`), which tells them.
//!
//! Redemptions of one session's tickets come one after the other, by an advisory lock: the gateway, which redeems, may
//! not write sessions, and a row lock on a session needs that right.

use std::sync::LazyLock;

use session::{Role, SessionId};
use tokio_postgres::types::ToSql;

use super::failure::Attempt;
use super::lease::Lease;
use super::locks::{Lock, Locks};
use super::rows::{self, first, uuid};
use super::sessions::{ROUTE, read_route};
use crate::{Digest, NewTicket, Return, TicketOutcome, Time};

/// How long a superseded ticket stays good while its successor is not used.
pub(super) const GRACE_MS: i64 = 60_000;

/// The session, and what comes of the ticket that is `$2`. When all clients of another gateway come at once, each is one
/// round trip. A ticket that is superseded already has successors of which none was used, or it would be dead.
static REDEEM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH route AS ({ROUTE}), \
         presented AS (SELECT digest, family, parent, role, client_id, superseded_at, dead, \
            NOT dead AND COALESCE(superseded_at >= $4::bigint, TRUE) AS good \
            FROM tickets WHERE digest = $2 AND session_id = $1), \
         ended AS (DELETE FROM tickets WHERE family = (SELECT family FROM presented WHERE dead)), \
         closed AS (DELETE FROM page_tokens WHERE family = (SELECT family FROM presented WHERE dead)), \
         replaced AS (DELETE FROM tickets \
            WHERE parent = (SELECT digest FROM presented WHERE good AND superseded_at IS NOT NULL)), \
         superseded AS (UPDATE tickets SET superseded_at = $3::bigint \
            WHERE digest = (SELECT digest FROM presented WHERE good AND superseded_at IS NULL)), \
         killed AS (UPDATE tickets SET dead = TRUE WHERE digest = (SELECT parent FROM presented WHERE good)), \
         successor AS (INSERT INTO tickets (digest, session_id, family, parent, role, client_id) \
            SELECT $5::bytea, $1, family, digest, role, client_id FROM presented WHERE good), \
         page AS (INSERT INTO page_tokens (digest, session_id, family, role) \
            SELECT $6::bytea, $1, family, role FROM presented WHERE good) \
         SELECT route.*, role, client_id, good, dead FROM route LEFT JOIN presented ON TRUE"
    )
});

pub(super) async fn redeem(
    db: &Lease,
    digest: Digest,
    session: SessionId,
    successor: &NewTicket,
    now: Time,
) -> Attempt<Option<Return>> {
    let now = now.as_millisecond();
    let statement = db.prepare_cached(&REDEEM).await?;
    let (hash, page) = (successor.hash.0.as_slice(), successor.page_token.0.as_slice());
    let locks = Locks::on(Lock::Tickets, &session.to_string());
    let params: [&(dyn ToSql + Sync); 6] =
        [&uuid(session), &digest.0.as_slice(), &now, &(now - GRACE_MS), &hash, &page];
    let rows = locks.query(db, &statement, &params).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let known: (Option<bool>, Option<bool>) = (rows::column(row, "good")?, rows::column(row, "dead")?);
    let outcome = match known {
        (Some(true), _) => {
            TicketOutcome::Redeemed { role: rows::word(row, "role")?, client: rows::id(row, "client_id")? }
        }
        (_, Some(true)) => TicketOutcome::Reused,
        _ => TicketOutcome::Expired,
    };
    Ok(Some(Return { route: read_route(row, session, &db.key)?, outcome }))
}

pub(super) async fn page_token(db: &Lease, digest: Digest, session: SessionId) -> Attempt<Option<Role>> {
    first(
        db,
        "SELECT role FROM page_tokens WHERE digest = $1 AND session_id = $2",
        &[&digest.0.as_slice(), &uuid(session)],
        |row| rows::word(row, "role"),
    )
    .await
}
