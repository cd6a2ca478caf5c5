//! `GET /files.tar.gz`: everything below the root, packed as it is read. Links are links; pipes, sockets, devices, what the
//! session's user cannot read and uploads that are under way are left out.
//!
//! The tree is counted first, so that one that is too large is refused rather than cut off. It may change meanwhile: a
//! file is as long as it was when it was opened, whatever becomes of it, and what is gone is left out.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;
use session::ProblemType;
use tar::{EntryType, Header};
use tokio::runtime::Handle;

use super::refusal::Refusal;
use super::root::{self, Root, kind};
use super::routes::{Transfer, blocking};
use super::sending::{self, Writer};
use super::upload::UNFINISHED;
use super::{BLOCK, MAX_DEPTH, MAX_DOWNLOAD, MAX_ENTRIES};

/// An entry's own header, about.
const ENTRY_BYTES: u64 = 512;

pub async fn send_archive(transfer: Transfer) -> Result<Response, Refusal> {
    let root = Arc::clone(&transfer.root);
    blocking(move || Ok(walk(&root, &mut Budget::default())?)).await?;
    let (outlet, body) = sending::body(transfer.place);
    let writer = Writer::new(outlet, Handle::current());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = pack(&transfer.root, writer) {
            tracing::debug!(%error, "an archive was cut short");
        }
    });
    Ok(body.into_response())
}

/// Why a tree is not packed to its end.
#[derive(Debug, thiserror::Error)]
enum PackError {
    #[error("{0}")]
    TooLarge(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for PackError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<PackError> for Refusal {
    fn from(error: PackError) -> Self {
        match error {
            PackError::TooLarge(detail) => Self::new(ProblemType::PayloadTooLarge, detail),
            PackError::Io(error) => error.into(),
        }
    }
}

/// What is done with each entry of the tree. `path` is relative to the root.
trait Visit {
    fn visit(&mut self, folder: &OwnedFd, path: &Path, found: &Stat) -> Result<(), PackError>;
}

/// What an archive may still have.
struct Budget {
    bytes: u64,
    entries: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: MAX_DOWNLOAD, entries: MAX_ENTRIES }
    }
}

impl Budget {
    fn spend(&mut self, bytes: u64) -> Result<(), PackError> {
        let left = self.entries.checked_sub(1).zip(self.bytes.checked_sub(bytes.saturating_add(ENTRY_BYTES)));
        let Some((entries, bytes)) = left else {
            let detail =
                format!("the folder has more than {MAX_ENTRIES} files or {MAX_DOWNLOAD} bytes; get single files");
            return Err(PackError::TooLarge(detail));
        };
        *self = Self { bytes, entries };
        Ok(())
    }
}

impl Visit for Budget {
    fn visit(&mut self, _: &OwnedFd, _: &Path, found: &Stat) -> Result<(), PackError> {
        let size = if kind(found) == FileType::RegularFile { found.st_size } else { 0 };
        self.spend(u64::try_from(size).unwrap_or(0))
    }
}

struct Packer<W: Write> {
    tar: tar::Builder<W>,
    budget: Budget,
}

fn pack(root: &Root, writer: Writer) -> Result<(), PackError> {
    let gzip = GzEncoder::new(writer, Compression::fast());
    let blocks = io::BufWriter::with_capacity(BLOCK, gzip);
    let mut packer = Packer { tar: tar::Builder::new(blocks), budget: Budget::default() };
    walk(root, &mut packer)?;
    let gzip = packer.tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    gzip.finish()?.finish();
    Ok(())
}

fn walk(root: &Root, visit: &mut impl Visit) -> Result<(), PackError> {
    walk_folder(&root.folder()?, &PathBuf::new(), 0, visit)
}

fn walk_folder(folder: &OwnedFd, below: &Path, depth: usize, visit: &mut impl Visit) -> Result<(), PackError> {
    if depth > MAX_DEPTH {
        return Err(PackError::TooLarge(format!("the folder is more than {MAX_DEPTH} folders deep")));
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if matches!(name.as_bytes(), b"." | b"..") || name.as_bytes().starts_with(UNFINISHED.as_bytes()) {
            continue;
        }
        let path = below.join(name);
        let Some(found) = unless_gone(root::stat(folder, name))? else { continue };
        visit.visit(folder, &path, &found)?;
        if kind(&found) == FileType::Directory
            && let Some(inner) = unless_gone(root::open_folder(folder, name))?
        {
            walk_folder(&inner, &path, depth + 1, visit)?;
        }
    }
    Ok(())
}

/// `None`: it is gone, or another thing, or not for this user.
fn unless_gone<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::INVAL) => Ok(None),
        other => other.map(Some),
    }
}

impl<W: Write> Visit for Packer<W> {
    fn visit(&mut self, folder: &OwnedFd, path: &Path, found: &Stat) -> Result<(), PackError> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let mut header = header(found);
        match kind(found) {
            FileType::Directory => {
                self.budget.spend(0)?;
                header.set_entry_type(EntryType::Directory);
                self.tar.append_data(&mut header, path, io::empty())?;
            }
            FileType::Symlink => {
                let Some(target) = unless_gone(rustix::fs::readlinkat(folder, name, Vec::new()))? else {
                    return Ok(());
                };
                self.budget.spend(0)?;
                header.set_entry_type(EntryType::Symlink);
                self.tar.append_link(&mut header, path, OsStr::from_bytes(target.to_bytes()))?;
            }
            FileType::RegularFile => {
                let Some(Some((file, size))) = unless_gone(root::open_plain(folder, name))? else { return Ok(()) };
                self.budget.spend(size)?;
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                // The header has said how long it is: one that became shorter meanwhile is filled up.
                self.tar.append_data(&mut header, path, file.chain(io::repeat(0)).take(size))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whom it belongs to is of no use elsewhere, and left out.
fn header(found: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(found.st_mode & 0o777);
    header.set_mtime(u64::try_from(found.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}
