//! A folder on this machine, in local mode: copied, or used where it is.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::archive::budget::Budget;
use super::archive::fault::ArchiveError;
use super::limits::bytes;
use super::report::quoted;

/// Bytes between two looks at whether to stop; large, since the kernel copies within itself.
const BLOCK: u64 = 8 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("folders on this machine are served in local mode only")]
    NotLocal,
    #[error("there is no folder {0}")]
    Missing(String),
    #[error("{0} is not a folder")]
    NotAFolder(String),
    #[error("{0} could not be copied ({kind})", kind = .1.kind())]
    Copy(String, #[source] io::Error),
    #[error("the folder cannot be copied: {0}")]
    Limit(#[source] ArchiveError),
}

/// The folder itself, links resolved.
pub(super) fn locate(path: &Path) -> Result<PathBuf, FolderError> {
    let name = || quoted(path.as_os_str().as_encoded_bytes());
    let found = fs::canonicalize(path).map_err(|_| FolderError::Missing(name()))?;
    if found.is_dir() { Ok(found) } else { Err(FolderError::NotAFolder(name())) }
}

/// Copies everything in `from` into the new folder `to`, links as links, `.git` and dependencies included, sockets,
/// pipes and devices left out. `workspace` is passed over where it lies inside `from`. Answers a closing line.
pub(super) fn copy(from: &Path, to: &Path, workspace: &Path, budget: Budget) -> Result<String, FolderError> {
    let own = fs::metadata(workspace).map_err(|error| failed(workspace, error))?;
    let mut copier = Copier { own: (own.dev(), own.ino()), budget, left_out: 0 };
    copier.folder(from, to, &fs::metadata(from).map_err(|error| failed(from, error))?)?;
    let mut text = format!("Copied {} files and folders, {}", copier.budget.entries(), bytes(copier.budget.bytes()));
    if copier.left_out > 0 {
        text.push_str(&format!(" (left out {} sockets, pipes and devices)", copier.left_out));
    }
    Ok(text)
}

struct Copier {
    /// Device and inode of the workspace: a folder that holds it must not be copied into itself.
    own: (u64, u64),
    budget: Budget,
    left_out: u64,
}

impl Copier {
    fn folder(&mut self, from: &Path, to: &Path, meta: &Metadata) -> Result<(), FolderError> {
        fs::create_dir(to).map_err(|error| failed(to, error))?;
        for entry in fs::read_dir(from).map_err(|error| failed(from, error))? {
            let entry = entry.map_err(|error| failed(from, error))?;
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            let meta = match fs::symlink_metadata(&path) {
                Ok(meta) => meta,
                // Whoever works in the folder goes on working.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            let kind = meta.file_type();
            if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
                self.left_out += 1;
                continue;
            }
            if (meta.dev(), meta.ino()) == self.own {
                continue;
            }
            self.budget.spend_entry().map_err(FolderError::Limit)?;
            if kind.is_dir() {
                self.folder(&path, &target, &meta)?;
            } else if kind.is_symlink() {
                let link = fs::read_link(&path).map_err(|error| failed(&path, error))?;
                symlink(link, &target).map_err(|error| failed(&path, error))?;
            } else {
                self.file(&path, &target, &meta)?;
            }
        }
        // Last, and always ours to enter and to delete.
        fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o777 | 0o700)).map_err(|error| failed(to, error))
    }

    fn file(&mut self, from: &Path, to: &Path, meta: &Metadata) -> Result<(), FolderError> {
        let copying = |error| failed(from, error);
        // Not blocking, in case a pipe took the file's place meanwhile.
        let source = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
            .open(from)
            .map_err(copying)?;
        let mut target: File =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|error| failed(to, error))?;
        loop {
            let count = io::copy(&mut (&source).take(BLOCK), &mut target).map_err(copying)?;
            self.budget.spend_bytes(count, None).map_err(FolderError::Limit)?;
            if count == 0 {
                break;
            }
        }
        target.set_permissions(Permissions::from_mode(meta.mode() & 0o777 | 0o600)).map_err(copying)
    }
}

fn failed(path: &Path, error: io::Error) -> FolderError {
    FolderError::Copy(quoted(path.as_os_str().as_encoded_bytes()), error)
}
