//! Writes entries below one folder, and nowhere else.
//!
//! The folder is new, ours, and nothing else runs in it, so what was checked stays true. Invariant: every parent
//! of a written path is a real folder, made here; a folder is never replaced, so one that was seen stays one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::budget::Budget;
use super::fault::ArchiveError;
use super::name::EntryName;
use crate::fetch::report::quoted;

const BLOCK: usize = 64 * 1024;

pub(super) struct Extractor {
    root: PathBuf,
    pub(super) budget: Budget,
    folders: HashSet<PathBuf>,
    files: u64,
}

impl Extractor {
    /// `root` exists and is empty.
    pub(super) fn new(root: &Path, budget: Budget) -> Self {
        Self { root: root.to_owned(), budget, folders: HashSet::new(), files: 0 }
    }

    pub(super) fn folder(&mut self, name: &EntryName, mode: u32) -> Result<(), ArchiveError> {
        if name.path().as_os_str().is_empty() {
            return Ok(());
        }
        self.make_parents(name)?;
        if !self.folders.contains(name.path()) {
            self.clear(name, true)?;
            self.make_folder(name.path())?;
        }
        // Always ours to enter and to delete.
        fs::set_permissions(self.root.join(name.path()), permissions(mode | 0o700)).map_err(ArchiveError::Disk)
    }

    /// Writes a regular file. `fault` turns a reader's error into the archive's; `source` is as in
    /// [`Budget::spend_bytes`]. Answers the number of bytes.
    pub(super) fn file(
        &mut self,
        name: &EntryName,
        mode: u32,
        reader: &mut dyn Read,
        source: &dyn Fn() -> u64,
        fault: &dyn Fn(io::Error) -> ArchiveError,
    ) -> Result<u64, ArchiveError> {
        let path = self.place(name)?;
        // create_new is O_EXCL, which follows no link.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(ArchiveError::Disk)?;
        let mut block = vec![0; BLOCK];
        let mut written = 0;
        loop {
            let count = match reader.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(fault(error)),
            };
            self.budget.spend_bytes(count as u64, Some(source()))?;
            file.write_all(&block[..count]).map_err(ArchiveError::Disk)?;
            written += count as u64;
        }
        file.set_permissions(permissions(mode | 0o600)).map_err(ArchiveError::Disk)?;
        self.files += 1;
        Ok(written)
    }

    pub(super) fn symlink(&mut self, name: &EntryName, target: &[u8]) -> Result<(), ArchiveError> {
        name.check_link(target)?;
        let path = self.place(name)?;
        symlink(OsStr::from_bytes(target), path).map_err(ArchiveError::Disk)
    }

    /// A second name of a file that was already extracted.
    pub(super) fn hard_link(&mut self, name: &EntryName, target: &EntryName) -> Result<(), ArchiveError> {
        let refuse = || Err(ArchiveError::Link(name.quoted(), "is a hard link to what is no file extracted before"));
        let parent_is_real =
            target.path().parent().is_some_and(|parent| parent.as_os_str().is_empty() || self.folders.contains(parent));
        let from = self.root.join(target.path());
        if !parent_is_real || !fs::symlink_metadata(&from).is_ok_and(|meta| meta.is_file()) {
            return refuse();
        }
        if name == target {
            return Ok(());
        }
        let path = self.place(name)?;
        fs::hard_link(from, path).map_err(ArchiveError::Disk)?;
        self.files += 1;
        Ok(())
    }

    /// The folder that the command runs in: a single folder at the top is entered.
    pub(super) fn finish(self) -> Result<PathBuf, ArchiveError> {
        if self.files == 0 {
            return Err(ArchiveError::Empty);
        }
        let mut top = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(ArchiveError::Disk)? {
            let entry = entry.map_err(ArchiveError::Disk)?;
            // What macOS adds to a zip is no folder of the author's.
            if entry.file_name() != "__MACOSX" {
                top.push(entry);
            }
        }
        match top.as_slice() {
            [only] if only.file_type().is_ok_and(|kind| kind.is_dir()) => Ok(PathBuf::from(only.file_name())),
            _ => Ok(PathBuf::new()),
        }
    }

    /// Counts the entry and makes its place free: parents made, an earlier entry of that name removed.
    fn place(&mut self, name: &EntryName) -> Result<PathBuf, ArchiveError> {
        if name.path().as_os_str().is_empty() {
            return Err(ArchiveError::Name(quoted(b"."), "is no folder".into()));
        }
        self.budget.spend_entry()?;
        self.make_parents(name)?;
        self.clear(name, false)?;
        Ok(self.root.join(name.path()))
    }

    fn make_parents(&mut self, name: &EntryName) -> Result<(), ArchiveError> {
        let mut parents: Vec<&Path> =
            name.path().ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        parents.reverse();
        for parent in parents {
            if self.folders.contains(parent) {
                continue;
            }
            match fs::symlink_metadata(self.root.join(parent)) {
                // A file or a link; or, where names differ only by case for us but not for the disk, a folder.
                Ok(meta) if meta.is_dir() => drop(self.folders.insert(parent.to_owned())),
                Ok(_) => return Err(ArchiveError::Name(name.quoted(), "lies below a link or a file".into())),
                Err(error) if error.kind() == ErrorKind::NotFound => self.make_folder(parent)?,
                Err(error) => return Err(ArchiveError::Disk(error)),
            }
        }
        Ok(())
    }

    fn make_folder(&mut self, path: &Path) -> Result<(), ArchiveError> {
        self.budget.spend_entry()?;
        match fs::create_dir(self.root.join(path)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(ArchiveError::Disk(error)),
            _ => {}
        }
        self.folders.insert(path.to_owned());
        Ok(())
    }

    /// Removes what an earlier entry left at this name, never following it.
    fn clear(&self, name: &EntryName, folder_may_stay: bool) -> Result<(), ArchiveError> {
        let path = self.root.join(name.path());
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() && folder_may_stay => Ok(()),
            Ok(meta) if meta.is_dir() => Err(ArchiveError::Name(name.quoted(), "takes the place of a folder".into())),
            Ok(_) => fs::remove_file(path).map_err(ArchiveError::Disk),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(ArchiveError::Disk(error)),
        }
    }
}

/// The permission bits alone: no setuid, setgid or sticky bit.
fn permissions(mode: u32) -> Permissions {
    Permissions::from_mode(mode & 0o777)
}
