//! A certificate authority of the test's own, and a server's certificate that it signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Writes `ca.pem`, `other_ca.pem`, and `server.pem` with `server.key` for `localhost`.
pub(super) fn write(folder: &Path) -> Result<()> {
    let (authority, key) = authority("tests")?;
    fs::write(folder.join("ca.pem"), authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&server_key, &issuer)?;
    fs::write(folder.join("server.pem"), server.pem())?;
    // PostgreSQL takes no key that others could read.
    fs::write(folder.join("server.key"), server_key.serialize_pem())?;
    fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600))?;
    let (other, key) = self::authority("others")?;
    fs::write(folder.join("other_ca.pem"), other.self_signed(&key)?.pem())?;
    Ok(())
}

fn authority(name: &str) -> Result<(CertificateParams, KeyPair)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, format!("authority of {name}"));
    Ok((params, KeyPair::generate()?))
}
