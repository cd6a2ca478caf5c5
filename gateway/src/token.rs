//! Verifying session tokens: RS256 and nothing else, by a key of ours, for this gateway and this session, now.

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use session::claims::AUDIENCE;
use session::{Claims, ProblemType, SessionId};

use crate::keys::{KeyCache, NoKey};

/// Clocks of controller and gateway may differ by this much.
const LEEWAY_SECS: u64 = 5;
/// Our tokens have about 700 bytes.
const MAX_TOKEN: usize = 4096;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    Expired,
    Invalid,
    /// The keys cannot be had, so nothing can be said about the token.
    KeysAway,
}

impl TokenFault {
    pub fn problem_type(self) -> ProblemType {
        match self {
            Self::Expired => ProblemType::TokenExpired,
            Self::Invalid => ProblemType::TokenInvalid,
            Self::KeysAway => ProblemType::Unavailable,
        }
    }
}

pub struct TokenVerifier {
    keys: Arc<KeyCache>,
    issuer: String,
}

impl TokenVerifier {
    pub fn new(keys: Arc<KeyCache>, issuer: String) -> Self {
        Self { keys, issuer }
    }

    /// The claims of a token that may enter `session`, if it was not used before.
    pub async fn verify(&self, token: &str, session: SessionId) -> Result<Claims, TokenFault> {
        if token.len() > MAX_TOKEN {
            return Err(refused("too long"));
        }
        let header = decode_header(token).map_err(|_| refused("not a token"))?;
        // Before a key is looked for: what another algorithm would do with a public key is never found out.
        if header.alg != Algorithm::RS256 {
            return Err(refused("another algorithm"));
        }
        let kid = header.kid.ok_or_else(|| refused("no key id"))?;
        let key = self.keys.key(&kid).await.map_err(|missing| match missing {
            NoKey::Unknown => refused("an unknown key"),
            NoKey::SourceAway => TokenFault::KeysAway,
        })?;
        match decode::<Claims>(token, &key, &self.validation(session)) {
            Ok(data) => Ok(data.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(TokenFault::Expired),
            Err(error) => Err(refused(reason(error.kind()))),
        }
    }

    fn validation(&self, session: SessionId) -> Validation {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_SECS;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&self.issuer]);
        validation.sub = Some(session.to_string());
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        validation
    }
}

/// Notes the reason for the log. Neither the token nor any part of it is there.
fn refused(reason: &'static str) -> TokenFault {
    tracing::debug!(reason, "a session token was refused");
    TokenFault::Invalid
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "a wrong signature",
        ErrorKind::InvalidAudience => "another audience",
        ErrorKind::InvalidIssuer => "another issuer",
        ErrorKind::InvalidSubject => "another session",
        ErrorKind::ImmatureSignature => "not valid yet",
        ErrorKind::MissingRequiredClaim(_) => "a missing claim",
        _ => "unreadable",
    }
}
