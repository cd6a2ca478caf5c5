//! One signing key: RSA 2048 or longer, PKCS#8 or PKCS#1 in PEM, known by its RFC 7638 thumbprint.
//!
//! Keys are drawn, and tokens signed, with aws-lc-rs. The `rsa` crate is not used anywhere: its private-key operations
//! leak timing (RUSTSEC-2023-0071).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use session::{Claims, Secret};

use super::KeyError;

pub struct SigningKey {
    kid: String,
    encoding: EncodingKey,
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
            |_| KeyError::Unusable("not a sound RSA private key of 2048 to 8192 bits in PEM (PKCS#8 or PKCS#1)");
        let encoding = EncodingKey::from_rsa_pem(pem).map_err(unusable)?;
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::RS256).map_err(unusable)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { kid, encoding, jwk })
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

    pub fn sign(&self, claims: &Claims) -> Result<Secret, KeyError> {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.encoding).map(Secret::new).map_err(KeyError::Sign)
    }
}
