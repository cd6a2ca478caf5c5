//! One-time tokens. Consuming one deletes it: of many attempts only one finds it there.

use rusqlite::{Connection, params};
use session::frames::Wire;
use session::{Role, SessionId};

use super::failure::Attempt;
use super::rows::{self, execute, first};
use super::{Write, sessions, tickets};
use crate::{Entrance, NewTicket, NewToken, Time};

/// `false`: there is no such session.
pub(super) fn add(db: &Write<'_>, session: SessionId, token: &NewToken) -> Attempt<bool> {
    let added = execute(
        db,
        "INSERT INTO tokens (jti, session_id, role, expires_at) SELECT ?1, id, ?3, ?4 FROM sessions WHERE id = ?2",
        params![token.jti, session.to_string(), token.role.as_str(), token.expires_at.as_millisecond()],
    )?;
    Ok(added > 0)
}

pub(super) fn waits(db: &Connection, jti: &str, session: SessionId, now: Time) -> Attempt<bool> {
    let found = first(
        db,
        "SELECT 1 FROM tokens WHERE jti = ?1 AND session_id = ?2 AND expires_at > ?3",
        params![jti, session.to_string(), now.as_millisecond()],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

pub(super) fn consume(
    db: &Write<'_>,
    jti: &str,
    session: SessionId,
    ticket: Option<NewTicket>,
    now: Time,
) -> Attempt<Option<Role>> {
    let role = first(
        db,
        "DELETE FROM tokens WHERE jti = ?1 AND session_id = ?2 AND expires_at > ?3 RETURNING role",
        params![jti, session.to_string(), now.as_millisecond()],
        |row| rows::word(row, "role"),
    )?;
    if let (Some(role), Some(ticket)) = (role, ticket) {
        tickets::start_family(db, session, role, &ticket)?;
    }
    Ok(role)
}

pub(super) fn enter(
    db: &Write<'_>,
    jti: &str,
    session: SessionId,
    ticket: NewTicket,
    now: Time,
) -> Attempt<Option<Entrance>> {
    let Some(route) = sessions::route(db, db.key, session)? else { return Ok(None) };
    let role = match route.wire {
        Wire::TtyR1 => consume(db, jti, session, Some(ticket), now)?,
        Wire::Tty => None,
    };
    Ok(Some(Entrance { route, role }))
}
