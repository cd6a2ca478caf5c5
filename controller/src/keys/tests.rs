//! The ring of signing keys: drawing, reading, rotating.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use session::{Role, SessionId, claims::AUDIENCE};

use super::*;

const NEVER: Duration = Duration::from_secs(3600);

fn claims() -> Claims {
    Claims::new("test", SessionId::new(), Role::Operator, "0".repeat(32), jiff::Timestamp::now().as_second())
}

/// What a stranger does who has the token and the published keys.
fn verify(token: &Secret, jwks: &JwkSet) -> Option<Claims> {
    let kid = decode_header(token.expose()).ok()?.kid?;
    let key = DecodingKey::from_jwk(jwks.find(&kid)?).ok()?;
    let mut validation = Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    decode::<Claims>(token.expose(), &key, &validation).ok().map(|data| data.claims)
}

fn add_key_named(dir: &Path, name: &str) -> String {
    let (key, pem) = SigningKey::draw().unwrap();
    fs::write(dir.join(name), pem.expose()).unwrap();
    key.kid().to_owned()
}

#[test]
fn the_first_key_is_drawn_private_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let ring = KeyRing::open_or_create(&folder).unwrap();
    let again = KeyRing::open_or_create(&folder).unwrap();
    assert_eq!(ring.signer(), again.signer());
    let file = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "pem"));
    assert_eq!(fs::metadata(file.unwrap()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_strangers_check_against_the_published_keys_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let ring = KeyRing::open_or_create(dir.path()).unwrap();
    let claims = claims();
    let token = ring.sign(&claims).unwrap();
    // Published as JSON, and read as JSON.
    let jwks: JwkSet = serde_json::from_str(&serde_json::to_string(&ring.jwks()).unwrap()).unwrap();
    assert_eq!(verify(&token, &jwks), Some(claims));
    let published = serde_json::to_value(&jwks).unwrap();
    let members: Vec<_> = published["keys"][0].as_object().unwrap().keys().cloned().collect();
    assert!(!members.iter().any(|name| ["d", "p", "q", "dp", "dq", "qi"].contains(&name.as_str())), "{members:?}");
}

#[test]
fn a_key_id_is_the_thumbprint_of_rfc_7638() {
    // The example of RFC 7638, 3.1.
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(serde_json::json!({
        "kty": "RSA", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    }))
    .unwrap();
    let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
    assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let (key, _) = SigningKey::draw().unwrap();
    assert_eq!(key.kid(), key.jwk().thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap());
}

#[test]
fn a_new_key_is_published_before_it_signs_and_old_tokens_stay_good() {
    let dir = tempfile::tempdir().unwrap();
    let ring = KeyRing::with_publish_delay(dir.path(), NEVER).unwrap();
    let (old, token) = (ring.signer().unwrap(), ring.sign(&claims()).unwrap());
    let new = ring.add_key().unwrap();
    ring.reload().unwrap();
    let published: Vec<_> = ring.jwks().keys.into_iter().filter_map(|key| key.common.key_id).collect();
    assert_eq!(published, [old.clone(), new.clone()]);
    assert_eq!(ring.signer().unwrap(), old, "nobody may know the new key yet");
    assert!(verify(&token, &ring.jwks()).is_some());

    // The delay is over.
    let later = KeyRing::with_publish_delay(dir.path(), Duration::ZERO).unwrap();
    assert_eq!(later.signer().unwrap(), new);
    assert!(verify(&token, &later.jwks()).is_some());
    assert!(verify(&later.sign(&claims()).unwrap(), &ring.jwks()).is_some(), "who reloaded knows it already");
}

#[test]
fn where_no_key_is_old_enough_the_oldest_signs() {
    let dir = tempfile::tempdir().unwrap();
    let first = add_key_named(dir.path(), "2026-01.pem");
    add_key_named(dir.path(), "2026-02.pem");
    assert_eq!(KeyRing::with_publish_delay(dir.path(), NEVER).unwrap().signer().unwrap(), first);
}

#[test]
fn a_removed_key_is_published_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let first = add_key_named(dir.path(), "1.pem");
    let second = add_key_named(dir.path(), "2.pem");
    let ring = KeyRing::with_publish_delay(dir.path(), NEVER).unwrap();
    assert_eq!(ring.signer().unwrap(), first);
    let token = ring.sign(&claims()).unwrap();
    fs::remove_file(dir.path().join("1.pem")).unwrap();
    ring.reload().unwrap();
    assert_eq!(ring.signer().unwrap(), second, "the only key signs at once");
    assert!(verify(&token, &ring.jwks()).is_none());
}

