//! API keys: drawing, registering and recognising them. Only their SHA-256 is stored.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use service::Problem;
use session::{ApiKeyId, ProblemType, Secret};
use store::{ApiKey, AuditEntry, Digest, NewApiKey, Store, StoreError, Time};
use subtle::ConstantTimeEq;

/// Every key that we draw starts with this, so that scanners for leaked secrets can tell it.
const KEY_PREFIX: &str = "csk_";
/// A given key's bounds; what is shorter can be guessed.
const MIN_KEY: usize = 8;
const MAX_KEY: usize = 512;
/// Below this, a given key works but is warned about.
const ADVISED_KEY: usize = 24;
/// The name of the key that comes from a setting or the data directory.
const BOOTSTRAP_NAME: &str = "bootstrap";

/// Why there is no first key.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("the API key file {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the API key must be {MIN_KEY} to {MAX_KEY} visible ASCII characters")]
    Shape,
    #[error("no random bytes")]
    Random,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the first key comes from.
#[derive(Debug, Clone)]
pub enum BootstrapKey {
    /// From a setting.
    Given(Secret),
    /// From a file that must be there, such as a mounted Secret.
    File(PathBuf),
    /// From a file that is drawn, with mode 0600, at the first start.
    Kept(PathBuf),
}

/// Makes sure that the first key is registered, and answers it. A bootstrap key that came before with another text
/// no longer opens anything: replacing a key that leaked must end it.
pub async fn ensure_bootstrap_key(store: &dyn Store, from: &BootstrapKey, now: Time) -> Result<Secret, BootstrapError> {
    let key = match from {
        BootstrapKey::Given(key) => key.clone(),
        BootstrapKey::File(path) => read_key(path)?,
        BootstrapKey::Kept(path) => read_or_draw_key(path)?,
    };
    let length = key.expose().len();
    if !(MIN_KEY..=MAX_KEY).contains(&length) || !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BootstrapError::Shape);
    }
    if length < ADVISED_KEY {
        tracing::warn!(
            "the API key is short enough to be guessed; {ADVISED_KEY} random characters or more are advised"
        );
    }
    register_bootstrap_key(store, Digest::of(key.expose().as_bytes()), now).await?;
    Ok(key)
}

async fn register_bootstrap_key(store: &dyn Store, hash: Digest, now: Time) -> Result<(), StoreError> {
    if store.api_key(hash).await?.is_none() {
        let new = NewApiKey { id: ApiKeyId::new(), name: BOOTSTRAP_NAME.to_owned(), hash, creates_per_minute: None };
        let key = store.add_api_key(new, now).await?;
        record(store, "controller".to_owned(), "key.create", key.id.to_string()).await;
    }
    for old in store.api_keys().await? {
        if old.name == BOOTSTRAP_NAME && old.hash != hash && store.revoke_api_key(old.id, now).await? {
            tracing::info!(key = %old.id, "the bootstrap key before this one is revoked");
            record(store, "controller".to_owned(), "key.revoke", old.id.to_string()).await;
        }
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<Secret, BootstrapError> {
    let failed = |source| BootstrapError::File { path: path.to_owned(), source };
    Ok(Secret::new(fs::read_to_string(path).map_err(failed)?.trim()))
}

fn read_or_draw_key(path: &Path) -> Result<Secret, BootstrapError> {
    match read_key(path) {
        Err(BootstrapError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    let failed = |source| BootstrapError::File { path: path.to_owned(), source };
    let key = draw_key()?;
    // Written beside it and linked into place, so that a crash or a second process leaves no half-written key.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{}", key.expose())?;
        file.sync_all()?;
        fs::hard_link(&temporary, path)
    };
    let written = write();
    let _ = fs::remove_file(&temporary);
    match written {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(path),
        Err(error) => Err(failed(error)),
    }
}

/// 256 random bits.
fn draw_key() -> Result<Secret, BootstrapError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BootstrapError::Random)?;
    Ok(Secret::new(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// Recognises the caller by `Authorization: Bearer` (RFC 6750).
pub async fn authenticate(store: &dyn Store, headers: &HeaderMap) -> Result<ApiKey, Problem> {
    let refused = |detail: &str| Problem::new(ProblemType::Unauthorized, detail);
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(refused("send an API key as: Authorization: Bearer KEY"));
    };
    let Some(key) = value.to_str().ok().and_then(bearer) else {
        return Err(refused("the Authorization header must read: Bearer KEY"));
    };
    let unknown = || refused("this API key is not known here, or was revoked");
    if key.len() > MAX_KEY {
        return Err(unknown());
    }
    let hash = Digest::of(key.as_bytes());
    let found = store.api_key(hash).await?.ok_or_else(unknown)?;
    // The look-up compares only hashes, whose prefixes a caller cannot choose; this makes the last word constant-time.
    if bool::from(found.hash.0.ct_eq(&hash.0)) { Ok(found) } else { Err(unknown()) }
}

/// What a request shows as `Authorization: Bearer`.
pub fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().and_then(bearer)
}

/// The scheme's name is not case-sensitive (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// Adds to the audit trail. What was done is done: a trail that cannot be written is logged and fails nobody.
pub async fn record(store: &dyn Store, actor: String, action: &'static str, subject: String) {
    if let Err(error) = store.audit(AuditEntry { actor, action, subject }, Time::now()).await {
        tracing::error!(%error, action, "an audit entry could not be written");
    }
}
