//! TLS for HTTPS and WSS alike: aws-lc-rs, trusting Mozilla's roots, or the certificates that `SSL_CERT_FILE` names,
//! as OpenSSL's own tools read it, for servers with a private authority.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::ApiError;

/// What every connection of this process uses.
pub fn tls_config() -> Result<ClientConfig, ApiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ApiError::Tls(error.to_string()))?
        .with_root_certificates(roots()?)
        .with_no_client_auth();
    Ok(config)
}

fn roots() -> Result<RootCertStore, ApiError> {
    let Some(file) = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()) else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let failed = |why: String| ApiError::Tls(format!("SSL_CERT_FILE {}: {why}", Path::new(&file).display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    Ok(roots)
}
