//! tar.gz, unpacked while it downloads.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::budget::Budget;
use super::extract::Extractor;
use super::fault::ArchiveError;
use super::name::EntryName;
use super::stream::ChunkReader;
use crate::fetch::report::shown;

/// Bytes between the end of one entry's content and the start of the next: padding, long names, pax records.
/// The tar reader keeps those in memory, so this bounds it.
const MAX_BETWEEN: u64 = 1024 * 1024;

/// `metered` bounds what comes out of gzip, which is more than the files: headers, names, what follows the end.
pub(super) fn unpack(reader: ChunkReader, mut out: Extractor, metered: Budget) -> Result<PathBuf, ArchiveError> {
    let state = Rc::new(MeterState {
        taken: reader.taken(),
        budget: RefCell::new(metered),
        between: Cell::new(None),
        fault: RefCell::new(None),
    });
    let mut archive = Archive::new(Meter { inner: MultiGzDecoder::new(reader), state: state.clone() });
    let mut entries = archive.entries().map_err(|error| state.fault(error))?;
    loop {
        state.between.set(Some(0));
        let next = entries.next();
        state.between.set(None);
        match next {
            None => break,
            Some(entry) => unpack_entry(&mut entry.map_err(|error| state.fault(error))?, &mut out, &state)?,
        }
    }
    // What follows the end mark is read too: the checksum covers it, and gzip's own is behind it.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| state.fault(error))?;
    out.finish()
}

fn unpack_entry(entry: &mut Entry<'_, Meter>, out: &mut Extractor, state: &MeterState) -> Result<(), ArchiveError> {
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(());
    }
    let raw = entry.path_bytes().into_owned();
    let name = EntryName::parse(&raw, &out.budget.limits)?;
    let mode = entry.header().mode().unwrap_or(0o644);
    let special = |what| Err(ArchiveError::Special(name.quoted(), what));
    match kind {
        EntryType::Directory => out.folder(&name, mode),
        // Before POSIX, a folder was a file whose name ends with a slash.
        EntryType::Regular if raw.ends_with(b"/") => out.folder(&name, mode),
        EntryType::Regular | EntryType::Continuous => {
            if is_sparse(entry).map_err(|error| state.fault(error))? {
                return special("sparse file");
            }
            let size = entry.size();
            let written = out.file(&name, mode, entry, &|| state.taken.get(), &|error| state.fault(error))?;
            if written == size { Ok(()) } else { Err(ArchiveError::Truncated) }
        }
        EntryType::Symlink => out.symlink(&name, &entry.link_name_bytes().unwrap_or_default()),
        EntryType::Link => {
            let target = EntryName::parse(&entry.link_name_bytes().unwrap_or_default(), &out.budget.limits)?;
            out.hard_link(&name, &target)
        }
        EntryType::Char | EntryType::Block => special("device"),
        EntryType::Fifo => special("named pipe"),
        EntryType::GNUSparse => special("sparse file"),
        _ => special("file of an unknown kind"),
    }
}

/// Sparse files in pax form pass as regular ones, with a map in front of their content.
fn is_sparse(entry: &mut Entry<'_, Meter>) -> io::Result<bool> {
    let Some(records) = entry.pax_extensions()? else { return Ok(false) };
    for record in records {
        if record?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Counts what comes out of gzip, and remembers why it stopped: the tar reader sees an [`io::Error`] only.
struct Meter {
    inner: MultiGzDecoder<ChunkReader>,
    state: Rc<MeterState>,
}

struct MeterState {
    taken: Rc<Cell<u64>>,
    budget: RefCell<Budget>,
    /// Bytes read since the last entry's content, while the next one is looked for.
    between: Cell<Option<u64>>,
    fault: RefCell<Option<ArchiveError>>,
}

impl Read for Meter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let spent = self.state.spend(count as u64);
        spent.map_err(|error| {
            self.state.fault.replace(Some(error));
            io::Error::from(ErrorKind::Other)
        })?;
        Ok(count)
    }
}

impl MeterState {
    fn spend(&self, count: u64) -> Result<(), ArchiveError> {
        self.budget.borrow_mut().spend_bytes(count, Some(self.taken.get()))?;
        if let Some(between) = self.between.get() {
            self.between.set(Some(between + count));
            if between + count > MAX_BETWEEN {
                return Err(ArchiveError::Damaged("an entry's header is larger than 1 MiB".into()));
            }
        }
        Ok(())
    }

    fn fault(&self, error: io::Error) -> ArchiveError {
        if let Some(fault) = self.fault.take() {
            return fault;
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => ArchiveError::Truncated,
            ErrorKind::ConnectionAborted => ArchiveError::Stopped,
            _ => ArchiveError::Damaged(shown(&error.to_string(), 120)),
        }
    }
}
