//! How clients see this server, and how it sees them, through however many proxies it was told to trust.
//!
//! `X-Forwarded-*` is believed only from the configured number of proxy hops: each trusted proxy appends one entry to
//! `X-Forwarded-For`, so with N hops the Nth entry from the right is what the outermost trusted proxy saw, and
//! everything left of it may have been made up by the client.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};
use session::{Secret, SessionId};
use url::Url;

/// The public address, from `--public-url` or from each request's own `Host`.
#[derive(Debug, Clone, Default)]
pub struct PublicAddress {
    pub public_url: Option<Url>,
    pub trusted_proxy_hops: u8,
}

impl PublicAddress {
    /// `scheme://host[:port]`, without a trailing slash, as the client reached us. `None` when the request names no
    /// usable host.
    pub fn base(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(url) = &self.public_url {
            return Some(url.as_str().trim_end_matches('/').to_owned());
        }
        let scheme = match self.forwarded(headers, "x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        let host = host_of(headers)?;
        // Parsed, so that nothing but a host and port can get into a URL that we hand out.
        let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        (bare && url.username().is_empty() && url.password().is_none())
            .then(|| url.as_str().trim_end_matches('/').to_owned())
    }

    /// The client's own address, for limits and the log.
    pub fn client(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        let stated = self.forwarded(headers, "x-forwarded-for").and_then(|text| {
            text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        });
        stated.unwrap_or(peer.ip()).to_canonical()
    }

    /// The host that browsers must name as ours in `Origin`: the public URL's, else the request's.
    pub fn host(&self, headers: &HeaderMap) -> Option<String> {
        let base = self.base(headers)?;
        let (_, host) = base.split_once("://")?;
        Some(host.split('/').next()?.to_owned())
    }

    /// The entry that the outermost trusted proxy wrote, if we trust any.
    fn forwarded<'a>(&self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let hops = usize::from(self.trusted_proxy_hops);
        if hops == 0 {
            return None;
        }
        let entries: Vec<&str> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect();
        // A proxy may replace instead of append (commonly for -Proto): then the list is shorter than hops.
        entries.get(entries.len().saturating_sub(hops)).copied()
    }
}

/// The link to a session's terminal below a base address. A JWT needs no escaping in a query: base64url and dots.
pub fn terminal_at(base: &str, session: SessionId, token: &Secret) -> String {
    format!("{base}/ws/{session}?token={}", token.expose())
}

/// The `Host` header's text.
pub fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        entries.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_forged_forwarded_for_is_worth_nothing() {
        let peer = "10.0.0.1:5".parse().unwrap();
        let forged = headers(&[("x-forwarded-for", "1.2.3.4, 9.9.9.9")]);
        let with = |hops| PublicAddress { public_url: None, trusted_proxy_hops: hops }.client(&forged, peer);
        assert_eq!(with(0).to_string(), "10.0.0.1");
        assert_eq!(with(1).to_string(), "9.9.9.9");
        assert_eq!(with(2).to_string(), "1.2.3.4");
    }

    #[test]
    fn the_public_address_is_the_setting_else_what_the_client_used() {
        let request = headers(&[("host", "term.example:8080"), ("x-forwarded-proto", "https")]);
        let address = |hops, url: Option<&str>| PublicAddress {
            public_url: url.map(|url| Url::parse(url).unwrap()),
            trusted_proxy_hops: hops,
        };
        assert_eq!(address(0, None).base(&request).unwrap(), "http://term.example:8080");
        assert_eq!(address(1, None).base(&request).unwrap(), "https://term.example:8080");
        assert_eq!(address(0, Some("https://a.example/")).base(&request).unwrap(), "https://a.example");
        assert_eq!(address(0, Some("https://a.example/")).host(&request).unwrap(), "a.example");
    }

    #[test]
    fn a_host_that_is_more_than_a_host_is_no_host() {
        for host in ["a.example/<script>", "u@a.example", "a.example?x", "a.example#x", "a b", ""] {
            assert_eq!(PublicAddress::default().base(&headers(&[("host", host)])), None, "{host}");
        }
    }
}
