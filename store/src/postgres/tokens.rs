//! One-time tokens. Consuming one deletes it: of many attempts only one finds it there.

use std::sync::LazyLock;

use session::frames::Wire;
use session::{Role, SessionId};

use super::failure::Attempt;
use super::lease::Lease;
use super::rows::{self, execute, first, text, uuid};
use super::sessions::{ROUTE, read_route};
use crate::{Entrance, NewTicket, NewToken, Time};

/// `false`: there is no such session.
pub(super) async fn add(db: &Lease, session: SessionId, token: &NewToken) -> Attempt<bool> {
    // The session's row is kept from being pruned in between; the table itself would refuse a token without one.
    let added = execute(
        db,
        "INSERT INTO tokens (jti, session_id, role, expires_at) \
         SELECT $1::text, id, $3::text, $4::bigint FROM sessions WHERE id = $2 FOR KEY SHARE",
        &[&text(&token.jti), &uuid(session), &token.role.as_str(), &token.expires_at.as_millisecond()],
    )
    .await?;
    Ok(added > 0)
}

pub(super) async fn waits(db: &Lease, jti: &str, session: SessionId, now: Time) -> Attempt<bool> {
    let found = first(
        db,
        "SELECT 1 FROM tokens WHERE jti = $1 AND session_id = $2 AND expires_at > $3",
        &[&text(jti), &uuid(session), &now.as_millisecond()],
        |_| Ok(()),
    )
    .await?;
    Ok(found.is_some())
}

/// Uses the token that is `$2` up, if `condition`, for a ticket. One statement: nobody waits at a gateway while a
/// transaction goes back and forth. The ticket is there if and only if the token was used up.
fn using_up(condition: &str) -> String {
    format!(
        "used AS (DELETE FROM tokens WHERE jti = $2 AND session_id = $1 AND expires_at > $3 AND {condition} \
         RETURNING role), \
         ticket AS (INSERT INTO tickets (digest, session_id, family, role, client_id) \
         SELECT $4::bytea, $1, $4, role, $5::uuid FROM used), \
         page AS (INSERT INTO page_tokens (digest, session_id, family, role) \
         SELECT $6::bytea, $1, $4, role FROM used)"
    )
}

static CONSUME: LazyLock<String> = LazyLock::new(|| format!("WITH {} SELECT role FROM used", using_up("TRUE")));

/// The session is looked at in the same moment, and in the same round trip.
static ENTER: LazyLock<String> = LazyLock::new(|| {
    let used = using_up("EXISTS (SELECT 1 FROM route WHERE wire = $7)");
    format!("WITH route AS ({ROUTE}), {used} SELECT route.*, (SELECT role FROM used) AS role FROM route")
});

pub(super) async fn consume(
    db: &Lease,
    jti: &str,
    session: SessionId,
    ticket: Option<&NewTicket>,
    now: Time,
) -> Attempt<Option<Role>> {
    let (jti, session, now) = (text(jti), uuid(session), now.as_millisecond());
    let role = |row: &_| rows::word(row, "role");
    let Some(ticket) = ticket else {
        let sql = "DELETE FROM tokens WHERE jti = $2 AND session_id = $1 AND expires_at > $3 RETURNING role";
        return first(db, sql, &[&session, &jti, &now], role).await;
    };
    let (hash, page) = (ticket.hash.0.as_slice(), ticket.page_token.0.as_slice());
    first(db, &CONSUME, &[&session, &jti, &now, &hash, &uuid(ticket.client), &page], role).await
}

pub(super) async fn enter(
    db: &Lease,
    jti: &str,
    session: SessionId,
    ticket: &NewTicket,
    now: Time,
) -> Attempt<Option<Entrance>> {
    let (hash, page) = (ticket.hash.0.as_slice(), ticket.page_token.0.as_slice());
    let (wire, now) = (Wire::TtyR1.as_str(), now.as_millisecond());
    first(db, &ENTER, &[&uuid(session), &text(jti), &now, &hash, &uuid(ticket.client), &page, &wire], |row| {
        let consumed: Option<&str> = rows::column(row, "role")?;
        let role = consumed.map(|_| rows::word(row, "role")).transpose()?;
        Ok(Entrance { route: read_route(row, session, &db.key)?, role })
    })
    .await
}
