//! The ingress controller's stand-in: nginx on this machine, in front of the Services that the live Ingress names. It
//! serves plain HTTP, and TLS with the certificate that the Ingress names, else one of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ListParams;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::net::TcpStream;

use super::ingress::{self, Listeners};
use crate::cluster::kubernetes::Kubernetes;
use crate::nginx::Nginx;
use crate::stack::SOON;

/// Serves until dropped.
pub struct IngressProxy {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// Who signed the certificate, in PEM.
    pub authority: String,
    _nginx: Nginx,
}

impl IngressProxy {
    /// In front of one Ingress as it is now. `folder` gets what nginx needs; its logs are in `folder/logs`.
    pub async fn start(kubernetes: &Kubernetes, ingress: &str, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let ingress = kubernetes.api::<Ingress>().get(ingress).await?;
        let services = kubernetes.api::<Service>().list(&ListParams::default()).await?.items;
        let authority = write_certificate(kubernetes, &ingress, folder).await?;
        let (http, https) = free_ports(kubernetes.host)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let listeners = Listeners { http, https, certificate: path("certificate.pem"), key: path("key.pem") };
        let used = RefCell::new(BTreeSet::new());
        let resolve = |service: &str, port: &str| {
            let address = resolve(&services, service, port)?;
            used.borrow_mut().insert(address);
            Some(address)
        };
        let configuration = ingress::configuration(&ingress, resolve, &listeners).context("the Ingress")?;
        for address in used.into_inner() {
            wait_until_reached(address).await?;
        }
        let nginx = Nginx::start(folder, &configuration, https).await?;
        Ok(Self { http, https, authority, _nginx: nginx })
    }

    /// The address for clients that speak plain HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The address for clients that trust the authority.
    pub fn secure_url(&self) -> String {
        format!("https://{}", self.https)
    }
}

/// On the address by which pods see this machine, too.
fn free_ports(host: IpAddr) -> Result<(SocketAddr, SocketAddr)> {
    // Both are held until both are known. Another process may take one in between; then nginx does not start.
    let (first, second) = (TcpListener::bind((host, 0))?, TcpListener::bind((host, 0))?);
    Ok((first.local_addr()?, second.local_addr()?))
}

/// A Service's address refuses connections until kube-proxy has heard that a pod behind it is ready, which is somewhat
/// later than Helm hears it. Controllers of an Ingress look at the pods themselves.
async fn wait_until_reached(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while let Err(error) = TcpStream::connect(address).await {
        anyhow::ensure!(Instant::now() < deadline, "the Service at {address} cannot be reached: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn resolve(services: &[Service], name: &str, port: &str) -> Option<SocketAddr> {
    let service = services.iter().find(|service| service.metadata.name.as_deref() == Some(name))?;
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.as_ref()?;
    let wanted = ports.iter().find(|each| each.name.as_deref() == Some(port) || each.port.to_string() == port)?;
    Some(SocketAddr::new(spec.cluster_ip.as_deref()?.parse().ok()?, u16::try_from(wanted.port).ok()?))
}

/// Writes `certificate.pem` and `key.pem`; answers by whom the certificate can be checked.
async fn write_certificate(kubernetes: &Kubernetes, ingress: &Ingress, folder: &Path) -> Result<String> {
    let named = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten()).find_map(|tls| tls.secret_name.as_ref());
    let pair = match named {
        None => Pair::make(&[kubernetes.host.to_string()])?,
        Some(name) => {
            let secret = kubernetes.api::<Secret>().get(name).await?;
            let data = secret.data.context("a Secret with data")?;
            let entry = |name: &str| -> Result<String> {
                Ok(String::from_utf8(data.get(name).with_context(|| name.to_owned())?.0.clone())?)
            };
            let authority = entry("ca.crt")?;
            Pair { certificate: entry("tls.crt")?, key: entry("tls.key")?, authority }
        }
    };
    std::fs::write(folder.join("certificate.pem"), pair.certificate)?;
    std::fs::write(folder.join("key.pem"), pair.key)?;
    Ok(pair.authority)
}

/// A server's certificate with its key and the authority that signed it, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    pub authority: String,
}

impl Pair {
    /// For these names or addresses.
    pub fn make(names: &[String]) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "authority of the tests' proxy");
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?.pem();
        let server_key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&server_key, &Issuer::new(params, key))?.pem();
        Ok(Self { certificate, key: server_key.serialize_pem(), authority })
    }
}
