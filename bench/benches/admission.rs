//! What the gateway's processor does for each who enters: the token's signature and claims, checked with a known key.

use std::sync::Arc;

use async_trait::async_trait;
use bench::signer::{ISSUER, Signer};
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::jwks::{JwksError, JwksSource};
use gateway::keys::KeyCache;
use gateway::token::TokenVerifier;
use jsonwebtoken::jwk::JwkSet;
use session::SessionId;

struct Known(JwkSet);

#[async_trait]
impl JwksSource for Known {
    async fn fetch(&self) -> Result<JwkSet, JwksError> {
        Ok(self.0.clone())
    }
}

fn measure(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let signer = Signer::draw().expect("a key");
    let keys = Arc::new(KeyCache::new(Arc::new(Known(signer.jwks.clone()))));
    let verifier = TokenVerifier::new(keys, ISSUER.to_owned());
    let session = SessionId::new();
    let (_, token) = signer.token(session).expect("a token");
    criterion.bench_function("admission: a token verified", |bencher| {
        bencher.iter(|| runtime.block_on(verifier.verify(&token, session)).expect("it may enter"));
    });
    criterion.bench_function("admission: a token refused that was tampered with", |bencher| {
        let mut other = token.clone().into_bytes();
        let at = other.len() - 20;
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("still text");
        bencher.iter(|| runtime.block_on(verifier.verify(&other, session)).expect_err("its signature is wrong"));
    });
}

criterion_group!(benches, measure);
criterion_main!(benches);
