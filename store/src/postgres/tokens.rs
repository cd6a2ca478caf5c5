//! One-time tokens. Consuming one deletes it: of many attempts only one finds it there.

use session::{Role, SessionId};

use super::failure::Attempt;
use super::lease::Lease;
use super::rows::{self, execute, first, text, uuid};
use super::tickets;
use crate::{NewTicket, NewToken, Time};

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

pub(super) async fn consume(
    db: &Lease,
    jti: &str,
    session: SessionId,
    ticket: Option<&NewTicket>,
    now: Time,
) -> Attempt<Option<Role>> {
    let role = first(
        db,
        "DELETE FROM tokens WHERE jti = $1 AND session_id = $2 AND expires_at > $3 RETURNING role",
        &[&text(jti), &uuid(session), &now.as_millisecond()],
        |row| rows::word(row, "role"),
    )
    .await?;
    if let (Some(role), Some(ticket)) = (role, ticket) {
        tickets::start_family(db, session, role, ticket).await?;
    }
    Ok(role)
}
