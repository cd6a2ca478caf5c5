//! The verification keys that this process knows. They are refreshed in the background, outlive an outage of their
//! source, and are fetched again for an unknown `kid`: once for any number of askers, and not again for the same `kid`
//! or more often than once a second, since anybody can make a `kid` up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, KeyAlgorithm, PublicKeyUse, RSAKeyParameters};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::jwks::JwksSource;

/// For sources that state no age.
const DEFAULT_AGE: Duration = Duration::from_secs(300);
const AGES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// How soon a failed refresh is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Between the end of one fetch and the next one for an unknown `kid`.
const FETCH_GAP: Duration = Duration::from_secs(1);
/// How long a `kid` that a fetch did not bring counts as unknown without another fetch.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
const MAX_UNKNOWN: usize = 256;
/// A thumbprint has 43 characters.
const MAX_KID: usize = 128;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// The source does not have it.
    Unknown,
    /// The source cannot be asked.
    SourceAway,
}

pub struct KeyCache {
    source: Arc<dyn JwksSource>,
    /// Parsed once, with what each verification would have to compute anew.
    keys: RwLock<HashMap<String, Arc<ParsedPublicKey>>>,
    /// `kid`s that were asked for in vain, oldest first.
    unknown: Mutex<VecDeque<(String, Instant)>>,
    /// Held while fetching, so that everybody who waits for it can use what the first one brought.
    last: tokio::sync::Mutex<Option<Fetch>>,
}

#[derive(Clone, Copy)]
struct Fetch {
    started: Instant,
    ended: Instant,
    succeeded: bool,
}

impl KeyCache {
    pub fn new(source: Arc<dyn JwksSource>) -> Self {
        Self { source, keys: RwLock::default(), unknown: Mutex::default(), last: tokio::sync::Mutex::new(None) }
    }

    pub async fn key(&self, kid: &str) -> Result<Arc<ParsedPublicKey>, NoKey> {
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        if kid.len() > MAX_KID || self.is_unknown(kid) {
            return Err(NoKey::Unknown);
        }
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        // While this asker waited for the lock, another's fetch may have answered.
        let fresh = last.filter(|fetch| fetch.started >= asked || fetch.ended.elapsed() < FETCH_GAP);
        let fetch = match fresh {
            Some(fetch) if fetch.succeeded || fetch.started >= asked => fetch,
            // The source was away a moment ago, as it is while everything starts together: it may be back by now.
            Some(failed) => {
                tokio::time::sleep_until(failed.ended + FETCH_GAP).await;
                self.fetch(&mut last).await
            }
            None => self.fetch(&mut last).await,
        };
        match self.known(kid) {
            Some(key) => Ok(key),
            None if fetch.succeeded => {
                self.note_unknown(kid);
                Err(NoKey::Unknown)
            }
            None => Err(NoKey::SourceAway),
        }
    }

