//! Why a fetch failed: the sentence for the user, and beside it the detail for the log.

use std::error::Error;
use std::io;

use super::archive::fault::ArchiveError;
use super::folder::FolderError;
use super::git::GitError;
use super::web::WebError;

/// `Display` is what the terminal and the API show: one sentence, without any secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the fetch was cancelled")]
    Cancelled,
    #[error("the code was not fetched within {0}")]
    TimedOut(String),
    #[error(transparent)]
    Web(#[from] WebError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the workspace could not be used")]
    Workspace(#[source] io::Error),
}

impl FetchError {
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// The sentence and what caused it, for the log.
    pub fn detail(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