#[test]
fn unusable_files_are_passed_over_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let ring = KeyRing::open_or_create(dir.path()).unwrap();
    let kid = ring.signer().unwrap();
    fs::write(dir.path().join("empty.pem"), "").unwrap();
    fs::write(dir.path().join("noise.pem"), [0u8, 255, 7]).unwrap();
    fs::write(dir.path().join("public.pem"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
    fs::write(dir.path().join("long.pem"), vec![b'x'; 70_000]).unwrap();
    let short = format!("-----BEGIN PRIVATE KEY-----\n{RSA_1024}-----END PRIVATE KEY-----\n");
    fs::write(dir.path().join("short.pem"), &short).unwrap();
    assert!(matches!(SigningKey::from_pem(short.as_bytes()), Err(KeyError::Unusable(_))));
    fs::write(dir.path().join("notes.txt"), "not a key").unwrap();
    fs::create_dir(dir.path().join("folder.pem")).unwrap();
    // A name that claims to be another key.
    add_key_named(dir.path(), &format!("0000000000001-{}.pem", "A".repeat(43)));
    ring.reload().unwrap();
    let published: Vec<_> = ring.jwks().keys.into_iter().filter_map(|key| key.common.key_id).collect();
    assert_eq!(published, std::slice::from_ref(&kid));

    // Even with every usable file gone, whoever holds a token may still enter.
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().contains(&kid) {
            fs::remove_file(path).unwrap();
        }
    }
    ring.reload().unwrap();
    assert_eq!(ring.signer(), Some(kid));
    assert!(matches!(KeyRing::open_or_create(dir.path()), Err(KeyError::Empty(_))));
}

#[test]
fn two_processes_that_start_at_once_end_with_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let signers: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..6).map(|_| scope.spawn(|| KeyRing::open_or_create(dir.path()).unwrap().signer().unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(signers.iter().all(|kid| *kid == signers[0]), "{signers:?}");
    assert_eq!(KeyRing::open_or_create(dir.path()).unwrap().jwks().keys.len(), 1);
}

/// A 2048-bit key's PKCS#8 is its PKCS#1 behind a header of this many bytes.
const PKCS8_HEADER: usize = 26;

#[test]
fn a_key_in_pkcs1_is_the_same_key() {
    let (key, pem) = SigningKey::draw().unwrap();
    let pkcs8 = pem::parse(pem.expose()).unwrap();
    let pkcs1 = pem::encode(&pem::Pem::new("RSA PRIVATE KEY", &pkcs8.contents()[PKCS8_HEADER..]));
    let same = SigningKey::from_pem(pkcs1.as_bytes()).unwrap();
    assert_eq!(same.kid(), key.kid());
    let jwks = JwkSet { keys: vec![key.jwk().clone()] };
    assert!(verify(&same.sign(&claims()).unwrap(), &jwks).is_some());
}

/// The folder of a Secret as kubelets keep it: links that lead through `..data`, which is swapped as a whole.
struct MountedSecret(tempfile::TempDir);

impl MountedSecret {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Brings the Secret to hold these keys and nothing else.
    fn update(&self, version: &str, files: &[(&str, &Secret)]) {
        let dir = self.0.path();
        fs::create_dir(dir.join(version)).unwrap();
        for (name, pem) in files {
            fs::write(dir.join(version).join(name), pem.expose()).unwrap();
        }
        std::os::unix::fs::symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        for (name, _) in files.iter().filter(|(name, _)| !dir.join(name).is_symlink()) {
            std::os::unix::fs::symlink(format!("..data/{name}"), dir.join(name)).unwrap();
        }
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() && !path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn a_mounted_secret_is_read_again_when_it_is_swapped() {
    let secret = MountedSecret::new();
    let (first, first_pem) = SigningKey::draw().unwrap();
    let (second, second_pem) = SigningKey::draw().unwrap();
    secret.update("..1", &[("1.pem", &first_pem)]);
    let ring = KeyRing::with_publish_delay(secret.0.path(), NEVER).unwrap();
    let published = || ring.jwks().keys.into_iter().filter_map(|key| key.common.key_id).collect::<Vec<_>>();
    assert_eq!(published(), [first.kid()]);
    assert!(!secret.0.path().join(".lock").exists(), "nothing is written where there is a key");

    secret.update("..2", &[("1.pem", &first_pem), ("2.pem", &second_pem)]);
    ring.reload().unwrap();
    assert_eq!(published(), [first.kid(), second.kid()]);
    assert_eq!(ring.signer().as_deref(), Some(first.kid()));

    // Under the name of another: what counts is the content.
    secret.update("..3", &[("1.pem", &second_pem)]);
    ring.reload().unwrap();
    assert_eq!(published(), [second.kid()]);
}

/// Nobody writes into it, root included.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_is_read_only_and_has_no_key_is_named() {
    let error = KeyRing::open_or_create(Path::new("/sys/kernel")).err().unwrap().to_string();
    assert!(error.starts_with("the key folder /sys/kernel holds no key, and none can be drawn there: "), "{error}");
}

#[test]
fn a_folder_behind_links_as_a_mounted_secret_has_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("..data")).unwrap();
    let kid = add_key_named(&dir.path().join("..data"), "key.pem");
    std::os::unix::fs::symlink("..data/key.pem", dir.path().join("key.pem")).unwrap();
    assert_eq!(KeyRing::open_or_create(dir.path()).unwrap().signer().unwrap(), kid);
}

/// A key of 1024 bits (PKCS#8, base64), which RS256 must not be used with. It protects nothing.
const RSA_1024: &str = include_str!("testdata/rsa-1024.base64");
