//! Keys: the ones that sign, and the set that the gateway is given.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use gateway::{JwksError, JwksSource};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// An RSA key pair under a name.
pub struct Signer {
    pub kid: &'static str,
    pub key: EncodingKey,
    pub jwk: Jwk,
}

impl Signer {
    fn draw(kid: &'static str) -> Self {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'static> = pair.as_der().unwrap();
        let text = base64::prelude::BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        Self { kid, key, jwk }
    }

    pub fn ours() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::draw("ours"))
    }

    pub fn foreign() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::draw("foreign"))
    }

    pub fn sign(&self, claims: &impl serde::Serialize) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// A key source that counts how often it is asked, and can be away.
#[derive(Default)]
pub struct TestJwks {
    pub fetches: AtomicUsize,
    pub away: AtomicBool,
}

#[async_trait]
impl JwksSource for TestJwks {
    async fn fetch(&self) -> Result<JwkSet, JwksError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(JwksError("away".to_owned()));
        }
        Ok(JwkSet { keys: vec![Signer::ours().jwk.clone()] })
    }
}
