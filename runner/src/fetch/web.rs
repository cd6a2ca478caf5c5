//! The checked HTTP client: redirects are followed by hand, and each hop is judged like the first URL.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, dns};
use session::code_url::ALLOWED_HOSTS_SETTING;
use session::runner_api::FetchPolicy;
use url::Url;

use super::address::{self, AddressError};
use super::limits::{FetchLimits, bytes, seconds};
use super::report::shown;

/// Why an HTTP exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("the host {0} is not among the allowed ones ({ALLOWED_HOSTS_SETTING})")]
    HostNotAllowed(String),
    #[error("{0} redirects to {1}, which is not followed: {2}")]
    Redirect(String, String, &'static str),
    #[error("{0} redirects more than {1} times")]
    RedirectLoop(String, u32),
    #[error("{0} answered 401: the code needs credentials, or does not exist; send them as code_auth")]
    Unauthorized(String),
    #[error("{0} refused the credentials of code_auth ({1})")]
    Denied(String, u16),
    #[error("{0} answered 404: there is nothing at this address, or it needs code_auth")]
    NotFound(String),
    #[error("{0} answered {1}")]
    Status(String, u16),
    #[error("no connection to {0}")]
    Connect(String, #[source] reqwest::Error),
    #[error("the certificate of {0} is not trusted")]
    Certificate(String, #[source] reqwest::Error),
    #[error("{0} sent nothing for {1}")]
    Stalled(String, String),
    #[error("the transfer from {0} broke off")]
    Broken(String, #[source] reqwest::Error),
    #[error("the download from {0} is larger than {limit}", limit = bytes(*.1))]
    TooLarge(String, u64),
    #[error("no HTTP client could be made")]
    Client(#[source] reqwest::Error),
}

/// Which redirects are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    AnyHost,
    /// For git, whose credentials and pinned address belong to one host.
    SameHost,
}

impl Follow {
    /// Forges serve a repository at a URL without `.git` to agents that begin like git's only.
    fn user_agent(self) -> &'static str {
        match self {
            Follow::AnyHost => concat!("cliscale/", env!("CARGO_PKG_VERSION")),
            Follow::SameHost => concat!("git/cliscale-", env!("CARGO_PKG_VERSION")),
        }
    }
}

pub(super) struct Web<'a> {
    pub(super) policy: &'a FetchPolicy,
    pub(super) limits: &'a FetchLimits,
    /// Sent while the hops stay at the first URL's scheme, host and port.
    pub(super) authorization: Option<HeaderValue>,
}

/// A 200, and where it came from.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) url: Url,
    /// The addresses that were checked; one of them answered.
    pub(super) addrs: Vec<SocketAddr>,
}

