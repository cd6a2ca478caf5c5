//! The folder that the ring is read from: `*.pem` files, whose names sort by age. Files that we draw are called
//! `MILLISECONDS-KID.pem`; others may have any name, as long as a newer key's sorts after an older one's.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use super::{KeyError, SigningKey};

/// Held while the first key is drawn, so that two processes that start at once end with one key.
const LOCK_FILE: &str = ".lock";
/// A RFC 7638 thumbprint: SHA-256 in base64url.
const KID_LEN: usize = 43;
/// A key file is about 1.7 kB; what is far longer is something else.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// A key file, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
}

impl Found {
    /// When it came here: its modification time, seen from this process's clock, and never in the future.
    pub fn since(&self) -> Instant {
        let now = Instant::now();
        let age = self.modified.and_then(|time| time.elapsed().ok()).unwrap_or_default();
        // Only right after boot is there no such instant.
        now.checked_sub(age).unwrap_or(now)
    }
}

/// The key files, oldest first.
pub fn list(dir: &Path) -> Result<Vec<Found>, KeyError> {
    let failed = |source| KeyError::Folder { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // A mounted Secret has its files behind links, so what counts is what the link leads to.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if name.ends_with(".pem") && !name.starts_with('.') && metadata.is_file() {
            let name = name.to_owned();
            found.push(Found { name, modified: metadata.modified().ok(), length: metadata.len(), path });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

pub fn read_key(found: &Found) -> Result<SigningKey, KeyError> {
    if found.length > MAX_KEY_FILE {
        return Err(KeyError::Unusable("too long for a key"));
    }
    let failed = |source| KeyError::Folder { path: found.path.clone(), source };
    let key = SigningKey::from_pem(&fs::read(&found.path).map_err(failed)?)?;
    match named_kid(&found.name) {
        Some(kid) if kid != key.kid() => Err(KeyError::Unusable("its name is another key's id")),
        _ => Ok(key),
    }
}

/// Makes the folder, and draws a key where it holds no key file.
pub fn ensure_key(dir: &Path) -> Result<(), KeyError> {
    let failed = |source| KeyError::Folder { path: dir.to_owned(), source };
    if !dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    if !list(dir)?.is_empty() {
        return Ok(());
    }
    // A mounted Secret, most likely.
    let no_key = |source| KeyError::NoKey { path: dir.to_owned(), source };
    let file = private(fs::OpenOptions::new().write(true).create(true).truncate(false))
        .open(dir.join(LOCK_FILE))
        .map_err(no_key)?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(io::Error::from(errno)))?;
    if list(dir)?.is_empty() {
        let kid = draw_key(dir)?;
        tracing::info!(kid, "drew the first signing key");
    }
    Ok(())
}

/// Draws a key into the folder; readers see it whole or not at all.
pub fn draw_key(dir: &Path) -> Result<String, KeyError> {
    let failed = |source| KeyError::Folder { path: dir.to_owned(), source };
    let (key, pem) = SigningKey::draw()?;
    let name = format!("{:013}-{}.pem", jiff::Timestamp::now().as_millisecond(), key.kid());
    let temporary = dir.join(format!(".{name}.new"));
    let write = || -> io::Result<()> {
        let mut file = private(fs::OpenOptions::new().write(true).create_new(true)).open(&temporary)?;
        file.write_all(pem.expose().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(&name))?;
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed(error)
    })?;
    Ok(key.kid().to_owned())
}

fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    options.mode(0o600)
}

/// The id that a name of ours ends with. A thumbprint may itself hold dashes, so it is told by its length.
fn named_kid(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".pem")?;
    let at = stem.len().checked_sub(KID_LEN)?;
    let (head, kid) = (stem.get(..at)?, stem.get(at..)?);
    let millis = head.strip_suffix('-')?;
    (!millis.is_empty() && millis.bytes().all(|byte| byte.is_ascii_digit())).then_some(kid)
}
