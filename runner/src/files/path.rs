//! The path of a file below the root, as a request has it: names, and nothing that leads upwards or around.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use session::ProblemType;

use super::MAX_DEPTH;
use super::refusal::Refusal;

/// What Linux takes, its closing NUL left out.
const MAX_BYTES: usize = 4095;

/// At least one name; none is empty, `.` or `..`, or holds a slash or NUL.
#[derive(Debug, PartialEq, Eq)]
pub struct FilePath {
    pub folders: Vec<OsString>,
    pub name: OsString,
}

impl FilePath {
    /// `raw` is percent-encoded. A name may have any bytes, and an encoded slash is a slash.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| Err(Refusal::new(ProblemType::InvalidRequest, format!("the file's path {why}")));
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(raw).collect();
        if bytes.len() > MAX_BYTES {
            return refuse("is too long");
        }
        let mut folders = Vec::new();
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" => return refuse("begins or ends with a slash, or has two in a row"),
                b"." | b".." => return refuse("has . or .. in it; it begins in the folder that the command runs in"),
                name if name.contains(&0) => return refuse("holds a NUL"),
                name => folders.push(OsString::from_vec(name.to_vec())),
            }
        }
        match folders.pop() {
            Some(name) if folders.len() < MAX_DEPTH => Ok(Self { folders, name }),
            _ => refuse("lies too deep"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are() {
        let path = FilePath::parse("a/b%20c/%2e%2e./..d%ff").unwrap();
        assert_eq!(path.folders, ["a", "b c", "..."]);
        assert_eq!(path.name.into_vec(), b"..d\xff");
        assert_eq!(FilePath::parse("x").unwrap(), FilePath { folders: Vec::new(), name: "x".into() });
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let deep = "a/".repeat(MAX_DEPTH + 1) + "b";
        for raw in [
            "",
            "/",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "..",
            "../x",
            "a/../../x",
            "%2e%2e/x",
            "a/%2E%2e%2fx",
            ".%2e/x",
            "a/./b",
            "a//b",
            "a/",
            "a%00b",
            &"x".repeat(MAX_BYTES + 1),
            &deep,
        ] {
            assert!(FilePath::parse(raw).is_err(), "{raw}");
        }
    }
}
