//! Which pages may open a terminal: the Origin rule for upgrades (RFC 6454), and the list of sites that may embed it.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, header};
use service::PublicAddress;
use url::Url;

/// The text named no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an exact origin, such as https://app.example.com or http://localhost:3000")]
pub struct InvalidOrigin;

/// `scheme://host[:port]` of a web page: lower-case, without the scheme's default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    /// `host[:port]`
    host: String,
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url = Url::parse(text).map_err(|_| InvalidOrigin)?;
        // An origin has no path, not even `/`; comparing with what the parser makes of it also refuses user names,
        // queries and wildcards. `null` is no URL.
        let origin = Self::of(&url)?;
        let default_port = if origin.scheme == "http" { ":80" } else { ":443" };
        let (given, serialised) = (text.to_ascii_lowercase(), origin.to_string());
        if given != serialised && given.strip_suffix(default_port) != Some(serialised.as_str()) {
            return Err(InvalidOrigin);
        }
        Ok(origin)
    }
}

impl Origin {
    /// The origin of a page at this address.
    pub fn of(url: &Url) -> Result<Self, InvalidOrigin> {
        let serialised = url.origin().ascii_serialization();
        let (scheme, host) = serialised.split_once("://").ok_or(InvalidOrigin)?;
        if !matches!(scheme, "http" | "https") || !is_plain_host(host) {
            return Err(InvalidOrigin);
        }
        Ok(Self { scheme: scheme.to_owned(), host: host.to_owned() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

/// Whether `host[:port]` can stand in a header as it is: WHATWG hosts may hold `;` and `,`, which would end a directive
/// of a content security policy.
pub fn is_plain_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// Whether the page that asks for an upgrade may. A client that is no browser sends no `Origin`.
pub fn may_connect(headers: &HeaderMap, public: &PublicAddress, embed_origins: &[Origin]) -> bool {
    let mut sent = headers.get_all(header::ORIGIN).iter();
    let Some(first) = sent.next() else { return true };
    if sent.next().is_some() {
        return false;
    }
    let Some(origin) = first.to_str().ok().and_then(|text| text.parse::<Origin>().ok()) else { return false };
    embed_origins.contains(&origin) || public.host(headers).is_some_and(|host| host == origin.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origins: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn allowed(host: &str, origins: &[&str]) -> bool {
        let embed = ["https://app.example".parse().unwrap()];
        may_connect(&headers(host, origins), &PublicAddress::default(), &embed)
    }

    #[test]
    fn only_our_own_pages_and_listed_sites_may_connect() {
        assert!(allowed("term.example", &[]));
        assert!(allowed("term.example", &["http://term.example"]));
        assert!(allowed("term.example", &["https://term.example"]));
        assert!(allowed("term.example:8080", &["http://term.example:8080"]));
        assert!(allowed("term.example:80", &["http://term.example"]));
        assert!(allowed("term.example", &["https://app.example"]));
        for refused in [
            "null",
            "",
            "http://app.example",
            "https://app.example:444",
            "https://sub.app.example",
            "http://evil.example",
            "http://term.example.evil.example",
            "http://term.example:81",
            "file://term.example",
            "term.example",
        ] {
            assert!(!allowed("term.example", &[refused]), "{refused}");
        }
        assert!(!allowed("term.example", &["http://term.example", "http://term.example"]));
    }

    #[test]
    fn a_set_public_url_is_the_only_host_of_ours() {
        let public =
            PublicAddress { public_url: Some(Url::parse("https://t.example").unwrap()), trusted_proxy_hops: 0 };
        assert!(may_connect(&headers("10.0.0.1", &["https://t.example"]), &public, &[]));
        assert!(!may_connect(&headers("10.0.0.1", &["http://10.0.0.1"]), &public, &[]));
    }

    #[test]
    fn an_embedding_site_is_named_exactly() {
        assert_eq!("https://App.example:443".parse::<Origin>().unwrap().to_string(), "https://app.example");
        for wrong in
            ["https://a.example/", "https://*.example", "https://u@a.example", "*", "null", "https://a;b", "a.example"]
        {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
