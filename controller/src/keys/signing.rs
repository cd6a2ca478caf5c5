//! One signing key: RSA 2048 or longer, PKCS#8 or PKCS#1 in PEM, known by its RFC 7638 thumbprint.
//!
//! Keys are drawn, and tokens signed, with aws-lc-rs. The `rsa` crate is not used anywhere: its private-key operations
//! leak timing (RUSTSEC-2023-0071). Nor does `jsonwebtoken` sign: it reads the key anew for each token, which costs more than
//! the signature.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use session::{Claims, Secret};

use super::KeyError;

pub struct SigningKey {
    kid: String,
    /// A token's first part: the same for all.
    header: String,
    pair: KeyPair,
    jwk: Jwk,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a PEM file's text: PKCS#8 (`PRIVATE KEY`), or PKCS#1 (`RSA PRIVATE KEY`), as charts draw it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        // aws-lc-rs checks the key's consistency and its length as it computes the public part.
        let unusable =
            || KeyError::Unusable("not a sound RSA private key of 2048 to 8192 bits in PEM (PKCS#8 or PKCS#1)");
        let encoding = EncodingKey::from_rsa_pem(pem).map_err(|_| unusable())?;
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::RS256).map_err(|_| unusable())?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| unusable())?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let pair = KeyPair::from_der(encoding.as_bytes()).map_err(|_| unusable())?;
        let header = encoded(&Header { kid: Some(kid.clone()), ..Header::new(Algorithm::RS256) })?;
        Ok(Self { kid, header, pair, jwk })
    }

    /// Draws a key; the text is PKCS#8 in PEM.
    pub fn draw() -> Result<(Self, Secret), KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Draw)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Draw)?;
        let text = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
        Ok((Self::from_pem(text.as_bytes())?, Secret::new(text)))
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key (RFC 7517).
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// A JWT in its compact form (RFC 7515, 3.1).
    pub fn sign(&self, claims: &Claims) -> Result<Secret, KeyError> {
        let mut token = format!("{}.{}", self.header, encoded(claims)?);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| KeyError::Sign)?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }
}

/// A part of a token.
fn encoded(part: &impl Serialize) -> Result<String, KeyError> {
    serde_json::to_vec(part).map(|json| BASE64_URL_SAFE_NO_PAD.encode(json)).map_err(|_| KeyError::Sign)
}
