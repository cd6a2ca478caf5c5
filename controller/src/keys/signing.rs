//! One signing key: RSA 2048 or longer, PKCS#8 in PEM, known by its RFC 7638 thumbprint.
//!
//! Keys are drawn, and tokens signed, with aws-lc-rs. The `rsa` crate is not used anywhere: its private-key operations
//! leak timing (RUSTSEC-2023-0071).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use session::{Claims, Secret};

use super::KeyError;

/// RFC 7518, 3.3: RS256 needs 2048 bits or more.
const MIN_MODULUS_BYTES: usize = 256;

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
    /// Reads a PKCS#8 PEM file's text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let encoding =
            EncodingKey::from_rsa_pem(pem).map_err(|_| KeyError::Unusable("not an RSA private key in PEM (PKCS#8)"))?;
        let unusable = |_| KeyError::Unusable("its public part cannot be computed");
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::RS256).map_err(unusable)?;
        if modulus_bytes(&jwk) < MIN_MODULUS_BYTES {
            return Err(KeyError::Unusable("shorter than 2048 bits"));
        }
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let key = Self { kid, encoding, jwk };
        // A file with an inconsistent private part would otherwise be found out by the first caller.
        aws_lc_rs::signature::RsaKeyPair::from_der(key.encoding.as_bytes())
            .map_err(|_| KeyError::Unusable("its private part is inconsistent"))?;
        Ok(key)
    }

    /// Draws a key; the text is PKCS#8 in PEM.
    pub fn draw() -> Result<(Self, Secret), KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Draw)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Draw)?;
        let text = to_pem(der.as_ref());
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

fn modulus_bytes(jwk: &Jwk) -> usize {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => URL_SAFE_NO_PAD.decode(&key.n).map_or(0, |modulus| modulus.len()),
        _ => 0,
    }
}

/// RFC 7468: base64 in lines of 64 characters.
fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        // Base64 is ASCII.
        pem.push_str(std::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
