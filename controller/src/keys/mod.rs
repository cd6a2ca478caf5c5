//! The ring of signing keys: a folder of PEM files, read again while the process runs, so that keys are rotated by
//! adding and removing files. All of them are published; one signs.
//!
//! A key signs only once every replica has had time to publish it and every cache of the key set to run out. Until
//! then the one before it goes on.

mod folder;
mod signing;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use session::{Claims, Secret};
use tokio_util::sync::CancellationToken;

use folder::Found;
pub use signing::SigningKey;

/// How long anyone may keep the published key set.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(60);
/// How often the folder is read again.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// How long a changed folder may take to reach every replica: a mounted Secret is refreshed within about a minute,
/// plus the time that the node's cache of it lives.
const SPREAD: Duration = Duration::from_secs(120);
/// How long a key has been in the folder before it signs.
pub const PUBLISH_DELAY: Duration = JWKS_MAX_AGE.saturating_add(RELOAD_INTERVAL).saturating_add(SPREAD);

/// Why the ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the key folder {path} holds no key, and none can be drawn there: {source}")]
    NoKey { path: PathBuf, source: std::io::Error },
    #[error("the key folder {0} holds no usable key")]
    Empty(PathBuf),
    #[error("a key could not be drawn")]
    Draw,
    #[error("a token could not be signed")]
    Sign,
    #[error("not usable as a signing key: {0}")]
    Unusable(&'static str),
}

/// The keys, as they were last read.
pub struct KeyRing {
    dir: PathBuf,
    publish_delay: Duration,
    state: RwLock<State>,
}

struct State {
    /// By file name, which is the order of age.
    keys: Vec<Member>,
    /// What the folder looked like when it was last read.
    seen: Vec<Found>,
    jwks: JwkSet,
}

#[derive(Clone)]
struct Member {
    key: Arc<SigningKey>,
    /// When it came into the folder, as far as this process can tell.
    since: Instant,
}

impl KeyRing {
    /// Reads the folder, and draws the first key where there is none.
    pub fn open_or_create(dir: &Path) -> Result<Arc<Self>, KeyError> {
        Self::with_publish_delay(dir, PUBLISH_DELAY)
    }

    /// The same with another delay between publishing a key and signing with it.
    pub fn with_publish_delay(dir: &Path, publish_delay: Duration) -> Result<Arc<Self>, KeyError> {
        folder::ensure_key(dir)?;
        let empty = State { keys: Vec::new(), seen: Vec::new(), jwks: JwkSet { keys: Vec::new() } };
        let ring = Self { dir: dir.to_owned(), publish_delay, state: RwLock::new(empty) };
        ring.reload()?;
        if ring.read().keys.is_empty() {
            return Err(KeyError::Empty(ring.dir));
        }
        Ok(Arc::new(ring))
    }

    /// Draws a further key into the ring's folder and answers its id. It is published with the next reading and signs
    /// after the publishing delay.
    pub fn add_key(&self) -> Result<String, KeyError> {
        folder::draw_key(&self.dir)
    }

    /// Every public key (RFC 7517).
    pub fn jwks(&self) -> JwkSet {
        self.read().jwks.clone()
    }

    /// The id of the key that signs now.
    pub fn signer(&self) -> Option<String> {
        self.signing_key().map(|key| key.kid().to_owned())
    }

    /// Signs a session token: some hundred microseconds of computing.
    pub fn sign(&self, claims: &Claims) -> Result<Secret, KeyError> {
        let key = self.signing_key().ok_or_else(|| KeyError::Empty(self.dir.clone()))?;
        key.sign(claims)
    }

    /// Reads the folder again if it changed. When it cannot be read, or holds no usable key any more, the keys that
    /// are known go on: a ring that is being replaced must not stop everybody from entering.
    pub fn reload(&self) -> Result<(), KeyError> {
        let seen = folder::list(&self.dir)?;
        let known = {
            let state = self.read();
            if state.seen == seen {
                return Ok(());
            }
            state.keys.clone()
        };
        let mut keys: Vec<Member> = Vec::new();
        let mut again = false;
        for found in &seen {
            match folder::read_key(found) {
                Ok(key) if keys.iter().any(|member| member.key.kid() == key.kid()) => {
                    tracing::warn!(file = found.name, "the same signing key again, under another name");
                }
                Ok(key) => {
                    let since = known.iter().find(|member| member.key.kid() == key.kid()).map(|member| member.since);
                    keys.push(Member { key: Arc::new(key), since: since.unwrap_or_else(|| found.since()) });
                }
                Err(error) => {
                    tracing::error!(file = found.name, %error, "a key file is passed over");
                    again |= matches!(error, KeyError::Folder { .. });
                }
            }
        }
        let mut state = self.state.write().expect("key ring lock");
        // What could not be opened may open next time, without the folder looking any different.
        state.seen = if again { Vec::new() } else { seen };
        if keys.is_empty() && !state.keys.is_empty() {
            tracing::error!(folder = %self.dir.display(), "no usable key is left; the known ones go on");
            return Ok(());
        }
        state.jwks = JwkSet { keys: keys.iter().map(|member| member.key.jwk().clone()).collect() };
        state.keys = keys;
        tracing::info!(keys = state.keys.len(), "signing keys read");
        Ok(())
    }

    /// Reads the folder again now and then, until `stop`.
    pub async fn keep_reloading(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let ring = Arc::clone(&self);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || ring.reload()).await {
                tracing::warn!(%error, "signing keys could not be read again; the known ones go on");
            }
        }
    }

    /// The newest key that is old enough. Where none is (a folder that is new to this process), the oldest: it is the
    /// one that the others most likely know, and an only key signs at once.
    fn signing_key(&self) -> Option<Arc<SigningKey>> {
        let state = self.read();
        let old_enough = |member: &&Member| member.since.elapsed() >= self.publish_delay;
        let chosen = state.keys.iter().rev().find(old_enough).or_else(|| state.keys.first());
        chosen.map(|member| Arc::clone(&member.key))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().expect("key ring lock")
    }
}

#[cfg(test)]
mod tests;
