//! Values that settings are read into.

use std::fmt;
use std::str::FromStr;

use service::Settings;
use url::Url;

/// `HOST:PORT`, checked for its form alone: the name may only resolve later.
#[derive(Debug, Clone)]
pub(super) struct HostPort(pub String);

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
        let known = url::Host::parse(host).is_ok() && port.parse::<u16>().is_ok_and(|port| port > 0);
        if known { Ok(Self(text.to_owned())) } else { Err("expected HOST:PORT") }
    }
}

/// An `http` or `https` URL of a whole host.
#[derive(Debug, Clone)]
pub(super) struct BaseUrl(pub Url);

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if matches!(url.scheme(), "http" | "https") && url.has_host() && plain && url.path() == "/" {
            return Ok(Self(url));
        }
        Err("expected http://HOST[:PORT] or https://HOST[:PORT]".to_owned())
    }
}

/// A name that Kubernetes takes for a namespace and as a label's value (RFC 1123 label).
#[derive(Debug, Clone)]
pub(super) struct LabelName(pub String);

impl FromStr for LabelName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if plain && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err("expected at most 63 of a-z, 0-9 and -, and no - at either end")
    }
}

/// Reads a setting that must be given.
pub(super) fn required<T: FromStr<Err: fmt::Display>>(
    settings: &mut Settings,
    flag: &str,
    text: &Option<String>,
) -> Option<T> {
    if text.as_deref().is_none_or(|text| text.trim().is_empty()) {
        settings.refuse(flag, "needed");
        return None;
    }
    settings.read_optional(flag, text)
}
