//! What a runner has on disk, and its removal.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use session::RunnerId;

use super::ProcessLauncherConfig;

/// A file that something still writes to its folder makes removal fail; that soon ends.
const ATTEMPTS: usize = 3;
const NOTE: &str = "process";

#[derive(Debug, Clone)]
pub(super) struct RunnerFiles {
    pub workspace: PathBuf,
    pub log: PathBuf,
    note: PathBuf,
}

impl RunnerFiles {
    pub fn of(config: &ProcessLauncherConfig, runner: RunnerId) -> Self {
        Self {
            workspace: config.work_dir.join(runner.to_string()),
            log: config.log_dir.join(format!("runner-{runner}.log")),
            note: config.work_dir.join(format!("{runner}.{NOTE}")),
        }
    }

    /// The handle that was noted.
    pub fn note(&self) -> Option<String> {
        fs::read_to_string(&self.note).ok()
    }

    /// Written beside and renamed, so that a crash leaves a whole note or none.
    pub fn write_note(&self, handle: &str) -> io::Result<()> {
        let new = self.note.with_extension("new");
        fs::write(&new, handle)?;
        fs::rename(&new, &self.note)
    }

    pub fn exist(&self) -> bool {
        self.workspace.exists() || self.note.exists()
    }

    /// Removes everything, or with `keep` the note alone. What cannot be removed is logged: it costs space, nothing
    /// else.
    pub async fn remove(self, keep: bool) {
        let removed = tokio::task::spawn_blocking(move || {
            if !keep {
                if let Err(error) = remove_folder(&self.workspace) {
                    tracing::warn!(path = %self.workspace.display(), %error, "a workspace could not be removed");
                }
                forget(&self.log);
            }
            forget(&self.note);
        });
        if removed.await.is_err() {
            tracing::error!("the removal of a workspace panicked");
        }
    }
}

/// The runners that have a note.
pub(super) fn noted(work_dir: &Path) -> Vec<RunnerId> {
    let names = fs::read_dir(work_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    names
        .filter(|path| path.extension().is_some_and(|extension| extension == NOTE))
        .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
        .collect()
}

fn forget(file: &Path) {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %file.display(), %error, "a file could not be removed");
        }
        _ => {}
    }
}

/// Removes a folder, whatever permissions the folders in it were given. Links are removed, never followed.
fn remove_folder(path: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        last = match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => return Ok(()),
        };
        open_folders(path);
    }
    last
}

/// Lets us into every folder below `path`.
fn open_folders(path: &Path) {
    let mut waiting = vec![path.to_owned()];
    while let Some(folder) = waiting.pop() {
        // A failure shows when removing.
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        waiting.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_whatever_its_permissions_and_what_its_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        let workspace = dir.path().join("workspace");
        let closed = workspace.join("a/closed");
        fs::create_dir_all(closed.join("deep")).unwrap();
        fs::write(closed.join("deep/file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, closed.join("link")).unwrap();
        for (folder, mode) in [(closed.join("deep"), 0o000), (closed.clone(), 0o000), (workspace.join("a"), 0o500)] {
            fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        }
        remove_folder(&workspace).unwrap();
        assert!(!workspace.exists());
        assert!(kept.join("file").exists());
        remove_folder(&workspace).unwrap();
    }
}
