//! Repositories: shallow, only what is asked for, by the `git` binary.
//!
//! A folder of a repository arrives without its blobs, is checked, and then checked out as if it were the whole
//! tree: nothing else of the repository is ever written, and its `.git` is removed. A whole repository keeps its
//! `.git`, which holds the URL but no credentials.

use std::fs;
use std::path::Path;
use std::time::Instant;

use session::spec::CodeAuth;
use url::Url;

use super::error::FetchError;
use super::jobs::Jobs;
use super::limits::{bytes, seconds};
use super::report::{Reporter, quoted};
use super::web::{Web, host_of};
use probe::Found;
use process::{Git, Watch};
use refs::{Reference, RemoteRefs};

mod disk;
mod fault;
mod probe;
mod process;
mod refs;

pub use fault::GitError;

/// The oldest git that knows `http.curloptResolve`; an older one would ignore it, and with it the address check.
const OLDEST: (u32, u32) = (2, 37);
/// Bytes of a listing of references: some 500,000 of them.
const MAX_LISTING: usize = 48 * 1024 * 1024;

/// A repository to fetch.
pub(super) struct GitFetch<'a> {
    pub(super) repo: &'a Url,
    pub(super) auth: Option<&'a CodeAuth>,
    pub(super) web: Web<'a>,
    pub(super) reporter: &'a Reporter,
    pub(super) jobs: &'a Jobs,
    /// A folder of our own, for what is removed afterwards.
    pub(super) staging: &'a Path,
}

