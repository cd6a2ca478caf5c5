//! The claims of a session token (JWT, RFC 7519). Signing and verifying belong to the controller and the gateway.

use serde::{Deserialize, Serialize};

use crate::ids::SessionId;
use crate::state::words;

/// The audience that every session token names; a token for anything else is refused.
pub const AUDIENCE: &str = "cliscale-gateway";

/// How long an unused token may wait for its first use.
pub const TOKEN_LIFETIME_SECS: i64 = 300;

words!(
    /// What the holder of a token may do.
    Role, "role" {
        /// May type, resize and end.
        Operator = "operator",
        /// May only watch.
        Viewer = "viewer",
    }
);

/// What a session token says. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: SessionId,
    /// 128 random bits in hex; consumed once.
    pub jti: String,
    pub role: Role,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

impl Claims {
    pub fn new(issuer: &str, session: SessionId, role: Role, jti: String, now_secs: i64) -> Self {
        Self {
            iss: issuer.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: session,
            jti,
            role,
            iat: now_secs,
            nbf: now_secs,
            exp: now_secs + TOKEN_LIFETIME_SECS,
        }
    }
}
