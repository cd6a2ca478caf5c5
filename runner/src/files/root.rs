//! The folder that files are reached from, by its descriptor, and the walk below it.
//!
//! Every step opens one name in a folder that is open, and no link (`O_NOFOLLOW`). That holds whoever exchanges what
//! meanwhile, on every system, and where a sandbox's kernel has no `openat2`.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::path::FilePath;
use super::refusal::Refusal;

/// New folders; less what the process's umask takes away, as with those that the command makes.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

pub struct Root(OwnedFd);

impl Root {
    pub fn new(folder: OwnedFd) -> Self {
        Self(folder)
    }

    /// A plain file, open, and its size.
    pub fn open_file(&self, path: &FilePath) -> Result<(File, u64), Refusal> {
        let folder = self.enter(&path.folders, false)?;
        let kind = kind(&stat(&folder, &path.name)?);
        if kind != FileType::RegularFile {
            return Err(Refusal::not_a_file(named(kind)));
        }
        open_plain(&folder, &path.name)?.ok_or_else(|| Refusal::not_a_file("something else than a file"))
    }

    /// The folder that `path` lies in, with all before it; `None` of its name when nothing has it.
    pub fn enter_for_upload(&self, path: &FilePath) -> Result<(OwnedFd, Option<Stat>), Refusal> {
        let folder = self.enter(&path.folders, true)?;
        let found = match stat(&folder, &path.name) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        match found.as_ref().map(kind) {
            None | Some(FileType::RegularFile) => Ok((folder, found)),
            Some(other) => Err(Refusal::not_a_file(named(other))),
        }
    }

    pub fn folder(&self) -> Result<OwnedFd, Errno> {
        open_folder(&self.0, c".")
    }

    fn enter(&self, folders: &[std::ffi::OsString], make: bool) -> Result<OwnedFd, Errno> {
        let mut folder = self.folder()?;
        for name in folders {
            folder = match open_folder(&folder, name.as_os_str()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&folder, name.as_os_str(), FOLDER_MODE) {
                        // Somebody was faster.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    open_folder(&folder, name.as_os_str())?
                }
                opened => opened?,
            };
        }
        Ok(folder)
    }
}

/// A folder in `folder`; a link to one is none.
pub fn open_folder(folder: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// A plain file in `folder` and its size; `None` when another thing has taken its place. To be asked only of what was a
/// plain file just now, since opening a device can do something.
pub fn open_plain(folder: impl AsFd, name: impl rustix::path::Arg) -> Result<Option<(File, u64)>, Errno> {
    // A pipe would have this wait for whoever writes to it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        opened => opened?,
    };
    let found = rustix::fs::fstat(&file)?;
    let size = u64::try_from(found.st_size).unwrap_or(0);
    Ok((kind(&found) == FileType::RegularFile).then(|| (File::from(file), size)))
}

pub fn stat(folder: impl AsFd, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// Removes a name that is of no more use; that it may be gone already is no matter.
pub fn remove(folder: impl AsFd, name: &CStr) {
    if let Err(errno) = rustix::fs::unlinkat(folder, name, AtFlags::empty())
        && errno != Errno::NOENT
    {
        tracing::warn!(%errno, "an unfinished upload could not be removed");
    }
}

fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else than a file",
    }
}
