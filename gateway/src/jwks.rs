//! Where the public keys that session tokens are verified with come from: the controller's `/.well-known/jwks.json`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::header;
use jsonwebtoken::jwk::JwkSet;
use url::Url;

use crate::upstream;

/// A key set is a few keys of half a kilobyte.
const MAX_BYTES: usize = 256 * 1024;

/// Why the keys could not be had. For the log; no token is in it.
#[derive(Debug, thiserror::Error)]
#[error("the key set cannot be fetched: {0}")]
pub struct JwksError(pub String);

/// A source of public keys.
#[async_trait]
pub trait JwksSource: Send + Sync + 'static {
    async fn fetch(&self) -> Result<JwkSet, JwksError>;

    /// How long the set that was fetched last may be kept before it is looked at again; `None`: the gateway's default.
    fn max_age(&self) -> Option<Duration> {
        None
    }
}

/// Fetches the key set over HTTP.
pub struct HttpJwks {
    url: Url,
    client: reqwest::Client,
    /// In seconds; 0: not stated.
    max_age: AtomicU64,
}

impl HttpJwks {
    pub fn new(url: Url) -> Result<Self, JwksError> {
        let client = upstream::client(&url).map_err(|error| JwksError(error.to_string()))?;
        Ok(Self { url, client, max_age: AtomicU64::new(0) })
    }

    async fn fetch_set(&self) -> Result<JwkSet, reqwest::Error> {
        let mut response = self.client.get(self.url.clone()).send().await?.error_for_status()?;
        let stated = response.headers().get(header::CACHE_CONTROL).and_then(|value| max_age_of(value.to_str().ok()?));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_BYTES - body.len())]);
        }
        self.max_age.store(stated.unwrap_or(0), Ordering::Relaxed);
        Ok(serde_json::from_slice(&body).unwrap_or(JwkSet { keys: Vec::new() }))
    }
}

#[async_trait]
impl JwksSource for HttpJwks {
    async fn fetch(&self) -> Result<JwkSet, JwksError> {
        let set = self.fetch_set().await.map_err(|error| JwksError(upstream::describe(&error)))?;
        if set.keys.is_empty() {
            return Err(JwksError(format!("{} holds no keys", self.url)));
        }
        Ok(set)
    }

    fn max_age(&self) -> Option<Duration> {
        match self.max_age.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        }
    }
}

fn max_age_of(cache_control: &str) -> Option<u64> {
    cache_control.split(',').find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_read_from_cache_control() {
        assert_eq!(max_age_of("public, max-age=300"), Some(300));
        assert_eq!(max_age_of("no-store"), None);
        assert_eq!(max_age_of("max-age=x"), None);
    }
}
