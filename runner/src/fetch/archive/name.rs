//! The name of an archive's entry: relative, without tricks, and short enough.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::fault::ArchiveError;
use crate::fetch::limits::FetchLimits;
use crate::fetch::report::quoted;

/// Bytes of one component, as Linux and macOS have it.
const MAX_COMPONENT: usize = 255;

/// A path below the folder that is extracted into: normal components only. Empty: that folder itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryName(pub(super) PathBuf);

impl EntryName {
    pub(super) fn parse(raw: &[u8], limits: &FetchLimits) -> Result<Self, ArchiveError> {
        let refuse = |why: String| Err(ArchiveError::Name(quoted(raw), why));
        if raw.len() > limits.path_bytes {
            return refuse(format!("has a name of {} bytes; at most {} are possible", raw.len(), limits.path_bytes));
        }
        if raw.first() == Some(&b'/') {
            return refuse("has an absolute name".into());
        }
        if raw.contains(&0) || raw.contains(&b'\\') {
            return refuse("has a name with a NUL or a backslash".into());
        }
        if matches!(raw, [drive, b':', ..] if drive.is_ascii_alphabetic()) {
            return refuse("has a name with a drive letter".into());
        }
        let mut path = PathBuf::new();
        let mut depth = 0;
        for part in raw.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return refuse("has a name with ..".into()),
                part if part.len() > MAX_COMPONENT => return refuse("has a component of more than 255 bytes".into()),
                part => path.push(OsStr::from_bytes(part)),
            }
            depth += 1;
        }
        if depth > limits.path_depth {
            return refuse(format!("lies {depth} folders deep; at most {} are possible", limits.path_depth));
        }
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn quoted(&self) -> String {
        quoted(self.0.as_os_str().as_bytes())
    }

    /// Whether a symbolic link of this name may point to `target`.
    ///
    /// Only `..` in front, and no more of them than there are real folders above the link, then names: such a
    /// link ends below the root, and since each name that it passes may only be a real folder or another such
    /// link, so do all chains of them. A `..` behind a name could step out of wherever that name leads.
    pub(super) fn check_link(&self, target: &[u8]) -> Result<(), ArchiveError> {
        let refuse = |why| Err(ArchiveError::Link(self.quoted(), why));
        if target.is_empty() || target.contains(&0) || target.len() > 4095 {
            return refuse("has no usable target");
        }
        if target[0] == b'/' {
            return refuse("points to an absolute path");
        }
        let room = self.0.components().count().saturating_sub(1);
        let (mut ups, mut named) = (0, false);
        for part in target.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." if named => return refuse("has a target with .. behind a name"),
                b".." => ups += 1,
                _ => named = true,
            }
        }
        if ups > room { refuse("points out of the archive") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<EntryName, ArchiveError> {
        EntryName::parse(raw, &FetchLimits { path_bytes: 300, path_depth: 4, ..FetchLimits::default() })
    }

    #[test]
    fn plain_names_are_taken_and_normalised() {
        for (raw, path) in
            [("./a//b/./c/", "a/b/c"), ("./", ""), ("...", "..."), ("a..b/..c", "a..b/..c"), ("-rf", "-rf")]
        {
            assert_eq!(parse(raw.as_bytes()).unwrap().path(), Path::new(path), "{raw}");
        }
    }

    #[test]
    fn names_with_tricks_are_refused() {
        let long = [b'x'; 256];
        for raw in [
            &b"/etc/passwd"[..],
            b"//x",
            b"..",
            b"../x",
            b"a/../../x",
            b"a/..",
            b"./../x",
            b"a\\..\\x",
            b"\\\\host\\share",
            b"C:/x",
            b"c:x",
            b"a\0b",
            b"a/b/c/d/e",
            &long,
            &[b'y'; 301],
        ] {
            assert!(parse(raw).is_err(), "{}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn a_link_stays_inside_whatever_it_passes() {
        let check = |name: &str, target: &str| parse(name.as_bytes()).unwrap().check_link(target.as_bytes()).is_ok();
        for (name, target) in
            [("l", "a"), ("l", "./a/b"), ("a/l", "../b"), ("a/b/l", "../../c"), ("a/l", ".."), ("l", ".")]
        {
            assert!(check(name, target), "{name} -> {target}");
        }
        for (name, target) in [
            ("l", ".."),
            ("l", "/etc"),
            ("l", ""),
            ("a/l", "../../x"),
            ("l", "a/.."),
            ("a/l", "b/../../x"),
            ("l", "x\0"),
        ] {
            assert!(!check(name, target), "{name} -> {target}");
        }
    }
}
