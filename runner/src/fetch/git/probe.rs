//! Finds a repository by asking for its references with the checked client: where redirects lead, whether it wants
//! credentials, which address answers. Then git itself needs to follow nothing and to resolve nothing.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::fault::GitError;
use super::refs::is_plain;
use crate::fetch::error::FetchError;
use crate::fetch::web::{Answer, Follow, Web, WebError, host_of};

/// Bytes of the answer that are looked at. The first reference's line holds the capabilities.
const MAX_HEAD: usize = 16 * 1024;
const SUFFIX: &str = "/info/refs";

/// A repository that answered.
pub(super) struct Found {
    /// Without redirects, credentials, query.
    pub(super) url: Url,
    /// `http.curloptResolve` for it; none where the host is an address already.
    pub(super) pinned: Option<String>,
    /// The short name of the branch that HEAD points to.
    pub(super) default_branch: Option<String>,
}

/// Asks for `repo` as written, then with `.git` appended or removed.
pub(super) async fn find(repo: &Url, web: &Web<'_>) -> Result<Found, FetchError> {
    let mut first_error = None;
    for url in candidates(repo) {
        let error = match ask(&url, web).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let try_next =
            matches!(error, FetchError::Web(WebError::NotFound(_)) | FetchError::Git(GitError::NotARepository(_)));
        let error = first_error.get_or_insert(error);
        if !try_next {
            break;
        }
        tracing::debug!(detail = error.detail(), "no repository at this address");
    }
    Err(first_error.unwrap_or_else(|| GitError::NotARepository(host_of(repo)).into()))
}

fn candidates(repo: &Url) -> [Url; 2] {
    let path = repo.path().trim_end_matches('/');
    let other = path.strip_suffix(".git").map(str::to_owned).unwrap_or_else(|| format!("{path}.git"));
    [path, &other].map(|path| {
        let mut url = repo.clone();
        url.set_path(path);
        url.set_query(None);
        url.set_fragment(None);
        url
    })
}

async fn ask(url: &Url, web: &Web<'_>) -> Result<Found, FetchError> {
    let mut refs = url.clone();
    refs.set_path(&format!("{}{SUFFIX}", url.path()));
    refs.set_query(Some("service=git-upload-pack"));
    let mut answer = web.get(refs, Follow::SameHost).await?;
    let head = read_head(&mut answer, web).await?;
    let mut found = answer.url.clone();
    found.set_query(None);
    found.set_fragment(None);
    let base = found.path().strip_suffix(SUFFIX).map(str::to_owned);
    let (Some(base), true) = (base, head.starts_with(b"001e# service=git-upload-pack")) else {
        return Err(GitError::NotARepository(format!("{}{}", host_of(url), url.path())).into());
    };
    found.set_path(&base);
    let pinned = pin(&found, &answer.addrs);
    Ok(Found { url: found, pinned, default_branch: default_branch(&head) })
}

async fn read_head(answer: &mut Answer, web: &Web<'_>) -> Result<Vec<u8>, WebError> {
    let host = host_of(&answer.url);
    let mut head = Vec::new();
    while head.len() < MAX_HEAD && default_branch(&head).is_none() {
        match tokio::time::timeout(web.limits.stall, answer.response.chunk()).await {
            Err(_) => return Err(WebError::Stalled(host, crate::fetch::limits::seconds(web.limits.stall))),
            Ok(Err(error)) => return Err(WebError::Broken(host, error.without_url())),
            Ok(Ok(Some(bytes))) => head.extend_from_slice(&bytes),
            Ok(Ok(None)) => break,
        }
    }
    Ok(head)
}

/// The capability `symref=HEAD:refs/heads/NAME` (gitprotocol-capabilities), whole.
fn default_branch(head: &[u8]) -> Option<String> {
    const MARK: &[u8] = b" symref=HEAD:";
    let at = head.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let end = at + head[at..].iter().position(|byte| matches!(byte, b' ' | b'\n'))?;
    let name = std::str::from_utf8(&head[at..end]).ok()?;
    if is_plain(name) { name.strip_prefix("refs/heads/").map(str::to_owned) } else { None }
}

/// curl's `HOST:PORT:ADDRESS[,ADDRESS]`.
fn pin(url: &Url, addrs: &[SocketAddr]) -> Option<String> {
    let Some(Host::Domain(host)) = url.host() else { return None };
    let one = |addr: &SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let list: Vec<String> = addrs.iter().map(one).collect();
    Some(format!("{host}:{}:{}", url.port_or_known_default()?, list.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_pinned_as_curl_reads_it() {
        let addrs = ["1.2.3.4:443".parse().unwrap(), "[2606:4700::1]:443".parse().unwrap()];
        let pinned = pin(&"https://h.example/x.git".parse().unwrap(), &addrs);
        assert_eq!(pinned.as_deref(), Some("h.example:443:1.2.3.4,[2606:4700::1]"));
        assert_eq!(pin(&"http://127.0.0.1:81/x".parse().unwrap(), &addrs), None);
    }

    #[test]
    fn a_repository_is_looked_for_with_and_without_its_ending() {
        let paths = |url: &str| candidates(&url.parse().unwrap()).map(|url| url.to_string());
        assert_eq!(paths("https://h.example/o/r/?x=1"), ["https://h.example/o/r", "https://h.example/o/r.git"]);
        assert_eq!(paths("https://h.example/o/r.git"), ["https://h.example/o/r.git", "https://h.example/o/r"]);
    }

    #[test]
    fn the_default_branch_is_read_from_the_capabilities() {
        let head = |symref: &str| {
            default_branch(
                format!("001e# service=git-upload-pack\n0000...\0multi_ack symref=HEAD:{symref} agent=x\n").as_bytes(),
            )
        };
        assert_eq!(head("refs/heads/release/1").as_deref(), Some("release/1"));
        assert_eq!(head("refs/heads/../x"), None);
        assert_eq!(head("refs/tags/x"), None);
        assert_eq!(default_branch(b" symref=HEAD:refs/heads/ma"), None);
    }
}
