//! Ways in: one-time tokens, resume tickets, page tokens, API keys; and the audit trail.

use session::{ApiKeyId, ClientId, Role, SessionId};

use crate::{Digest, Route, Time};

/// A one-time token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// 128 random bits in hex; worthless without the signature, so stored as it is.
    pub jti: String,
    pub role: Role,
    pub expires_at: Time,
}

/// A resume ticket and the page token that goes with it. Only hashes are stored.
#[derive(Debug, Clone)]
pub struct NewTicket {
    pub hash: Digest,
    pub page_token: Digest,
    /// For a ticket that a token is exchanged for; a successor keeps its predecessor's client.
    pub client: ClientId,
}

/// The session that somebody came for with a token.
#[derive(Debug, Clone)]
pub struct Entrance {
    pub route: Route,
    /// `None`: the token was not consumed.
    pub role: Option<Role>,
}

/// The session that somebody came back to with a ticket.
#[derive(Debug, Clone)]
pub struct Return {
    pub route: Route,
    pub outcome: TicketOutcome,
}

/// How a ticket was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketOutcome {
    Redeemed {
        role: Role,
        client: ClientId,
    },
    /// Not known (any more), or superseded more than 60 s ago.
    Expired,
    /// Its successor was used before: the whole family is ended.
    Reused,
}

#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub id: ApiKeyId,
    /// For people; 1 to 100 characters.
    pub name: String,
    pub hash: Digest,
    /// Creations per minute; `None`: the server's default by client address.
    pub creates_per_minute: Option<u32>,
}

/// An API key, as far as it may be seen.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    pub hash: Digest,
    pub creates_per_minute: Option<u32>,
    pub created_at: Time,
}

/// Who did what.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// Who: an API key's id, or the name of one of our own parts.
    pub actor: String,
    /// What, such as `session.create`.
    pub action: &'static str,
    /// To what: a session's or key's id.
    pub subject: String,
}

impl AuditEntry {
    /// What a session's creation leaves, in its own transaction.
    pub(crate) fn created(key: ApiKeyId, session: SessionId) -> Self {
        Self { actor: key.to_string(), action: "session.create", subject: session.to_string() }
    }
}
