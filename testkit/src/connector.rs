//! How a client reaches a server: plainly, or by TLS that trusts an authority of the test's own and no other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// Bytes both ways, whatever carries them.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The default one speaks no TLS to anybody, for it trusts nobody.
#[derive(Clone, Default)]
pub struct Connector {
    /// Certificates in PEM.
    trusted: Option<String>,
    /// A name that no DNS has, and its address; the port is the URL's.
    known: Option<(String, IpAddr)>,
}

impl Connector {
    pub fn trusting(pem: &str) -> Self {
        Self { trusted: Some(pem.to_owned()), known: None }
    }

    /// The same, which finds a name at this address.
    pub fn knowing(self, name: &str, address: IpAddr) -> Self {
        Self { known: Some((name.to_owned(), address)), ..self }
    }

    /// Connects to where a URL of any scheme leads.
    pub async fn connect(&self, url: &str) -> Result<Box<dyn Connection>> {
        let url = Url::parse(url)?;
        let host = url.host_str().context("a URL with a host")?;
        // An address of version 6 has brackets in a URL alone.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().context("a URL with a port")?;
        let stream = match &self.known {
            Some((name, address)) if *name == host => TcpStream::connect((*address, port)).await?,
            _ => TcpStream::connect((host.as_str(), port)).await?,
        };
        stream.set_nodelay(true)?;
        if !matches!(url.scheme(), "https" | "wss") {
            return Ok(Box::new(stream));
        }
        let tls = TlsConnector::from(Arc::new(self.tls()?));
        Ok(Box::new(tls.connect(ServerName::try_from(host)?, stream).await?))
    }

    /// A builder of HTTP clients that trust the same, and use no proxy.
    pub fn http(&self) -> Result<reqwest::ClientBuilder> {
        // Building any client needs a provider; a second installation is refused and harmless.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some((name, address)) = &self.known {
            builder = builder.resolve(name, SocketAddr::new(*address, 0));
        }
        match &self.trusted {
            Some(pem) => Ok(builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?)),
            None => Ok(builder),
        }
    }

    fn tls(&self) -> Result<ClientConfig> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.trusted.as_deref().unwrap_or_default().as_bytes()) {
            roots.add(certificate?)?;
        }
        Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}
