//! References: which of a remote's names a URL means.

use std::collections::HashMap;

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// Wherever the remote's HEAD points.
    Default,
    /// The full name of a branch, tag or other reference.
    Named(String),
    /// A commit id in full.
    Commit(String),
    /// The first digits of one.
    Abbreviated(String),
}

/// A tail `REF/FOLDER` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) reference: Reference,
    /// As the caller wrote it, for messages.
    pub(super) named: String,
    /// Empty: the whole repository.
    pub(super) folder: String,
}

/// The branches and tags of a remote, as `git ls-remote` lists them.
#[derive(Debug, Default)]
pub(super) struct RemoteRefs(HashMap<String, String>);

impl RemoteRefs {
    /// Reads `ID TAB NAME` lines. Names that git itself would not create are dropped: they could mean something
    /// else in a refspec.
    pub(super) fn parse(listing: &[u8]) -> Self {
        let entry = |line: &[u8]| {
            let (id, name) = std::str::from_utf8(line).ok()?.split_once('\t')?;
            // A peeled tag: its commit counts as a tip, its name is no name.
            let plain = name.strip_suffix("^{}").unwrap_or(name);
            (is_id(id) && is_plain(plain)).then(|| (name.to_owned(), id.to_owned()))
        };
        Self(listing.split(|byte| *byte == b'\n').filter_map(entry).collect())
    }

    /// The branch, else the tag of this short or full name.
    fn find(&self, name: &str) -> Option<String> {
        [format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.to_owned()]
            .into_iter()
            .find(|full| !full.ends_with("^{}") && self.0.contains_key(full))
    }

    /// What a `#reference` means.
    pub(super) fn reference(&self, text: &str) -> Option<Reference> {
        if let Some(full) = self.find(text) {
            return Some(Reference::Named(full));
        }
        // Pull requests and their like are not among branches and tags, but may be fetched by their full name.
        if text.starts_with("refs/") && is_plain(text) {
            return Some(Reference::Named(text.to_owned()));
        }
        if text == "HEAD" { Some(Reference::Default) } else { commit(text) }
    }

    /// Splits `REF/FOLDER` at the longest name that is a branch or tag, else behind a commit id.
    pub(super) fn split(&self, tail: &str) -> Option<Split> {
        let ends = tail.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at).chain([tail.len()]);
        let mut ends: Vec<usize> = ends.collect();
        let folder = |end: usize| tail[end..].trim_matches('/').to_owned();
        let first = *ends.first()?;
        ends.reverse();
        for end in ends {
            let named = &tail[..end];
            if let Some(full) = self.find(named) {
                return Some(Split { reference: Reference::Named(full), named: named.to_owned(), folder: folder(end) });
            }
        }
        let named = &tail[..first];
        let reference = if named == "HEAD" { Reference::Default } else { commit(named)? };
        Some(Split { reference, named: named.to_owned(), folder: folder(first) })
    }

    /// The one tip that begins with these digits.
    pub(super) fn tip(&self, digits: &str) -> Option<String> {
        let mut tips: Vec<&String> = self.0.values().filter(|id| id.starts_with(digits)).collect();
        tips.sort_unstable();
        tips.dedup();
        if let [only] = tips.as_slice() { Some((*only).clone()) } else { None }
    }
}

fn commit(text: &str) -> Option<Reference> {
    let text = text.to_ascii_lowercase();
    if is_id(&text) {
        return Some(Reference::Commit(text));
    }
    // Forges abbreviate to 7 digits and more; fewer are likelier a mistyped name.
    let abbreviated = (7..40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    abbreviated.then_some(Reference::Abbreviated(text))
}

/// A full object id, SHA-1 or SHA-256.
pub(super) fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The rules of `git check-ref-format`, for names below `refs/`.
pub(super) fn is_plain(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    name.starts_with("refs/")
        && name.len() <= 1024
        && !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn refs(names: &[&str]) -> RemoteRefs {
        let listing: Vec<String> = names.iter().map(|name| format!("{ID}\t{name}")).collect();
        RemoteRefs::parse(listing.join("\n").as_bytes())
    }

    fn split(refs: &RemoteRefs, tail: &str) -> (Reference, String) {
        let split = refs.split(tail).unwrap_or_else(|| panic!("{tail}"));
        (split.reference, split.folder)
    }

    #[test]
    fn the_longest_reference_wins_and_branches_come_before_tags() {
        let refs = refs(&["refs/heads/main", "refs/heads/feature/x", "refs/tags/feature/x/docs", "refs/tags/main"]);
        let named = |name: &str| Reference::Named(name.to_owned());
        assert_eq!(split(&refs, "main/a/b"), (named("refs/heads/main"), "a/b".into()));
        assert_eq!(split(&refs, "feature/x/src"), (named("refs/heads/feature/x"), "src".into()));
        assert_eq!(split(&refs, "feature/x/docs/y"), (named("refs/tags/feature/x/docs"), "y".into()));
        assert_eq!(split(&refs, "main"), (named("refs/heads/main"), String::new()));
        assert_eq!(split(&refs, "HEAD/a"), (Reference::Default, "a".into()));
        assert!(refs.split("feature/y/src").is_none());
    }

    #[test]
    fn a_commit_is_taken_where_no_name_matches() {
        let refs = refs(&["refs/heads/deadbeef"]);
        assert_eq!(split(&refs, &format!("{ID}/a")), (Reference::Commit(ID.into()), "a".into()));
        assert_eq!(split(&refs, "0123456/a"), (Reference::Abbreviated("0123456".into()), "a".into()));
        assert_eq!(split(&refs, "deadbeef/a").0, Reference::Named("refs/heads/deadbeef".into()));
        assert!(refs.split("012345/a").is_none());
        assert_eq!(refs.tip("0123456").as_deref(), Some(ID));
        assert_eq!(refs.tip("f"), None);
    }

    #[test]
    fn names_that_git_would_not_create_are_dropped() {
        let hostile = [
            "refs/heads/a:b",
            "refs/heads/+x*",
            "refs/heads/../x",
            "refs/heads/a b",
            "refs/heads/\x1b[31m",
            "refs/heads/x.lock",
            "refs/heads/",
            "--upload-pack=x",
            "HEAD",
            "refs/heads/a@{1}",
            "refs/heads/x^",
            "refs/heads/.x",
            "../../etc",
        ];
        assert!(refs(&hostile).0.is_empty(), "{:?}", refs(&hostile));
        let mixed = RemoteRefs::parse(b"junk\n\xff\xfe\tx\nshort\trefs/heads/y\n");
        assert!(mixed.0.is_empty());
    }

    #[test]
    fn a_fragment_may_name_a_branch_tag_commit_or_full_reference() {
        let refs = refs(&["refs/heads/a/b", "refs/tags/v1", "refs/tags/v1^{}"]);
        let named = |name: &str| Some(Reference::Named(name.to_owned()));
        assert_eq!(refs.reference("a/b"), named("refs/heads/a/b"));
        assert_eq!(refs.reference("refs/tags/v1"), named("refs/tags/v1"));
        assert_eq!(refs.reference("refs/pull/7/head"), named("refs/pull/7/head"));
        assert_eq!(refs.reference("v1^{}"), None);
        assert_eq!(refs.reference("refs/heads/x:refs/heads/y"), None);
        assert_eq!(refs.reference("nope"), None);
    }
}
