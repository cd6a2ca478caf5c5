//! Who enters: an unused token, else a resume ticket, else an explanation. If the database is away, nobody.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use service::Problem;
use session::frames::{Tickets, Wire};
use session::{Claims, ClientId, ProblemType, Role, Secret, SessionId};
use store::{Digest, Entrance, NewTicket, Return, Route, Store, TicketOutcome, Time};

use crate::handshake::{Offers, TICKET_BYTES};
use crate::token::{TokenFault, TokenVerifier};

/// How a client got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Token,
    Ticket,
}

/// A client that may enter, and what it is given.
pub struct Admitted {
    pub entry: Entry,
    pub role: Role,
    pub client: ClientId,
    /// The wire to speak with it.
    pub wire: Wire,
    /// For the way back; a `tty` client cannot take them.
    pub tickets: Option<Tickets>,
    pub route: Route,
}

/// What came of an attempt in one round trip.
enum Attempt {
    Admitted(Admitted),
    /// The token was not used up: it is spent, or more has to be looked at first.
    Not(Route),
}

pub struct Admission {
    store: Arc<dyn Store>,
    verifier: TokenVerifier,
}

/// A session whose end is all that there is to show.
pub fn is_over(route: &Route) -> bool {
    route.ended.is_some() && route.address.is_none()
}

impl Admission {
    pub fn new(store: Arc<dyn Store>, verifier: TokenVerifier) -> Self {
        Self { store, verifier }
    }

    /// Why this token could not enter, as far as can be told without using it.
    pub async fn check_token(&self, token: &str, session: SessionId) -> Result<(), ProblemType> {
        let claims = self.verifier.verify(token, session).await.map_err(TokenFault::problem_type)?;
        match self.store.token_waits(&claims.jti, session, Time::now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(spent(claims.exp)),
            Err(error) => Err(Problem::from(error).kind),
        }
    }

    pub async fn admit(&self, session: SessionId, token: Option<&str>, offers: &Offers) -> Result<Admitted, Problem> {
        let claims = match token {
            Some(token) => {
                Some(self.verifier.verify(token, session).await.map_err(|fault| explain(fault.problem_type())))
            }
            None => None,
        };
        // Who comes back, as everybody does at once when another gateway is gone, is let in in one round trip.
        if let (true, None | Some(Err(_)), Some(ticket)) = (offers.tty_r1, &claims, &offers.ticket) {
            return self.enter_by_ticket(ticket.expose(), session, claims.and_then(Result::err)).await;
        }
        let route = match &claims {
            Some(Ok(claims)) if offers.tty_r1 => match self.enter_at_once(claims, offers.own_ticket.as_ref()).await? {
                Attempt::Admitted(admitted) => return Ok(admitted),
                Attempt::Not(route) => route,
            },
            _ => self.store.route(session).await?.ok_or_else(session_unknown)?,
        };
        // The end of a session can be shown to any client of ours, whatever its backend spoke.
        let backend = if is_over(&route) { Wire::TtyR1 } else { route.wire };
        let wire = offers
            .select(backend)
            .ok_or_else(|| Problem::new(ProblemType::InvalidRequest, "offer the subprotocol tty, or tty.r1 and tty"))?;
        let refusal = match claims {
            Some(Ok(claims)) => match self.enter_by_token(&claims, wire, &route, offers.own_ticket.as_ref()).await {
                Ok(admitted) => return Ok(admitted),
                Err(refusal) => Some(refusal),
            },
            Some(Err(refusal)) => Some(refusal),
            None => None,
        };
        match &offers.ticket {
            Some(ticket) if wire == Wire::TtyR1 => self.enter_by_ticket(ticket.expose(), session, refusal).await,
            _ => Err(refusal.unwrap_or_else(|| explain(ProblemType::TokenMissing))),
        }
    }

    /// What nearly everybody comes for, a client of ours in front of our runner, in one round trip: nothing has to be
    /// known of such a session before its token is used up.
    async fn enter_at_once(&self, claims: &Claims, own_ticket: Option<&Secret>) -> Result<Attempt, Problem> {
        let client = ClientId::new();
        let (tickets, ticket) = draw_tickets(client, own_ticket)?;
        let entrance = self.store.enter(&claims.jti, claims.sub, ticket, Time::now()).await?;
        let Entrance { route, role } = entrance.ok_or_else(session_unknown)?;
        Ok(match role {
            Some(role) => Attempt::Admitted(Admitted {
                entry: Entry::Token,
                role,
                client,
                wire: Wire::TtyR1,
                tickets: Some(tickets),
                route,
            }),
            None => Attempt::Not(route),
        })
    }