impl GitFetch<'_> {
    /// The repository at `reference`, or at its default branch, into the new folder `code`.
    pub(super) async fn whole(&self, reference: Option<&str>, code: &Path) -> Result<(), FetchError> {
        let started = Instant::now();
        let (git, found) = self.open(reference.unwrap_or("its default branch")).await?;
        let wanted = match reference {
            None => Reference::Default,
            Some(text) => {
                let refs = self.list(&git, &found).await?;
                let wanted = refs.reference(text).ok_or_else(|| self.no_reference(text))?;
                self.expand(&git, &found, &refs, wanted).await?
            }
        };
        self.check_out_whole(&git, &found, &wanted, reference.unwrap_or("HEAD"), code).await?;
        self.close(code, started).await;
        Ok(())
    }

    /// The folder that `tail` (`REF/FOLDER`) names, into the new folder `code`.
    pub(super) async fn tree(&self, tail: &str, code: &Path) -> Result<(), FetchError> {
        let started = Instant::now();
        let (git, found) = self.open(tail).await?;
        let refs = self.list(&git, &found).await?;
        let split = refs.split(tail).ok_or_else(|| self.no_reference(tail))?;
        let wanted = self.expand(&git, &found, &refs, split.reference).await?;
        if split.folder.is_empty() {
            self.check_out_whole(&git, &found, &wanted, &split.named, code).await?;
        } else {
            self.fetch(&git, &found, &wanted, &split.named, true, code).await?;
            let tree = self.find_folder(&git, &split.folder, &split.named, code).await?;
            self.check_out_folder(&git, &tree, code).await?;
            fs::remove_dir_all(code.join(".git")).map_err(FetchError::Workspace)?;
        }
        self.close(code, started).await;
        Ok(())
    }

    /// Shows what has come, and how long it took since `started`.
    async fn close(&self, code: &Path, started: Instant) {
        let (folder, stop) = (code.to_owned(), self.jobs.stop.clone());
        let size = self.jobs.spawn_blocking(move || disk::used(&folder, &stop)).await.unwrap_or_default();
        self.reporter.line(&format!("Fetched {} in {}", bytes(size), seconds(started.elapsed())));
    }

    /// Finds the repository and prepares git for it.
    async fn open(&self, what: &str) -> Result<(Git<'_>, Found), FetchError> {
        let path = self.repo.path();
        self.reporter.line(&format!("Fetching {}{path} at {what}", host_of(self.repo)));
        let found = probe::find(self.repo, &self.web).await?;
        fs::create_dir(self.staging.join("home")).map_err(FetchError::Workspace)?;
        let git = Git::new(
            &found.url,
            self.staging,
            found.pinned.clone(),
            self.auth,
            self.web.limits,
            self.reporter,
            self.jobs,
        );
        let version = git.output("tell its version", self.staging, &["version"], 4096).await?;
        check_version(&String::from_utf8_lossy(&version))?;
        Ok((git, found))
    }

    async fn list(&self, git: &Git<'_>, found: &Found) -> Result<RemoteRefs, GitError> {
        let args = ["ls-remote", "--heads", "--tags", found.url.as_str()];
        let listing = git.output("list the repository's references", self.staging, &args, MAX_LISTING).await?;
        Ok(RemoteRefs::parse(&listing))
    }

    /// Completes an abbreviated commit id: a tip if one matches, else by fetching all commits without their files.
    async fn expand(
        &self,
        git: &Git<'_>,
        found: &Found,
        refs: &RemoteRefs,
        wanted: Reference,
    ) -> Result<Reference, GitError> {
        let Reference::Abbreviated(digits) = wanted else { return Ok(wanted) };
        if let Some(id) = refs.tip(&digits) {
            return Ok(Reference::Commit(id));
        }
        let history = self.staging.join("history");
        let name = history.display().to_string();
        git.quiet("make a repository", self.staging, &["init", "-q", "--bare", &name], None).await?;
        git.quiet("make a repository", &history, &["remote", "add", "origin", found.url.as_str()], None).await?;
        let all = [
            "fetch",
            "--progress",
            "--filter=tree:0",
            "origin",
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        git.quiet("fetch the repository's history", &history, &all, Some(self.watch_objects(&history))).await?;
        let ids = git
            .output("look for the commit", &history, &["rev-parse", &format!("--disambiguate={digits}")], 64 * 1024)
            .await?;
        let ids = String::from_utf8_lossy(&ids).into_owned();
        let mut ids = ids.lines();
        let found = match (ids.next(), ids.next()) {
            (Some(id), None) if refs::is_id(id) => Ok(Reference::Commit(id.to_owned())),
            (Some(_), Some(_)) => Err(GitError::Ambiguous(host_of(self.repo), digits)),
            _ => Err(self.no_reference(&digits)),
        };
        // Its objects would count twice otherwise.
        let _ = fs::remove_dir_all(&history);
        found
    }

    /// Fetches one commit into a new repository at `code`, with or without the files in it.
    async fn fetch(
        &self,
        git: &Git<'_>,
        found: &Found,
        wanted: &Reference,
        named: &str,
        bare: bool,
        code: &Path,
    ) -> Result<(), GitError> {
        let name = code.display().to_string();
        git.quiet("make a repository", self.staging, &["init", "-q", &name], None).await?;
        git.quiet("make a repository", code, &["remote", "add", "origin", found.url.as_str()], None).await?;
        let refspec = match wanted {
            Reference::Default => "HEAD".to_owned(),
            Reference::Named(full) => match full.strip_prefix("refs/heads/") {
                Some(short) => format!("+{full}:refs/remotes/origin/{short}"),
                None => full.clone(),
            },
            Reference::Commit(id) | Reference::Abbreviated(id) => id.clone(),
        };
        let mut args = vec!["fetch", "--progress", "--depth=1"];
        args.extend(bare.then_some("--filter=blob:none"));
        args.extend(["origin", refspec.as_str()]);
        let watch = self.watch_objects(code);
        git.quiet("fetch the repository", code, &args, Some(watch)).await.map_err(|error| match (error, wanted) {
            (GitError::Failed { said, .. }, Reference::Default) if said.contains("find remote ref HEAD") => {
                GitError::NoCommits(host_of(self.repo))
            }
            (GitError::Failed { said, .. }, _) if said.contains("find remote ref") || said.contains("not our ref") => {
                self.no_reference(named)
            }
            (error, _) => error,
        })
    }

    async fn check_out_whole(
        &self,
        git: &Git<'_>,
        found: &Found,
        wanted: &Reference,
        named: &str,
        code: &Path,
    ) -> Result<(), GitError> {
        // A default branch with a name is fetched as that branch, so that it is checked out as one.
        let branch = match wanted {
            Reference::Default => found.default_branch.clone(),
            Reference::Named(full) => full.strip_prefix("refs/heads/").map(str::to_owned),
            _ => None,
        };
        let wanted = match &branch {
            Some(branch) => &Reference::Named(format!("refs/heads/{branch}")),
            None => wanted,
        };
        self.fetch(git, found, wanted, named, false, code).await?;
        self.count(git, "FETCH_HEAD", true, code).await?;
        // git makes no local branch of such names.
        let local = branch.filter(|branch| !branch.starts_with('-') && branch != "HEAD");
        let remote = local.as_ref().map(|branch| format!("refs/remotes/origin/{branch}"));
        let args = match (&local, &remote) {
            (Some(local), Some(remote)) => vec!["checkout", "--progress", "-q", "-B", local, remote],
            _ => vec!["checkout", "--progress", "-q", "--detach", "FETCH_HEAD"],
        };
        git.quiet("check out the repository", code, &args, Some(self.watch_files(code))).await
    }

    async fn check_out_folder(&self, git: &Git<'_>, tree: &str, code: &Path) -> Result<(), GitError> {
        self.count(git, tree, false, code).await?;
        // In an empty index this writes just that tree, at the top; its blobs are fetched now, in one go.
        let args = ["read-tree", "-m", "-u", "-v", tree];
        git.quiet("check out the folder", code, &args, Some(self.watch_files(code))).await
    }

    /// The id of the folder's tree.
    async fn find_folder(&self, git: &Git<'_>, folder: &str, named: &str, code: &Path) -> Result<String, GitError> {
        let (shown, reference) = (quoted(folder.as_bytes()), quoted(named.as_bytes()));
        let args = ["ls-tree", "-z", "FETCH_HEAD", "--", folder];
        let entry = git.output("look for the folder", code, &args, 64 * 1024).await?;
        let entry = String::from_utf8_lossy(&entry).into_owned();
        let mut words = entry.split(['\t', '\0']).next().unwrap_or_default().split(' ');
        match (words.next(), words.next(), words.next()) {
            (_, Some("tree"), Some(id)) if refs::is_id(id) => Ok(id.to_owned()),
            (_, Some(_), _) => Err(GitError::NotAFolder { folder: shown, reference }),
            _ => Err(GitError::NoFolder { folder: shown, reference }),
        }
    }

    /// Counts what a checkout would write, before it does: a few trees that contain each other many times make
    /// billions of files. `sizes` where the blobs are here.
    async fn count(&self, git: &Git<'_>, tree: &str, sizes: bool, code: &Path) -> Result<(), GitError> {
        let limits = self.web.limits;
        let mut args = vec!["ls-tree", "-r", "-t", "-z"];
        args.extend(sizes.then_some("--long"));
        args.push(tree);
        let (mut entries, mut bytes, mut record) = (0_u64, 0_u64, Vec::new());
        let mut sink = |block: &[u8]| {
            for byte in block {
                if *byte != 0 {
                    record.push(*byte);
                    continue;
                }
                entries += 1;
                bytes = bytes.saturating_add(size_of_record(&record));
                record.clear();
            }
            if entries > limits.entries {
                return Err(GitError::TooMany(limits.entries));
            }
            if bytes > limits.extracted_bytes { Err(GitError::TooLarge(limits.extracted_bytes)) } else { Ok(()) }
        };
        git.run("list the repository's files", code, &args, None, &mut sink).await
    }

    fn watch_objects<'p>(&self, folder: &'p Path) -> Watch<'p> {
        let limit = self.web.limits.download_bytes;
        Watch { folder, max_bytes: limit, above: GitError::DownloadTooLarge, limit }
    }

    /// Objects are in the same folder, and bounded already.
    fn watch_files<'p>(&self, folder: &'p Path) -> Watch<'p> {
        let limit = self.web.limits.extracted_bytes;
        Watch {
            folder,
            max_bytes: limit.saturating_add(self.web.limits.download_bytes),
            above: GitError::TooLarge,
            limit,
        }
    }

    fn no_reference(&self, text: &str) -> GitError {
        GitError::NoReference(host_of(self.repo), quoted(text.as_bytes()))
    }
}

