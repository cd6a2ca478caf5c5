//! What a `code_url` means: a folder of a repository, a repository, an archive, or (in local mode) a folder here.
//!
//! Only the text is judged: whether the host may be reached at all is decided again on every hop by whoever fetches.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Where a session's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeSource {
    /// A folder of a repository, as a forge's page names it. `tail` is `REF/FOLDER`, and since a ref may hold
    /// slashes, only the remote's list of refs can tell where it ends (longest match). Empty segments are dropped.
    Tree { repo: Url, tail: String },
    /// A whole repository at `reference` (branch, tag or commit), or at its default branch.
    Git { repo: Url, reference: Option<String> },
    /// An archive; with no known ending its first bytes decide.
    Archive { url: Url, kind: Option<ArchiveKind> },
    /// A folder on this machine. Local mode only.
    Folder { path: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    Zip,
    TarGz,
}

/// Why a `code_url` is refused. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeUrlError {
    #[error("is not a URL: {0}")]
    NotAUrl(String),
    #[error("has the scheme {0:?}; only https and http are fetched")]
    Scheme(String),
    #[error("holds a user name or password; send credentials in code_auth, which is kept secret")]
    Credentials,
    #[error("names no host")]
    NoHost,
    #[error("is a folder on the server, which only local mode serves")]
    LocalOnly,
    #[error("must be an absolute path")]
    RelativePath,
    #[error("names the host {0:?}, which is not among the allowed ones ({1})")]
    HostNotAllowed(String, &'static str),
}

/// The setting that lists the hosts; named in every refusal.
pub const ALLOWED_HOSTS_SETTING: &str = "ALLOWED_CODE_DOMAINS";

/// Hosts that name a repository by `/OWNER/REPO` alone, without a `.git` ending.
const FORGES: [&str; 4] = ["github.com", "gitlab.com", "codeberg.org", "bitbucket.org"];

impl CodeSource {
    /// Reads a `code_url`. `local` allows `file://` URLs and absolute paths.
    pub fn parse(text: &str, local: bool) -> Result<Self, CodeUrlError> {
        if text.starts_with('/') || text.starts_with("file:") {
            return Self::folder(text, local);
        }
        let url = Url::parse(text).map_err(|error| CodeUrlError::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(CodeUrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(CodeUrlError::Credentials);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(CodeUrlError::NoHost);
        }
        Ok(Self::remote(url))
    }

    fn folder(text: &str, local: bool) -> Result<Self, CodeUrlError> {
        if !local {
            return Err(CodeUrlError::LocalOnly);
        }
        let path = match text.strip_prefix("file:") {
            None => PathBuf::from(text),
            Some(_) => Url::parse(text)
                .map_err(|error| CodeUrlError::NotAUrl(error.to_string()))?
                .to_file_path()
                .map_err(|()| CodeUrlError::RelativePath)?,
        };
        Ok(CodeSource::Folder { path })
    }

    fn remote(mut url: Url) -> Self {
        if let Some((repo, tail)) = split_tree(&url) {
            return CodeSource::Tree { repo, tail };
        }
        let path = url.path().trim_end_matches('/').to_owned();
        let is_forge = url.host_str().is_some_and(|host| FORGES.contains(&host));
        if path.ends_with(".git") || (is_forge && path.split('/').filter(|part| !part.is_empty()).count() == 2) {
            let reference = url.fragment().filter(|text| !text.is_empty()).map(percent_decoded);
            url.set_fragment(None);
            return CodeSource::Git { repo: url, reference };
        }
        url.set_fragment(None);
        CodeSource::Archive { kind: ArchiveKind::of_name(&path), url }
    }

    /// The remote host that is asked first, if any.
    pub fn url(&self) -> Option<&Url> {
        match self {
            CodeSource::Tree { repo, .. } | CodeSource::Git { repo, .. } => Some(repo),
            CodeSource::Archive { url, .. } => Some(url),
            CodeSource::Folder { .. } => None,
        }
    }

    pub fn is_archive(&self) -> bool {
        matches!(self, CodeSource::Archive { .. })
    }
}

impl ArchiveKind {
    fn of_name(path: &str) -> Option<Self> {
        let path = path.to_ascii_lowercase();
        if path.ends_with(".zip") {
            Some(Self::Zip)
        } else if path.ends_with(".tar.gz") || path.ends_with(".tgz") {
            Some(Self::TarGz)
        } else {
            None
        }
    }

    /// Judges a file by its first bytes: zip local header, end-of-directory of an empty zip, or gzip (RFC 1952).
    pub fn of_bytes(head: &[u8]) -> Option<Self> {
        match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            _ => None,
        }
    }
}

