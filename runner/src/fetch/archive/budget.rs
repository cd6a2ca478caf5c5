//! What has been spent of the limits while files are written.

use super::fault::ArchiveError;
use crate::fetch::jobs::Stop;
use crate::fetch::limits::FetchLimits;

pub(in crate::fetch) struct Budget {
    pub(in crate::fetch) limits: FetchLimits,
    stop: Stop,
    bytes: u64,
    entries: u64,
}

impl Budget {
    pub(in crate::fetch) fn new(limits: FetchLimits, stop: Stop) -> Self {
        Self { limits, stop, bytes: 0, entries: 0 }
    }

    /// One more file, folder or link.
    pub(in crate::fetch) fn spend_entry(&mut self) -> Result<(), ArchiveError> {
        self.check_stop()?;
        self.entries += 1;
        if self.entries > self.limits.entries { Err(ArchiveError::TooMany(self.limits.entries)) } else { Ok(()) }
    }

    /// `count` more bytes. `source` is the number of compressed bytes that all came from so far, if compressed.
    pub(in crate::fetch) fn spend_bytes(&mut self, count: u64, source: Option<u64>) -> Result<(), ArchiveError> {
        self.check_stop()?;
        self.bytes = self.bytes.saturating_add(count);
        let limits = &self.limits;
        if self.bytes > limits.extracted_bytes {
            return Err(ArchiveError::TooLarge(limits.extracted_bytes));
        }
        let expands = |source: u64| self.bytes > source.saturating_mul(limits.ratio);
        if self.bytes > limits.ratio_from && source.is_some_and(expands) {
            return Err(ArchiveError::Ratio(limits.ratio));
        }
        Ok(())
    }

    pub(in crate::fetch) fn check_stop(&self) -> Result<(), ArchiveError> {
        if self.stop.is_set() { Err(ArchiveError::Stopped) } else { Ok(()) }
    }

    pub(in crate::fetch) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(in crate::fetch) fn entries(&self) -> u64 {
        self.entries
    }
}
