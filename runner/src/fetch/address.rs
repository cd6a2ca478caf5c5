//! Which addresses may be fetched from. A host is resolved once per hop, every address is judged, and the
//! connection goes to the judged addresses only, so that a second answer of the name server changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};
use session::runner_api::FetchPolicy;
use url::{Host, Url};

use super::limits::FetchLimits;
use super::report::shown;

/// The flag that lifts the rule; named in the refusal.
pub const ALLOW_PRIVATE_SETTING: &str = "--allow-private-code-hosts";

/// Why a host is not connected to. The resolved address is not shown: it would tell about the network inside.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error(
        "{0} is a private or reserved address, which code is not fetched from (unless {ALLOW_PRIVATE_SETTING} is set)"
    )]
    Literal(String),
    #[error(
        "{0} resolves to a private or reserved address, which code is not fetched from (unless {ALLOW_PRIVATE_SETTING} is set)"
    )]
    Resolved(String),
    #[error("the host {0} has no address")]
    Unknown(String, #[source] Option<std::io::Error>),
    #[error("the host {0} was not resolved within {1}")]
    Slow(String, String),
}

/// The addresses of the URL's host that may be connected to; at least one.
pub(super) async fn resolve(
    url: &Url,
    policy: &FetchPolicy,
    limits: &FetchLimits,
) -> Result<Vec<SocketAddr>, AddressError> {
    let port = url.port_or_known_default().unwrap_or(443);
    let literal = |ip: IpAddr| {
        if policy.allow_private || is_public(ip) {
            Ok(vec![SocketAddr::new(ip, port)])
        } else {
            Err(AddressError::Literal(ip.to_string()))
        }
    };
    let name = match url.host() {
        Some(Host::Ipv4(ip)) => return literal(ip.into()),
        Some(Host::Ipv6(ip)) => return literal(ip.into()),
        Some(Host::Domain(name)) => name,
        None => return Err(AddressError::Unknown(String::new(), None)),
    };
    let host = shown(name, 253);
    let found = match tokio::time::timeout(limits.connect, tokio::net::lookup_host((name, port))).await {
        Err(_) => return Err(AddressError::Slow(host, super::limits::seconds(limits.connect))),
        Ok(Err(error)) => return Err(AddressError::Unknown(host, Some(error))),
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
    };
    if found.is_empty() {
        return Err(AddressError::Unknown(host, None));
    }
    let allowed: Vec<_> = found.into_iter().filter(|addr| policy.allow_private || is_public(addr.ip())).collect();
    if allowed.is_empty() { Err(AddressError::Resolved(host)) } else { Ok(allowed) }
}

/// IPv4 blocks that are not the public internet (IANA special-purpose registry), and the one public address
/// that Azure answers on inside every virtual machine.
static REFUSED_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ]
    .iter()
    .map(|net| net.parse().expect("a constant"))
    .collect()
});

/// Blocks inside 2000::/3 that are not the public internet: IETF protocols with Teredo and ORCHID, documentation
/// (twice), and 6to4, which embeds any IPv4 address.
static REFUSED_V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| {
    ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]
        .iter()
        .map(|net| net.parse().expect("a constant"))
        .collect()
});

/// Whether an address is on the public internet.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !REFUSED_V4.iter().any(|net| net.contains(&ip))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = ip.segments();
    // NAT64 (RFC 6052): where only IPv6 is spoken, this is how public IPv4 hosts are reached.
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = ip.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    segments[0] & 0xe000 == 0x2000 && !REFUSED_V6.iter().any(|net| net.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow_private: bool) -> FetchPolicy {
        FetchPolicy { allowed_hosts: session::AllowedHosts::any(), allow_private, allow_local: false }
    }

    #[test]
    fn only_the_public_internet_is_public() {
        for ip in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.2.7",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001::1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "140.82.121.4", "::ffff:1.1.1.1", "2606:4700::1111", "64:ff9b::140.82.121.4"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn odd_spellings_of_an_address_are_refused_like_the_plain_one() {
        for url in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://0/",
            "http://127.0.0.1./",
            "http://1\u{ff12}7.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fd00:ec2::254]/",
        ] {
            let result = resolve(&url.parse().unwrap(), &policy(false), &FetchLimits::default()).await;
            assert!(matches!(result, Err(AddressError::Literal(_))), "{url}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses_and_they_are_not_told() {
        for url in ["http://localhost:81/", "http://LOCALHOST/"] {
            let error = resolve(&url.parse().unwrap(), &policy(false), &FetchLimits::default()).await.unwrap_err();
            assert!(matches!(error, AddressError::Resolved(_)), "{url}: {error:?}");
            assert!(!error.to_string().contains("127."), "{error}");
        }
        let allowed = resolve(&"http://localhost:81/".parse().unwrap(), &policy(true), &FetchLimits::default()).await;
        assert!(allowed.unwrap().iter().all(|addr| addr.ip().is_loopback() && addr.port() == 81));
    }

    #[tokio::test]
    async fn an_unknown_name_is_named() {
        let url = "http://no-such-host.invalid/".parse().unwrap();
        let error = resolve(&url, &policy(true), &FetchLimits::default()).await.unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }
}