/// Splits `/OWNER/REPO/tree/REF/FOLDER` (GitHub), `/GROUP/.../REPO/-/tree/REF/FOLDER` (GitLab) and
/// `/OWNER/REPO/src/{branch,tag,commit}/REF/FOLDER` (Gitea) into the repository and what follows.
fn split_tree(url: &Url) -> Option<(Url, String)> {
    let parts: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    let gitlab = parts.windows(2).position(|pair| pair == ["-", "tree"]).filter(|&at| at >= 2);
    let (repo_len, tail_at) = if let Some(at) = gitlab {
        (at, at + 2)
    } else if parts.len() > 3 && parts[2] == "tree" {
        (2, 3)
    } else if parts.len() > 4 && parts[2] == "src" && matches!(parts[3], "branch" | "tag" | "commit") {
        (2, 4)
    } else {
        return None;
    };
    if tail_at >= parts.len() {
        return None;
    }
    let mut repo = url.clone();
    repo.set_path(&parts[..repo_len].join("/"));
    repo.set_query(None);
    repo.set_fragment(None);
    Some((repo, percent_decoded(&parts[tail_at..].join("/"))))
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The hosts that code may come from. Empty: every public host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllowedHosts(Vec<String>);

/// An entry of the list is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name, *.host name, or address")]
pub struct InvalidHost(String);

impl AllowedHosts {
    pub fn any() -> Self {
        Self::default()
    }

    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `host` is on the list: `example.com` means that name alone, `*.example.com` every name below it.
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.0.is_empty()
            || self.0.iter().any(|entry| match entry.strip_prefix("*.") {
                Some(parent) => host.strip_suffix(parent).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.')),
                None => *entry == host,
            })
    }

    /// Refuses a source whose host is not on the list.
    pub fn check(&self, source: &CodeSource) -> Result<(), CodeUrlError> {
        match source.url().and_then(Url::host_str) {
            Some(host) if !self.allows(host) => {
                Err(CodeUrlError::HostNotAllowed(host.to_owned(), ALLOWED_HOSTS_SETTING))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for AllowedHosts {
    type Err = InvalidHost;

    /// A comma-separated list; blanks around entries and empty entries are ignored.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let entry = |entry: &str| {
            let name = entry.strip_prefix("*.").unwrap_or(entry);
            let parsed = Host::parse(name).map_err(|_| InvalidHost(entry.to_owned()))?;
            Ok(if name.len() == entry.len() { parsed.to_string() } else { format!("*.{parsed}") })
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(entry).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> CodeSource {
        CodeSource::parse(text, false).unwrap()
    }

    #[test]
    fn a_forge_page_of_a_folder_is_a_tree() {
        for (text, repo, tail) in [
            ("https://github.com/o/r/tree/main/a/b", "https://github.com/o/r", "main/a/b"),
            ("https://github.com/o/r/tree/feature/x/sub%20dir/", "https://github.com/o/r", "feature/x/sub dir"),
            ("https://gitlab.com/g/sub/r/-/tree/v1/a", "https://gitlab.com/g/sub/r", "v1/a"),
            ("http://127.0.0.1:99/o/r/tree/main", "http://127.0.0.1:99/o/r", "main"),
            ("https://codeberg.org/o/r/src/branch/main/x", "https://codeberg.org/o/r", "main/x"),
        ] {
            let expected = CodeSource::Tree { repo: Url::parse(repo).unwrap(), tail: tail.to_owned() };
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn endings_tell_repositories_and_archives_apart() {
        let git = |text: &str| match parse(text) {
            CodeSource::Git { repo, reference } => (repo.to_string(), reference),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(git("https://h.example/x.git#v1/y"), ("https://h.example/x.git".into(), Some("v1/y".into())));
        assert_eq!(git("https://github.com/o/r"), ("https://github.com/o/r".into(), None));
        let kind = |text: &str| match parse(text) {
            CodeSource::Archive { kind, .. } => kind,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(kind("https://h.example/x.ZIP?sig=1"), Some(ArchiveKind::Zip));
        assert_eq!(kind("https://h.example/x.tgz"), Some(ArchiveKind::TarGz));
        assert_eq!(kind("https://h.example/x.tar.gz#frag"), Some(ArchiveKind::TarGz));
        assert_eq!(kind("https://h.example/download?id=3"), None);
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_with_a_reason() {
        let refused = |text: &str| CodeSource::parse(text, false).unwrap_err();
        assert!(matches!(refused("not a url"), CodeUrlError::NotAUrl(_)));
        assert_eq!(refused("ssh://git@h.example/x.git"), CodeUrlError::Scheme("ssh".into()));
        assert_eq!(refused("https://me:pw@h.example/x.git"), CodeUrlError::Credentials);
        assert_eq!(refused("file:///etc"), CodeUrlError::LocalOnly);
        assert_eq!(refused("/etc"), CodeUrlError::LocalOnly);
        assert_eq!(
            CodeSource::parse("file:///srv/my%20code", true).unwrap(),
            CodeSource::Folder { path: "/srv/my code".into() }
        );
    }

    #[test]
    fn a_host_list_means_exactly_what_it_says() {
        let hosts: AllowedHosts = " github.com, *.Example.com ,,10.0.0.7 ".parse().unwrap();
        for (host, allowed) in [
            ("github.com", true),
            ("GITHUB.com.", true),
            ("evil-github.com", false),
            ("a.github.com", false),
            ("a.b.example.com", true),
            ("example.com", false),
            ("notexample.com", false),
            ("10.0.0.7", true),
        ] {
            assert_eq!(hosts.allows(host), allowed, "{host}");
        }
        assert!(AllowedHosts::any().allows("anything.example"));
        assert!("exa mple.com".parse::<AllowedHosts>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}", local: bool) {
            let _ = CodeSource::parse(&text, local);
            let _ = text.parse::<AllowedHosts>();
        }

        #[test]
        fn a_tree_url_keeps_its_parts(owner in "[a-z0-9-]{1,9}", repo in "[a-z0-9._-]{1,9}x", tail in "[a-z]{1,5}(/[a-z0-9._+=&-]{1,6}x){0,4}") {
            let source = parse(&format!("https://github.com/{owner}/{repo}/tree/{tail}"));
            prop_assert_eq!(source, CodeSource::Tree { repo: Url::parse(&format!("https://github.com/{owner}/{repo}")).unwrap(), tail });
        }
    }
}
