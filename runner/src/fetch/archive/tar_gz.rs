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
use crate::fetch::report::quoted;

/// Bytes between the end of one entry's content and the start of the next: padding, long names, pax records.
/// The tar reader keeps those in memory, so this bounds it.
const MAX_BETWEEN: u64 = 1024 * 1024;

pub(super) fn unpack(reader: ChunkReader, mut out: Extractor, meter_budget: Budget) -> Result<PathBuf, ArchiveError> {
    let taken = reader.taken();
    let meter = Meter {
        inner: MultiGzDecoder::new(reader),
        state: Rc::new(MeterState { taken: taken.clone(), budget: RefCell::new(meter_budget), between: Cell::new(Some(0)), fault: RefCell::new(None) }),
    };
    let state = meter.state.clone();
    let mut archive = Archive::new(meter);
    let mut entries = archive.entries().map_err(|error| state.fault(error))?;
    let mut any = false;
    loop {
        state.between.set(Some(0));
        let next = entries.next();
        state.between.set(None);
        let Some(entry) = next else { break };
        let mut entry = entry.map_err(|error| if any { state.fault(error) } else { state.first_fault(error) })?;
        any = true;
        unpack_entry(&mut entry, &mut out, &state)?;
    }
    drop(entries);
    // What follows the end mark is read too: the checksum covers it, and gzip's own is behind it.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| state.fault(error))?;
    out.finish()
}

fn unpack_entry(entry: &mut Entry<'_, Archive<Meter>>, out: &mut Extractor, state: &MeterState) -> Result<(), ArchiveError>
where
{
    let _ = (entry, out, state);
    unreachable!()
}
