//! The upgrade request of a client (RFC 6455, 4.2): what it offers, which subprotocol it gets, and the 101 answer.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, header};
use service::Problem;
use session::frames::{OWN_TICKET_PREFIX, TICKET_PREFIX, TTY, TTY_R1, Wire};
use session::{ProblemType, Secret};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// Random bytes of a ticket.
pub const TICKET_BYTES: usize = 32;
/// More than any client has a reason to offer.
const MAX_OFFERS: usize = 16;

/// Whether a request asks for a WebSocket rather than for the page.
pub fn wants_upgrade(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    request.method() == Method::GET && upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The subprotocols that a client offers.
#[derive(Debug, Default)]
pub struct Offers {
    pub tty_r1: bool,
    pub tty: bool,
    pub ticket: Option<Secret>,
    /// What the client would have as its first ticket.
    pub own_ticket: Option<Secret>,
}

impl Offers {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut offers = Self::default();
        let offered = headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        for name in offered.take(MAX_OFFERS) {
            match name {
                TTY_R1 => offers.tty_r1 = true,
                TTY => offers.tty = true,
                other => {
                    if let Some(ticket) = other.strip_prefix(TICKET_PREFIX) {
                        offers.ticket = Some(Secret::new(ticket));
                    } else if let Some(ticket) = other.strip_prefix(OWN_TICKET_PREFIX).filter(|own| is_a_ticket(own)) {
                        offers.own_ticket = Some(Secret::new(ticket));
                    }
                }
            }
        }
        offers
    }

    /// The wire to speak with this client in front of a backend that speaks `backend`; our runner speaks both.
    pub fn select(&self, backend: Wire) -> Option<Wire> {
        match backend {
            Wire::TtyR1 if self.tty_r1 => Some(Wire::TtyR1),
            _ if self.tty => Some(Wire::Tty),
            _ => None,
        }
    }
}

/// As long as those that are drawn here, so that nobody guesses it.
fn is_a_ticket(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bits| bits.len() == TICKET_BYTES)
}

/// The answer that accepts the upgrade, without a subprotocol yet. No extension is ever negotiated: the bridge copies
/// frames as they are, and the runner's side agreed to none.
pub fn accept(request: &Request) -> Result<Response, Problem> {
    create_response_with_body(request, Body::empty).map_err(|error| {
        tracing::debug!(%error, "a WebSocket handshake was refused");
        Problem::new(ProblemType::InvalidRequest, "not a WebSocket handshake as RFC 6455 (version 13) has it")
    })
}

/// Names the subprotocol in the answer.
pub fn select_protocol(response: &mut Response, wire: Wire) {
    let name = match wire {
        Wire::Tty => TTY,
        Wire::TtyR1 => TTY_R1,
    };
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(lines: &[&'static str]) -> Offers {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(line));
        }
        Offers::of(&headers)
    }

    #[test]
    fn offers_come_in_one_header_or_in_several() {
        let all = offers(&["tty.r1, tty", "ticket.AbC_-9"]);
        assert!(all.tty_r1 && all.tty);
        assert_eq!(all.ticket.unwrap().expose(), "AbC_-9");
        let own = offers(&["tty.r1, own-ticket.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
        assert!(own.ticket.is_none() && own.own_ticket.is_some());
        for poor in ["own-ticket.", "own-ticket.AAAA", "own-ticket.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA$"] {
            assert!(offers(&[poor]).own_ticket.is_none(), "{poor}");
        }
        let none = offers(&["tty.r2,TTY"]);
        assert!(!none.tty_r1 && !none.tty && none.ticket.is_none());
    }

    #[test]
    fn the_wire_is_the_backends_unless_the_client_only_knows_ttyds() {
        let both = offers(&["tty.r1, tty"]);
        assert_eq!((both.select(Wire::TtyR1), both.select(Wire::Tty)), (Some(Wire::TtyR1), Some(Wire::Tty)));
        let stock = offers(&["tty"]);
        assert_eq!((stock.select(Wire::TtyR1), stock.select(Wire::Tty)), (Some(Wire::Tty), Some(Wire::Tty)));
        let ours = offers(&["tty.r1"]);
        assert_eq!((ours.select(Wire::TtyR1), ours.select(Wire::Tty)), (Some(Wire::TtyR1), None));
        assert_eq!(offers(&[]).select(Wire::TtyR1), None);
    }
}
