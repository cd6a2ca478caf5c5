//! Resume tickets and page tokens.
//!
//! A ticket is fresh, then superseded (redeemed, its successor given out but not used), then dead (its successor was
//! used). A superseded one is redeemed again for 60 s: the answer that carried its successor may never have arrived, so
//! that successor is replaced. A dead one that is presented was copied by somebody, and ends the family. So that this is
//! noticed for as long as anything can be taken over, dead tickets stay as tombstones until the session has ended.
//!
//! Page tokens do not rotate: each is good while its session is kept, unless its family is ended.

use rusqlite::{Connection, params};
use session::{ClientId, Role, SessionId};

use super::failure::Attempt;
use super::rows::{self, execute, first};
use super::{Write, sessions};
use crate::{Digest, NewTicket, Return, TicketOutcome, Time};

/// How long a superseded ticket stays good while its successor is not used.
pub(super) const GRACE_MS: i64 = 60_000;

struct Ticket {
    digest: Digest,
    family: Digest,
    parent: Option<Digest>,
    role: Role,
    client: ClientId,
    superseded_at: Option<Time>,
    dead: bool,
}

/// The first ticket of a family, which its digest names.
pub(super) fn start_family(db: &Write<'_>, session: SessionId, role: Role, new: &NewTicket) -> Attempt<()> {
    let ticket = Ticket {
        digest: new.hash,
        family: new.hash,
        parent: None,
        role,
        client: new.client,
        superseded_at: None,
        dead: false,
    };
    insert(db, session, &ticket, new.page_token)
}

pub(super) fn redeem(
    db: &Write<'_>,
    digest: Digest,
    session: SessionId,
    successor: &NewTicket,
    now: Time,
) -> Attempt<Option<Return>> {
    let Some(route) = sessions::route(db, db.key, session)? else { return Ok(None) };
    let outcome = redeem_in(db, digest, session, successor, now)?;
    Ok(Some(Return { route, outcome }))
}

fn redeem_in(
    db: &Write<'_>,
    digest: Digest,
    session: SessionId,
    successor: &NewTicket,
    now: Time,
) -> Attempt<TicketOutcome> {
    let Some(ticket) = find(db, digest, session)? else { return Ok(TicketOutcome::Expired) };
    if ticket.dead {
        end_family(db, ticket.family)?;
        return Ok(TicketOutcome::Reused);
    }
    match ticket.superseded_at {
        Some(at) if now.as_millisecond() - at.as_millisecond() > GRACE_MS => return Ok(TicketOutcome::Expired),
        Some(_) => {
            // None of them was used, or this one would be dead.
            execute(db, "DELETE FROM tickets WHERE parent = ?1", [ticket.digest.0])?;
        }
        None => {
            execute(
                db,
                "UPDATE tickets SET superseded_at = ?2 WHERE digest = ?1",
                params![ticket.digest.0, now.as_millisecond()],
            )?;
        }
    }
    if let Some(parent) = ticket.parent {
        execute(db, "UPDATE tickets SET dead = 1 WHERE digest = ?1", [parent.0])?;
    }
    let next = Ticket { digest: successor.hash, parent: Some(ticket.digest), superseded_at: None, ..ticket };
    insert(db, session, &next, successor.page_token)?;
    Ok(TicketOutcome::Redeemed { role: next.role, client: next.client })
}

pub(super) fn page_token(db: &Connection, digest: Digest, session: SessionId) -> Attempt<Option<Role>> {
    first(
        db,
        "SELECT role FROM page_tokens WHERE digest = ?1 AND session_id = ?2",
        params![digest.0, session.to_string()],
        |row| rows::word(row, "role"),
    )
}

fn find(db: &Connection, digest: Digest, session: SessionId) -> Attempt<Option<Ticket>> {
    first(
        db,
        "SELECT family, parent, role, client_id, superseded_at, dead FROM tickets \
         WHERE digest = ?1 AND session_id = ?2",
        params![digest.0, session.to_string()],
        |row| {
            Ok(Ticket {
                digest,
                family: rows::digest(row, "family")?,
                parent: row.get::<_, Option<[u8; 32]>>("parent")?.map(Digest),
                role: rows::word(row, "role")?,
                client: rows::word(row, "client_id")?,
                superseded_at: rows::maybe_time(row, "superseded_at")?,
                dead: row.get("dead")?,
            })
        },
    )
}

fn insert(db: &Write<'_>, session: SessionId, ticket: &Ticket, page_token: Digest) -> Attempt<()> {
    execute(
        db,
        "INSERT INTO tickets (digest, session_id, family, parent, role, client_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            ticket.digest.0,
            session.to_string(),
            ticket.family.0,
            ticket.parent.map(|parent| parent.0),
            ticket.role.as_str(),
            ticket.client.to_string()
        ],
    )?;
    execute(
        db,
        "INSERT INTO page_tokens (digest, session_id, family, role) VALUES (?1, ?2, ?3, ?4)",
        params![page_token.0, session.to_string(), ticket.family.0, ticket.role.as_str()],
    )?;
    Ok(())
}

fn end_family(db: &Write<'_>, family: Digest) -> Attempt<()> {
    execute(db, "DELETE FROM tickets WHERE family = ?1", [family.0])?;
    execute(db, "DELETE FROM page_tokens WHERE family = ?1", [family.0])?;
    Ok(())
}
