//! Which host names this server answers to.
//!
//! A web page anywhere may let its own name resolve to 127.0.0.1 (DNS rebinding); the browser then takes our answers
//! for that page's own. It still sends the page's name as `Host`, so whatever names a host that is not ours is refused.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, header};
use service::Problem;
use session::ProblemType;
use url::{Host, Url};

#[derive(Debug)]
pub struct OwnHosts {
    names: BTreeSet<String>,
    /// Every address literal is ours. Rebinding needs a name: an address in `Host` means that the browser was sent to
    /// that very address, and one behind NAT or a forwarded port cannot know by which ones it is reached.
    any_address: bool,
}

impl OwnHosts {
    /// The loopback's names, the addresses listened on and the public URL's host; with `expose` and no public URL
    /// also every address literal.
    pub fn new(listen: SocketAddr, public_url: Option<&Url>, expose: bool) -> Self {
        let mut names = BTreeSet::from(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        if !listen.ip().is_unspecified() {
            names.insert(address_text(listen.ip()));
        }
        if let Some(host) = public_url.and_then(Url::host_str) {
            names.insert(host.to_ascii_lowercase());
        }
        Self { names, any_address: expose && public_url.is_none() }
    }

    /// Wraps every route, upgrades included.
    pub fn guard(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), refuse_foreign_hosts))
    }

    fn is_own(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        // RFC 9112, 3.2: exactly one.
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Some(authority) = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok()) else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        match Host::parse(authority.host().trim_end_matches('.')) {
            Ok(host @ Host::Domain(_)) => self.names.contains(&host.to_string()),
            Ok(host) => self.any_address || self.names.contains(&host.to_string()),
            Err(_) => false,
        }
    }
}

/// As it stands in a URL.
fn address_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

async fn refuse_foreign_hosts(State(own): State<Arc<OwnHosts>>, request: Request, next: Next) -> Response {
    if own.is_own(request.headers()) {
        return next.run(request).await;
    }
    let detail = "the Host header names a host that this server is not; if it is reached by that name, tell it with \
                  --public-url (CLISCALE_PUBLIC_URL)";
    Problem::new(ProblemType::UnknownHost, detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listen: &str, public_url: Option<&str>, expose: bool, host: &str) -> bool {
        let url = public_url.map(|url| Url::parse(url).unwrap());
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        OwnHosts::new(listen.parse().unwrap(), url.as_ref(), expose).is_own(&headers)
    }

    #[test]
    fn on_loopback_only_its_own_names_are_answered() {
        for ours in ["localhost", "LOCALHOST:8080", "127.0.0.1:9", "[::1]:8080", "localhost."] {
            assert!(own("127.0.0.1:8080", None, false, ours), "{ours}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "127.0.0.2",
            "[::2]",
            "",
            "a b",
            "localhost@evil.example",
            "evil@localhost",
            "localhost/x",
        ] {
            assert!(!own("127.0.0.1:8080", None, false, foreign), "{foreign}");
        }
    }

    #[test]
    fn the_public_name_and_the_listen_address_are_ours_too() {
        assert!(own("127.0.0.3:1", None, false, "127.0.0.3"));
        assert!(own("127.0.0.1:1", Some("https://Term.example"), false, "term.example"));
        assert!(own("[::1]:1", None, false, "[0:0:0:0:0:0:0:1]:1"));
    }

    #[test]
    fn an_exposed_server_answers_to_addresses_but_not_to_strange_names() {
        assert!(own("0.0.0.0:1", None, true, "192.168.1.7:1"));
        assert!(own("0.0.0.0:1", None, true, "[fe80::1]"));
        assert!(!own("0.0.0.0:1", None, true, "evil.example"));
        assert!(!own("0.0.0.0:1", None, false, "192.168.1.7"));
        assert!(!own("0.0.0.0:1", Some("https://term.example"), true, "192.168.1.7"));
        assert!(own("192.168.1.7:1", Some("https://term.example"), true, "192.168.1.7"));
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!OwnHosts::new("127.0.0.1:1".parse().unwrap(), None, false).is_own(&headers));
        assert!(!OwnHosts::new("127.0.0.1:1".parse().unwrap(), None, false).is_own(&HeaderMap::new()));
    }
}
