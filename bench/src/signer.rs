//! Session tokens as the controller signs them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use session::{Claims, Role, SessionId};

/// The gateway's default.
pub const ISSUER: &str = "cliscale";
/// Longer than anything is measured for.
pub const LIFETIME: Duration = Duration::from_secs(3600);
const KID: &str = "bench";

pub struct Signer {
    key: EncodingKey,
    header: Header,
    /// What verifies its signatures.
    pub jwks: JwkSet,
}

impl Signer {
    pub fn draw() -> Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).context("a key")?;
        let der: Pkcs8V1Der<'static> = pair.as_der().context("a key")?;
        let text = BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        jwk.common.key_id = Some(KID.to_owned());
        let header = Header { kid: Some(KID.to_owned()), ..Header::new(Algorithm::RS256) };
        Ok(Self { key, header, jwks: JwkSet { keys: vec![jwk] } })
    }

    /// An operator's token of its own id, and that id.
    pub fn token(&self, session: SessionId) -> Result<(String, String)> {
        let jti = SessionId::new().to_string().replace('-', "");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let mut claims = Claims::new(ISSUER, session, Role::Operator, jti.clone(), i64::try_from(now)?);
        claims.exp = claims.iat + i64::try_from(LIFETIME.as_secs())?;
        Ok((jti, jsonwebtoken::encode(&self.header, &claims, &self.key)?))
    }
}
