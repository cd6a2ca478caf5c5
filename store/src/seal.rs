//! Sealing the columns that hold secrets: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce before the
//! ciphertext, and the row's id as associated data, so that a sealed value cannot be moved to another row.

use std::fs;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use session::Secret;

/// What the gateways' token is derived for, and nothing else is.
const GATEWAYS: &[u8] = b"cliscale gateway to controller v1";

/// Why something could not be sealed or opened. Says nothing of what is inside.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the encryption key must be 32 bytes as 64 hexadecimal digits")]
    Key,
    #[error("the encryption key file {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("there is no encryption key file {path}, and none can be made there: {source}")]
    NoFile { path: String, source: std::io::Error },
    #[error("a secret column cannot be opened with this encryption key")]
    Open,
    #[error("sealing failed")]
    Seal,
    #[error("no key can be derived")]
    Derive,
}

/// The key that secrets are sealed with.
pub struct SealKey {
    seal: RandomizedNonceKey,
    /// For keys that follow from this one, each for a purpose of its own.
    derive: Prk,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey")
    }
}

impl SealKey {
    pub fn new(key: &[u8; 32]) -> Self {
        // The length is AES-256's own.
        let seal = RandomizedNonceKey::new(&AES_256_GCM, key).expect("32 bytes");
        // The key is drawn evenly, so nothing has to be extracted first (RFC 5869, 3.3).
        Self { seal, derive: Prk::new_less_safe(HKDF_SHA256, key) }
    }

    /// A key that lives as long as the process; for tests.
    pub fn random() -> Result<Self, SealError> {
        random_key().map(|key| Self::new(&key))
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).map_err(|_| SealError::Key)?;
        Ok(Self::new(&key))
    }

    /// Reads the key from a file; draws one and writes it with mode 0600 where there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        let failed = |source| SealError::File { path: path.display().to_string(), source };
        match fs::read_to_string(path) {
            Ok(text) => Self::from_hex(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A mounted Secret without it, most likely.
                let failed = |source| SealError::NoFile { path: path.display().to_string(), source };
                let key = random_key()?;
                let mut options = fs::OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(path).map_err(failed)?;
                file.write_all(hex::encode(key).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
                Ok(Self::new(&key))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// What gateways show to controllers. It follows from the key that both have (HKDF, RFC 5869), so it needs no
    /// hand-out of its own, and changes with the key; the key does not follow from it.
    pub fn gateway_token(&self) -> Result<Secret, SealError> {
        let mut token = [0; 32];
        let info = [GATEWAYS];
        let derived = self.derive.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(&mut token));
        derived.map_err(|_| SealError::Derive)?;
        Ok(Secret::new(hex::encode(token)))
    }

    pub fn seal(&self, row: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut text = plain.to_vec();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(row), &mut text).map_err(|_| SealError::Seal)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    pub fn open(&self, row: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Open)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.seal.open_in_place(nonce, Aad::from(row), &mut text).map_err(|_| SealError::Open)?;
        Ok(plain.to_vec())
    }
}

fn random_key() -> Result<[u8; 32], SealError> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| SealError::Seal)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_own_row_and_with_its_own_key() {
        let key = SealKey::random().unwrap();
        let sealed = key.seal("row 1", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(key.open("row 1", &sealed).unwrap(), b"hunter2");
        assert!(key.open("row 2", &sealed).is_err());
        assert!(SealKey::random().unwrap().open("row 1", &sealed).is_err());
        assert!(key.open("row 1", &sealed[..5]).is_err());
    }

    #[test]
    fn gateways_and_controllers_with_one_key_have_one_token_which_is_not_the_key() {
        let key = "ab".repeat(32);
        let token = SealKey::from_hex(&key).unwrap().gateway_token().unwrap();
        assert_eq!(SealKey::from_hex(&key).unwrap().gateway_token().unwrap(), token);
        assert_eq!(token.expose().len(), 64);
        assert_ne!(token.expose(), key);
        assert_ne!(SealKey::random().unwrap().gateway_token().unwrap(), token);
    }

    #[test]
    fn a_key_file_is_drawn_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encryption.key");
        let first = SealKey::load_or_create(&path).unwrap();
        let sealed = first.seal("r", b"x").unwrap();
        assert_eq!(SealKey::load_or_create(&path).unwrap().open("r", &sealed).unwrap(), b"x");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let nowhere = SealKey::load_or_create(&dir.path().join("no-folder/key")).err().unwrap().to_string();
        assert!(nowhere.contains("no-folder/key, and none can be made there: "), "{nowhere}");
        fs::write(&path, "short").unwrap();
        assert!(matches!(SealKey::load_or_create(&path), Err(SealError::Key)));
    }
}
