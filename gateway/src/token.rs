//! Verifying session tokens: RS256 and nothing else, by a key of ours, for this gateway and this session, now.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, decode_header};
use session::claims::AUDIENCE;
use session::{Claims, ProblemType, SessionId};
use store::Time;

use crate::keys::{KeyCache, NoKey};

/// Clocks of controller and gateway may differ by this much.
const LEEWAY_SECS: i64 = 5;
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
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| refused("not a token"))?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| refused("unreadable"))?;
        key.verify_sig(signed.as_bytes(), &signature).map_err(|_| refused("a wrong signature"))?;
        // One of ours: from here on its content is believed.
        let claims = signed.split_once('.').and_then(|(_, claims)| BASE64_URL_SAFE_NO_PAD.decode(claims).ok());
        let claims = claims.and_then(|claims| serde_json::from_slice(&claims).ok());
        self.check(claims.ok_or_else(|| refused("unreadable"))?, session)
    }

    fn check(&self, claims: Claims, session: SessionId) -> Result<Claims, TokenFault> {
        let now = Time::now().as_second();
        if claims.exp < now - LEEWAY_SECS {
            return Err(TokenFault::Expired);
        }
        let refusal = [
            (claims.nbf > now + LEEWAY_SECS, "not valid yet"),
            (claims.sub != session, "another session"),
            (claims.iss != self.issuer, "another issuer"),
            (claims.aud != AUDIENCE, "another audience"),
        ];
        match refusal.into_iter().find(|(refused, _)| *refused) {
            Some((_, reason)) => Err(refused(reason)),
            None => Ok(claims),
        }
    }
}

/// Notes the reason for the log. Neither the token nor any part of it is there.
fn refused(reason: &'static str) -> TokenFault {
    tracing::debug!(reason, "a session token was refused");
    TokenFault::Invalid
}