impl Web<'_> {
    pub(super) async fn get(&self, first: Url, follow: Follow) -> Result<Answer, WebError> {
        let mut url = first;
        let mut authorization = self.authorization.clone();
        for _ in 0..=self.limits.redirects {
            let host = host_of(&url);
            if !self.policy.allowed_hosts.allows(url.host_str().unwrap_or_default()) {
                return Err(WebError::HostNotAllowed(host));
            }
            let addrs = address::resolve(&url, self.policy, self.limits).await?;
            let response = self.ask(&url, &addrs, authorization.as_ref(), follow.user_agent()).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return Ok(Answer { response, url, addrs });
            }
            let Some(next) = redirect(&url, &response)? else {
                return Err(refused(host, status, authorization.is_some()));
            };
            check_hop(&url, &next, follow)?;
            if next.origin() != url.origin() && !is_upgrade(&url, &next) {
                authorization = None;
            }
            url = next;
        }
        Err(WebError::RedirectLoop(host_of(&url), self.limits.redirects))
    }

    async fn ask(
        &self,
        url: &Url,
        addrs: &[SocketAddr],
        authorization: Option<&HeaderValue>,
        agent: &'static str,
    ) -> Result<Response, WebError> {
        // A client per hop: what it may connect to is fixed when it is built.
        let client = Client::builder()
            .tls_backend_preconfigured(TLS.clone())
            .dns_resolver(Pinned(addrs.to_vec()))
            .connect_timeout(self.limits.connect)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(agent)
            .build()
            .map_err(WebError::Client)?;
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let patience = self.limits.connect + self.limits.stall;
        match tokio::time::timeout(patience, request.send()).await {
            Err(_) => Err(WebError::Stalled(host_of(url), seconds(self.limits.stall))),
            Ok(Err(error)) if is_certificate(&error) => Err(WebError::Certificate(host_of(url), error.without_url())),
            Ok(Err(error)) if error.is_connect() => Err(WebError::Connect(host_of(url), error.without_url())),
            Ok(Err(error)) => Err(WebError::Broken(host_of(url), error.without_url())),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

/// Whether rustls refused the server's certificate. It arrives wrapped in I/O errors, which show it as their own.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `host` or `host:port`, fit for a terminal. Never more of a URL: the rest may be a signature.
pub(super) fn host_of(url: &Url) -> String {
    let host = shown(url.host_str().unwrap_or_default(), 253);
    url.port().map(|port| format!("{host}:{port}")).unwrap_or(host)
}

fn redirect(url: &Url, response: &Response) -> Result<Option<Url>, WebError> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match location.map(|text| url.join(text)) {
        Some(Ok(next)) => Ok(Some(next)),
        _ => Err(WebError::Redirect(host_of(url), "nowhere".into(), "it names no URL")),
    }
}

fn check_hop(url: &Url, next: &Url, follow: Follow) -> Result<(), WebError> {
    let refuse = |why| Err(WebError::Redirect(host_of(url), format!("{}://{}", next.scheme(), host_of(next)), why));
    match (url.scheme(), next.scheme()) {
        ("https", "http") => return refuse("it gives up https"),
        (_, "http" | "https") => {}
        _ => return refuse("only https and http are fetched"),
    }
    if !next.username().is_empty() || next.password().is_some() {
        return refuse("it holds credentials");
    }
    if follow == Follow::SameHost && next.origin() != url.origin() && !is_upgrade(url, next) {
        return refuse("a repository stays at its host");
    }
    Ok(())
}

/// The same host on its default ports, from http to https.
fn is_upgrade(url: &Url, next: &Url) -> bool {
    (url.scheme(), next.scheme()) == ("http", "https")
        && url.host() == next.host()
        && url.port().is_none()
        && next.port().is_none()
}

fn refused(host: String, status: StatusCode, authorized: bool) -> WebError {
    match status.as_u16() {
        code @ (401 | 403) if authorized => WebError::Denied(host, code),
        401 => WebError::Unauthorized(host),
        404 | 410 => WebError::NotFound(host),
        code => WebError::Status(host, code),
    }
}

/// Answers every name with the addresses that were checked: the client serves one hop, and so one host.
struct Pinned(Vec<SocketAddr>);

impl dns::Resolve for Pinned {
    fn resolve(&self, _name: dns::Name) -> dns::Resolving {
        let addrs: dns::Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(async move { Ok(addrs) })
    }
}

/// Mozilla's roots, whatever the machine holds; made once.
static TLS: LazyLock<rustls::ClientConfig> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider serves TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_keeps_its_scheme_and_for_git_its_host() {
        let hop =
            |from: &str, to: &str, follow| check_hop(&from.parse().unwrap(), &to.parse().unwrap(), follow).is_ok();
        for (from, to, any, same) in [
            ("https://a.example/x", "https://a.example/y", true, true),
            ("http://a.example/x", "https://a.example/x", true, true),
            ("http://a.example:81/x", "https://a.example/x", true, false),
            ("https://a.example/x", "https://b.example/x", true, false),
            ("https://a.example/x", "https://a.example:8443/x", true, false),
            ("https://a.example/x", "http://a.example/x", false, false),
            ("https://a.example/x", "ftp://a.example/x", false, false),
            ("http://a.example/x", "file:///etc/passwd", false, false),
            ("https://a.example/x", "https://me:pw@a.example/x", false, false),
        ] {
            assert_eq!(hop(from, to, Follow::AnyHost), any, "{from} -> {to}");
            assert_eq!(hop(from, to, Follow::SameHost), same, "{from} -> {to}, same host");
        }
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_checked_address_whatever_the_name_says() {
        let server = testkit::archive_server::ArchiveServer::start().await;
        let served = server.serve("/x", testkit::archive_server::Reply::Whole(b"here".to_vec()));
        let mut url = served.clone();
        url.set_host(Some("no-such-host.invalid")).unwrap();
        let policy =
            FetchPolicy { allowed_hosts: session::AllowedHosts::any(), allow_private: true, allow_local: false };
        let web = Web { policy: &policy, limits: &FetchLimits::default(), authorization: None };
        let response = web.ask(&url, &[server.address()], None, "test").await.unwrap();
        assert_eq!(response.bytes().await.unwrap(), "here");
    }
}