/// The size in a record of `ls-tree --long`: `MODE TYPE ID SIZE TAB PATH`.
fn size_of_record(record: &[u8]) -> u64 {
    let head = record.split(|byte| *byte == b'\t').next().unwrap_or_default();
    let size = std::str::from_utf8(head).ok().and_then(|head| head.split_whitespace().nth(3));
    size.and_then(|size| size.parse().ok()).unwrap_or(0)
}

fn check_version(text: &str) -> Result<(), GitError> {
    let number = text.trim().strip_prefix("git version ").unwrap_or(text.trim());
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= OLDEST { Ok(()) } else { Err(GitError::TooOld(super::report::shown(number, 40))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_that_would_not_pin_the_address_is_refused() {
        for (text, new_enough) in [
            ("git version 2.39.5\n", true),
            ("git version 2.37.1 (Apple Git-137.1)", true),
            ("git version 3.0.0", true),
            ("git version 2.30.2", false),
            ("nonsense", false),
        ] {
            assert_eq!(check_version(text).is_ok(), new_enough, "{text}");
        }
    }

    #[test]
    fn a_listed_file_has_its_size() {
        assert_eq!(size_of_record(b"100644 blob 0123 \x20 1234\ta b"), 1234);
        assert_eq!(size_of_record(b"040000 tree 0123       -\tx"), 0);
        assert_eq!(size_of_record(b"040000 tree 0123\tx 7"), 0);
    }
}