    /// Fetches at once, and again whenever what was fetched has become old.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        loop {
            let fetch = {
                let mut last = self.last.lock().await;
                self.fetch(&mut last).await
            };
            let pause = match fetch.succeeded {
                true => self.source.max_age().unwrap_or(DEFAULT_AGE).clamp(AGES.0, AGES.1),
                false => RETRY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn fetch(&self, last: &mut Option<Fetch>) -> Fetch {
        let started = Instant::now();
        let succeeded = match self.source.fetch().await {
            Ok(set) => {
                *self.keys.write().expect("keys lock") = usable(&set);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the verification keys stay as they are");
                false
            }
        };
        let fetch = Fetch { started, ended: Instant::now(), succeeded };
        *last = Some(fetch);
        fetch
    }

    fn known(&self, kid: &str) -> Option<Arc<ParsedPublicKey>> {
        self.keys.read().expect("keys lock").get(kid).cloned()
    }

    fn is_unknown(&self, kid: &str) -> bool {
        let mut unknown = self.unknown.lock().expect("unknown lock");
        while unknown.front().is_some_and(|(_, since)| since.elapsed() >= UNKNOWN_FOR) {
            unknown.pop_front();
        }
        unknown.iter().any(|(name, _)| name == kid)
    }

    fn note_unknown(&self, kid: &str) {
        let mut unknown = self.unknown.lock().expect("unknown lock");
        if unknown.len() >= MAX_UNKNOWN {
            unknown.pop_front();
        }
        unknown.push_back((kid.to_owned(), Instant::now()));
    }
}

/// The set's RSA keys for signatures. Any other kind is none of ours, a symmetric one above all.
fn usable(set: &JwkSet) -> HashMap<String, Arc<ParsedPublicKey>> {
    let mut keys = HashMap::new();
    for jwk in &set.keys {
        let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let rs256 = matches!(jwk.common.key_algorithm, None | Some(KeyAlgorithm::RS256));
        let AlgorithmParameters::RSA(rsa) = &jwk.algorithm else { continue };
        let Some(kid) = jwk.common.key_id.as_ref().filter(|_| for_signatures && rs256) else { continue };
        match parse(rsa) {
            Some(key) => {
                keys.insert(kid.clone(), Arc::new(key));
            }
            None => tracing::warn!("a verification key cannot be read and is left out"),
        }
    }
    keys
}

/// A key for RS256 and nothing else.
fn parse(rsa: &RSAKeyParameters) -> Option<ParsedPublicKey> {
    let [n, e] = [&rsa.n, &rsa.e].map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    RsaPublicKeyComponents { n: n?, e: e? }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwks::JwksError;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// A source with one key, that takes a moment to answer.
    #[derive(Default)]
    struct Source {
        fetches: AtomicUsize,
        away: AtomicBool,
        /// Its key was replaced by another.
        rotated: AtomicBool,
    }

    #[async_trait]
    impl JwksSource for Source {
        async fn fetch(&self) -> Result<JwkSet, JwksError> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if self.away.load(Ordering::SeqCst) {
                return Err(JwksError("away".into()));
            }
            let keys = r#"{"keys": [
                {"kty": "RSA", "kid": "a", "use": "sig", "alg": "RS256", "n": "MODULUS", "e": "AQAB"},
                {"kty": "RSA", "kid": "broken", "use": "sig", "alg": "RS256", "n": "$", "e": "AQAB"},
                {"kty": "RSA", "kid": "encrypts", "use": "enc", "n": "MODULUS", "e": "AQAB"},
                {"kty": "oct", "kid": "shared", "alg": "HS256", "k": "c2VjcmV0"}
            ]}"#;
            let key = if self.rotated.load(Ordering::SeqCst) { "\"b\"" } else { "\"a\"" };
            // An odd number of 2048 bits.
            let modulus = BASE64_URL_SAFE_NO_PAD.encode([0xc1; 256]);
            Ok(serde_json::from_str(&keys.replace("\"a\"", key).replace("MODULUS", &modulus)).unwrap())
        }
    }

    fn cache() -> (Arc<Source>, Arc<KeyCache>) {
        let source = Arc::new(Source::default());
        (source.clone(), Arc::new(KeyCache::new(source)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_for_an_unknown_key_at_once_cause_one_fetch() {
        let (source, cache) = cache();
        assert!(cache.key("a").await.is_ok());
        tokio::time::advance(FETCH_GAP).await;
        let asking: Vec<_> = (0..100)
            .map(|number| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.key(&format!("made up {}", number % 10)).await.err() })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), Some(NoKey::Unknown));
        }
        assert_eq!(source.fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_unknown_key_is_not_fetched_for_again_soon_and_others_not_too_often() {
        let (source, cache) = cache();
        for seconds in 0..4 {
            assert_eq!(cache.key("x").await.err(), Some(NoKey::Unknown), "{seconds}");
            tokio::time::advance(FETCH_GAP).await;
        }
        assert_eq!(source.fetches.load(Ordering::SeqCst), 1);
        for number in 0..1000 {
            assert_eq!(cache.key(&format!("y{number}")).await.err(), Some(NoKey::Unknown));
        }
        assert_eq!(source.fetches.load(Ordering::SeqCst), 2);
        assert!(cache.unknown.lock().unwrap().len() <= MAX_UNKNOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn only_rsa_keys_for_signatures_count() {
        let (_, cache) = cache();
        assert!(cache.key("a").await.is_ok());
        assert_eq!(cache.key("broken").await.err(), Some(NoKey::Unknown));
        assert_eq!(cache.key("encrypts").await.err(), Some(NoKey::Unknown));
        assert_eq!(cache.key("shared").await.err(), Some(NoKey::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn known_keys_survive_their_source_and_the_refresh_goes_on() {
        let (source, cache) = cache();
        let (stop, running) = (CancellationToken::new(), cache.clone());
        let refreshing = tokio::spawn({
            let stop = stop.clone();
            async move { running.keep_fresh(stop).await }
        });
        assert!(cache.key("a").await.is_ok());
        source.away.store(true, Ordering::SeqCst);
        tokio::time::sleep(DEFAULT_AGE + RETRY * 5).await;
        assert!(source.fetches.load(Ordering::SeqCst) >= 4);
        assert!(cache.key("a").await.is_ok());
        assert_eq!(cache.key("new").await.err(), Some(NoKey::SourceAway));
        stop.cancel();
        refreshing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_just_after_the_source_was_away_is_answered_when_it_is_back() {
        let (source, cache) = cache();
        source.away.store(true, Ordering::SeqCst);
        assert_eq!(cache.key("a").await.err(), Some(NoKey::SourceAway));
        source.away.store(false, Ordering::SeqCst);
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.key("a").await.is_ok() })
            })
            .collect();
        for answered in asking {
            assert!(answered.await.unwrap());
        }
        assert_eq!(source.fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_found_with_its_first_token_and_a_removed_one_is_refused_from_then_on() {
        let (source, cache) = cache();
        assert!(cache.key("a").await.is_ok());
        tokio::time::advance(FETCH_GAP).await;
        source.rotated.store(true, Ordering::SeqCst);
        assert!(cache.key("a").await.is_ok(), "nobody has looked again");
        let first_tokens: Vec<_> = (0..100)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.key("b").await.is_ok() })
            })
            .collect();
        for token in first_tokens {
            assert!(token.await.unwrap());
        }
        assert_eq!(source.fetches.load(Ordering::SeqCst), 2);
        assert_eq!(cache.key("a").await.err(), Some(NoKey::Unknown));
    }
}
