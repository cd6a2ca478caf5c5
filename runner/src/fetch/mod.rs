//! Fetches a session's code into its workspace: a repository, a folder of one, an archive, or a local folder.
//!
//! The workspace is left empty when a fetch fails, is cancelled or takes too long, and nothing outside it is ever
//! written. Everything is first put together in a staging folder and moved into place as the last step.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use session::CodeSource;
use session::runner_api::FetchPolicy;
use session::spec::CodeAuth;
use tokio_util::sync::CancellationToken;

use archive::ArchiveFetch;
use archive::budget::Budget;
use folder::FolderError;
use git::GitFetch;
use jobs::Jobs;
use report::Reporter;
use web::Web;

pub use address::ALLOW_PRIVATE_SETTING;
pub use error::FetchError;
pub use limits::FetchLimits;
pub use report::Say;

mod address;
mod archive;
mod error;
mod folder;
mod git;
mod jobs;
mod limits;
mod report;
mod web;

/// The folder in the workspace that the code is moved to, and the one that it is put together in.
const CODE: &str = "code";
const STAGING: &str = ".fetch";

/// What to fetch, and where to.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    pub source: CodeSource,
    /// SHA-256 of an archive, in hex.
    pub checksum_sha256: Option<String>,
    pub auth: Option<CodeAuth>,
    pub policy: FetchPolicy,
    /// Exists, is empty, and is ours alone until the fetch ends.
    pub workspace: PathBuf,
    /// Uses a local folder where it is instead of a copy.
    pub in_place: bool,
}

/// The code is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where the command runs.
    pub folder: PathBuf,
}

/// Fetches the code. Ends within [`FetchLimits::total`] and a moment.
///
/// On any error, `cancel` included, every child and thread has ended and the workspace is empty. Dropping the
/// future kills the children and stops the threads too, but does not wait: the caller then removes the workspace.
pub async fn fetch(
    request: FetchRequest,
    limits: &FetchLimits,
    say: Say,
    cancel: CancellationToken,
) -> Result<Fetched, FetchError> {
    let jobs = Jobs::default();
    let reporter = Reporter::new(say, request.auth.as_ref());
    let outcome = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(FetchError::Cancelled),
        () = tokio::time::sleep(limits.total) => Err(FetchError::TimedOut(limits::seconds(limits.total))),
        outcome = run(&request, limits, &reporter, &jobs) => outcome,
    };
    if outcome.is_err() {
        jobs.stop_and_wait().await;
        let workspace = request.workspace.clone();
        let emptied = tokio::task::spawn_blocking(move || empty(&workspace)).await;
        if let Err(error) = emptied.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "the workspace could not be emptied after a failed fetch");
        }
    }
    outcome
}

async fn run(
    request: &FetchRequest,
    limits: &FetchLimits,
    reporter: &Reporter,
    jobs: &Jobs,
) -> Result<Fetched, FetchError> {
    if let CodeSource::Folder { path } = &request.source {
        return local(request, path, limits, reporter, jobs).await;
    }
    let staging = request.workspace.join(STAGING);
    let code = staging.join(CODE);
    fs::create_dir(&staging).map_err(FetchError::Workspace)?;
    let auth = request.auth.as_ref();
    let web = |basic| Web {
        policy: &request.policy,
        limits,
        authorization: auth.and_then(|auth| authorization(auth, basic)),
    };
    let git = |repo| GitFetch { repo, auth, web: web(true), reporter, jobs, staging: &staging };
    let below = match &request.source {
        CodeSource::Archive { url, kind } => {
            let checksum = request.checksum_sha256.as_deref();
            let basic = auth.is_some_and(|auth| auth.username.is_some());
            ArchiveFetch { url, kind: *kind, checksum, web: web(basic), reporter, jobs }.run(&staging, &code).await?
        }
        CodeSource::Git { repo, reference } => {
            git(repo).whole(reference.as_deref(), &code).await?;
            PathBuf::new()
        }
        CodeSource::Tree { repo, tail } => {
            git(repo).tree(tail, &code).await?;
            PathBuf::new()
        }
        CodeSource::Folder { .. } => unreachable!("served above"),
    };
    let folder = request.workspace.join(CODE);
    fs::rename(&code, &folder).map_err(FetchError::Workspace)?;
    fs::remove_dir_all(&staging).map_err(FetchError::Workspace)?;
    // Joining an empty path would leave a slash at the end.
    Ok(Fetched { folder: if below.as_os_str().is_empty() { folder } else { folder.join(below) } })
}

async fn local(
    request: &FetchRequest,
    path: &Path,
    limits: &FetchLimits,
    reporter: &Reporter,
    jobs: &Jobs,
) -> Result<Fetched, FetchError> {
    if !request.policy.allow_local {
        return Err(FolderError::NotLocal.into());
    }
    let from = folder::locate(path)?;
    if request.in_place {
        reporter.line(&format!("Running in {}", from.display()));
        return Ok(Fetched { folder: from });
    }
    reporter.line(&format!("Copying {}", from.display()));
    let to = request.workspace.join(CODE);
    let (target, workspace) = (to.clone(), request.workspace.clone());
    let budget = Budget::new(limits.clone(), jobs.stop.clone());
    let copied = jobs.spawn_blocking(move || folder::copy(&from, &target, &workspace, budget)).await;
    reporter.line(&copied.map_err(|error| FetchError::Workspace(io::Error::other(error)))??);
    Ok(Fetched { folder: to })
}

/// The `Authorization` header: Basic, or a bearer token. None if no header can hold it, which validation precludes.
fn authorization(auth: &CodeAuth, basic: bool) -> Option<HeaderValue> {
    let text = if basic { format!("Basic {}", report::basic(auth)) } else { format!("Bearer {}", auth.token.expose()) };
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Removes what is in `workspace`, not the folder itself.
fn empty(workspace: &Path) -> io::Result<()> {
    for entry in fs::read_dir(workspace)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}
