//! What can go wrong with a repository.

use std::io;

use crate::fetch::limits::bytes;

#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("git is not installed here, so repositories cannot be fetched")]
    Missing(#[source] io::Error),
    #[error("git 2.37 or newer is needed to fetch repositories; this is {0}")]
    TooOld(String),
    #[error("there is no git repository at {0}")]
    NotARepository(String),
    #[error("the repository at {0} is empty")]
    NoCommits(String),
    #[error("the repository at {0} has no branch, tag or commit {1}")]
    NoReference(String, String),
    #[error("the repository at {0} has several commits that begin with {1}")]
    Ambiguous(String, String),
    #[error("there is no folder {folder} at {reference} of the repository")]
    NoFolder { folder: String, reference: String },
    #[error("{folder} is not a folder at {reference} of the repository")]
    NotAFolder { folder: String, reference: String },
    #[error("the repository's objects are larger than {limit}", limit = bytes(*.0))]
    DownloadTooLarge(u64),
    #[error("the repository's files are larger than {limit} together", limit = bytes(*.0))]
    TooLarge(u64),
    #[error("the repository has more than {0} files and folders to check out")]
    TooMany(u64),
    #[error("the repository at {0} lists more references than can be read")]
    TooManyReferences(String),
    #[error("{0} sent nothing for {1}")]
    Stalled(String, String),
    #[error("git could not {what}: {said}")]
    Failed { what: &'static str, said: String },
    #[error("git could not be run")]
    Run(#[source] io::Error),
}