    /// `own_ticket`: what the client would have as its ticket, so that it has a way back even if our answer is lost.
    async fn enter_by_token(
        &self,
        claims: &Claims,
        wire: Wire,
        route: &Route,
        own_ticket: Option<&Secret>,
    ) -> Result<Admitted, Problem> {
        let session = route.session;
        // Both are said before the token is used up: it may still serve another client.
        if is_over(route) {
            if wire == Wire::Tty {
                return Err(explain(ProblemType::SessionEnded));
            }
        } else if claims.role == Role::Viewer && route.wire == Wire::Tty {
            return Err(explain(ProblemType::ViewerUnsupported));
        }
        let client = ClientId::new();
        let drawn = (wire == Wire::TtyR1).then(|| draw_tickets(client, own_ticket)).transpose()?;
        let (tickets, ticket) = drawn.unzip();
        match self.store.consume_token(&claims.jti, session, ticket, Time::now()).await? {
            Some(role) => Ok(Admitted { entry: Entry::Token, role, client, wire, tickets, route: route.clone() }),
            None => Err(explain(spent(claims.exp))),
        }
    }

    /// Uses a token up for a page token, without entering.
    pub async fn exchange(&self, session: SessionId, token: &str) -> Result<(Secret, Role), Problem> {
        let claims = self.verifier.verify(token, session).await.map_err(|fault| explain(fault.problem_type()))?;
        // The ticket that comes with it is known to nobody.
        let (tickets, ticket) = draw_tickets(ClientId::new(), None)?;
        match self.store.consume_token(&claims.jti, session, Some(ticket), Time::now()).await? {
            Some(role) => Ok((Secret::new(tickets.page_token), role)),
            None => Err(explain(spent(claims.exp))),
        }
    }

    /// `refusal`: of a token that came too. Where the ticket is no better that is told, since it is the link that was
    /// opened; but not while nobody can say whether the ticket is good.
    async fn enter_by_ticket(
        &self,
        ticket: &str,
        session: SessionId,
        refusal: Option<Problem>,
    ) -> Result<Admitted, Problem> {
        // The store keeps the predecessor's client; this one is not used.
        let (tickets, successor) = draw_tickets(ClientId::new(), None)?;
        let presented = Digest::of(ticket.as_bytes());
        let returned = self.store.redeem_ticket(presented, session, successor, Time::now()).await?;
        let Return { route, outcome } = returned.ok_or_else(session_unknown)?;
        match outcome {
            TicketOutcome::Redeemed { role, client } => {
                Ok(Admitted { entry: Entry::Ticket, role, client, wire: Wire::TtyR1, tickets: Some(tickets), route })
            }
            TicketOutcome::Expired => Err(refusal.unwrap_or_else(|| explain(ProblemType::TicketExpired))),
            TicketOutcome::Reused => Err(refusal.unwrap_or_else(|| explain(ProblemType::TicketReused))),
        }
    }
}

/// Why a token that was good once cannot be consumed (any more).
fn spent(expires: i64) -> ProblemType {
    // Within the leeway of a token's end the database has dropped it already.
    if expires <= Time::now().as_second() { ProblemType::TokenExpired } else { ProblemType::TokenUsed }
}

/// Random bits each, and what is stored of them.
fn draw_tickets(client: ClientId, own: Option<&Secret>) -> Result<(Tickets, NewTicket), Problem> {
    let draw = || {
        let mut bits = [0; TICKET_BYTES];
        aws_lc_rs::rand::fill(&mut bits).map(|()| BASE64_URL_SAFE_NO_PAD.encode(bits)).map_err(|_| {
            tracing::error!("no random bits for a ticket");
            Problem::internal()
        })
    };
    let ticket = own.map_or_else(draw, |own| Ok(own.expose().to_owned()))?;
    let tickets = Tickets { ticket, page_token: draw()? };
    let stored = NewTicket {
        hash: Digest::of(tickets.ticket.as_bytes()),
        page_token: Digest::of(tickets.page_token.as_bytes()),
        client,
    };
    Ok((tickets, stored))
}

pub fn session_unknown() -> Problem {
    explain(ProblemType::SessionUnknown)
}

/// What a stock client reads; a browser gets the page's own explanation by the slug.
pub fn explain(kind: ProblemType) -> Problem {
    use ProblemType::*;
    let detail = match kind {
        TokenUsed => "a token enters once; ask for a further one",
        TokenExpired => "a token must be used within five minutes; ask for a further one",
        TokenInvalid => "not a token for this session",
        TokenMissing => "a token is needed, as ?token=",
        TicketExpired => "this resume ticket is not valid any more",
        TicketReused => "this resume ticket was used again after its successor; the tab needs a fresh link",
        ForbiddenOrigin => "the page that asked is neither this server's own nor listed in CLISCALE_EMBED_ORIGINS",
        ViewerUnsupported => "this session's terminal server cannot keep a viewer from typing",
        SessionUnknown => "no session has this id (any more)",
        SessionEnded => "the session is over and its terminal is gone",
        TooManyConnections => "this gateway holds as many connections as it may",
        Unavailable => return Problem::new(kind, "cannot tell at the moment who may enter").retry_after(2),
        _ => kind.title(),
    };
    Problem::new(kind, detail)
}
