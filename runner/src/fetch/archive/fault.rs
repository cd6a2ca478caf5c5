//! What can be wrong with an archive; each text names the entry and the limit.

use std::io;

use crate::fetch::limits::bytes;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is neither a zip nor a tar.gz archive{0}")]
    NotAnArchive(&'static str),
    #[error("the name ends like a {named} archive, but the content is {found}")]
    Mislabelled { named: &'static str, found: &'static str },
    #[error("the archive holds no file")]
    Empty,
    #[error("the archive is truncated")]
    Truncated,
    #[error("the archive is damaged ({0})")]
    Damaged(String),
    #[error("the archive's SHA-256 is {actual}, not {expected} as code_checksum_sha256 says")]
    Checksum { expected: String, actual: String },
    #[error("the files are larger than {limit} together", limit = bytes(*.0))]
    TooLarge(u64),
    #[error("there are more than {0} files, folders and links")]
    TooMany(u64),
    #[error("the archive expands to more than {0} times its size, as a decompression bomb does")]
    Ratio(u64),
    #[error("the entry {0} {1}")]
    Name(String, String),
    #[error("the link {0} {1}")]
    Link(String, &'static str),
    #[error("the entry {0} is a {1}, which is not extracted")]
    Special(String, &'static str),
    #[error("the archive uses {0}, which is not supported")]
    Unsupported(String),
    #[error("the fetch was stopped")]
    Stopped,
    #[error("the files could not be written")]
    Disk(#[source] io::Error),
}
