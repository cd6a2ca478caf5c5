//! zip: its directory is at the end, so it is stored first, in a file without a name.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::read::{Config, ZipFile, ZipReadOptions};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use super::extract::Extractor;
use super::fault::ArchiveError;
use super::name::EntryName;
use super::stream::ChunkReader;
use crate::fetch::report::shown;

/// The kind bits of a Unix mode, and the kinds that a zip may hold.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
/// Bytes of a symbolic link's target; longer ones are refused by name.
const MAX_TARGET: u64 = 4096;

/// `volume` is the folder whose volume holds the stored archive.
pub(super) fn unpack(mut reader: ChunkReader, mut out: Extractor, volume: &Path) -> Result<PathBuf, ArchiveError> {
    let (file, size) = store(&mut reader, &out, volume)?;
    let bodies = file.try_clone().map_err(ArchiveError::Disk)?;
    // Entries are read from the directory one by one: a directory of millions costs no memory.
    let mut archive = ZipIterable::try_new(BufReader::new(file), Config::default()).map_err(fault)?;
    if archive.len() as u64 > out.budget.limits.entries {
        return Err(ArchiveError::TooMany(out.budget.limits.entries));
    }
    let mut entries = archive.files_with_reader(BufReader::new(bodies), ZipReadOptions::new()).map_err(fault)?;
    while let Some(entry) = entries.next() {
        unpack_entry(&mut entry.map_err(fault)?, &mut out, size)?;
    }
    out.finish()
}

fn store(reader: &mut ChunkReader, out: &Extractor, volume: &Path) -> Result<(File, u64), ArchiveError> {
    let mut file = tempfile::tempfile_in(volume).map_err(ArchiveError::Disk)?;
    let mut block = vec![0; 64 * 1024];
    loop {
        out.budget.check_stop()?;
        // The channel's reader fails only when the download does, whose own error is the one that is reported.
        let count = reader.read(&mut block).map_err(|_| ArchiveError::Stopped)?;
        if count == 0 {
            break;
        }
        file.write_all(&block[..count]).map_err(ArchiveError::Disk)?;
    }
    let size = file.stream_position().map_err(ArchiveError::Disk)?;
    Ok((file, size))
}

fn unpack_entry<R: Read>(entry: &mut ZipFile<'_, R>, out: &mut Extractor, size: u64) -> Result<(), ArchiveError> {
    let raw = match entry.name() {
        Ok(name) => name.into_owned().into_bytes(),
        Err(_) => entry.name_raw().to_vec(),
    };
    let name = EntryName::parse(&raw, &out.budget.limits)?;
    let mode = entry.unix_mode().unwrap_or(0);
    let kind = mode & KIND;
    if raw.ends_with(b"/") || kind == FOLDER {
        return out.folder(&name, if mode & 0o777 == 0 { 0o755 } else { mode });
    }
    match kind {
        0 | REGULAR => {
            let mode = if mode & 0o777 == 0 { 0o644 } else { mode };
            // Judged by the whole archive's size: entries may overlap and lie about their own.
            out.file(&name, mode, entry, &|| size, &io_fault).map(drop)
        }
        SYMLINK => {
            let mut target = Vec::new();
            entry.take(MAX_TARGET).read_to_end(&mut target).map_err(io_fault)?;
            out.symlink(&name, &target)
        }
        _ => Err(ArchiveError::Special(name.quoted(), "device, pipe or socket")),
    }
}

fn fault(error: ZipError) -> ArchiveError {
    match error {
        ZipError::Io(error) => io_fault(error),
        ZipError::UnsupportedArchive(what) if what == ZipError::PASSWORD_REQUIRED => {
            ArchiveError::Unsupported("encryption".into())
        }
        ZipError::UnsupportedArchive(what) => ArchiveError::Unsupported(what.to_owned()),
        ZipError::CompressionMethodNotSupported(number) => {
            ArchiveError::Unsupported(format!("compression method {number}"))
        }
        error => ArchiveError::Damaged(shown(&error.to_string(), 120)),
    }
}

fn io_fault(error: io::Error) -> ArchiveError {
    match error.kind() {
        ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        _ => ArchiveError::Damaged(shown(&error.to_string(), 120)),
    }
}
