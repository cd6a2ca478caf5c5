//! Resume tickets and page tokens: the rules are those of the embedded backend (`crate::sqlite`), which tells them.
//!
//! Redemptions of one session's tickets come one after the other, by an advisory lock: the gateway, which redeems, may
//! not write sessions, and a row lock on a session needs that right.

use session::{ClientId, Role, SessionId};

use super::failure::Attempt;
use super::lease::Lease;
use super::rows::{self, execute, first, uuid};
use crate::{Digest, NewTicket, TicketOutcome, Time};

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

pub(super) async fn redeem(
    db: &Lease,
    digest: Digest,
    session: SessionId,
    successor: &NewTicket,
    now: Time,
) -> Attempt<TicketOutcome> {
    let Some(ticket) = find(db, digest, session).await? else { return Ok(TicketOutcome::Expired) };
    if ticket.dead {
        end_family(db, ticket.family).await?;
        return Ok(TicketOutcome::Reused);
    }
    match ticket.superseded_at {
        Some(at) if now.as_millisecond() - at.as_millisecond() > GRACE_MS => return Ok(TicketOutcome::Expired),
        Some(_) => {
            // None of them was used, or this one would be dead.
            execute(db, "DELETE FROM tickets WHERE parent = $1", &[&ticket.digest.0.as_slice()]).await?;
        }
        None => {
            execute(
                db,
                "UPDATE tickets SET superseded_at = $2 WHERE digest = $1",
                &[&ticket.digest.0.as_slice(), &now.as_millisecond()],
            )
            .await?;
        }
    }
    if let Some(parent) = ticket.parent {
        execute(db, "UPDATE tickets SET dead = TRUE WHERE digest = $1", &[&parent.0.as_slice()]).await?;
    }
    let next = Ticket { digest: successor.hash, parent: Some(ticket.digest), superseded_at: None, ..ticket };
    insert(db, session, &next, successor.page_token).await?;
    Ok(TicketOutcome::Redeemed { role: next.role, client: next.client })
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

async fn find(db: &Lease, digest: Digest, session: SessionId) -> Attempt<Option<Ticket>> {
    first(
        db,
        "SELECT family, parent, role, client_id, superseded_at, dead FROM tickets \
         WHERE digest = $1 AND session_id = $2",
        &[&digest.0.as_slice(), &uuid(session)],
        |row| {
            Ok(Ticket {
                digest,
                family: rows::digest(row, "family")?,
                parent: rows::maybe_digest(row, "parent")?,
                role: rows::word(row, "role")?,
                client: rows::id(row, "client_id")?,
                superseded_at: rows::maybe_time(row, "superseded_at")?,
                dead: rows::column(row, "dead")?,
            })
        },
    )
    .await
}

async fn insert(db: &Lease, session: SessionId, ticket: &Ticket, page_token: Digest) -> Attempt<()> {
    let parent = ticket.parent.as_ref().map(|parent| parent.0.as_slice());
    execute(
        db,
        "INSERT INTO tickets (digest, session_id, family, parent, role, client_id) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            &ticket.digest.0.as_slice(),
            &uuid(session),
            &ticket.family.0.as_slice(),
            &parent,
            &ticket.role.as_str(),
            &uuid(ticket.client),
        ],
    )
    .await?;
    execute(
        db,
        "INSERT INTO page_tokens (digest, session_id, family, role) VALUES ($1, $2, $3, $4)",
        &[&page_token.0.as_slice(), &uuid(session), &ticket.family.0.as_slice(), &ticket.role.as_str()],
    )
    .await?;
    Ok(())
}

async fn end_family(db: &Lease, family: Digest) -> Attempt<()> {
    execute(db, "DELETE FROM tickets WHERE family = $1", &[&family.0.as_slice()]).await?;
    execute(db, "DELETE FROM page_tokens WHERE family = $1", &[&family.0.as_slice()]).await?;
    Ok(())
}
