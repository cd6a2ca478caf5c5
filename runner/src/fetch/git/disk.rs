//! How much a folder holds.

use std::fs;
use std::path::Path;

use crate::fetch::jobs::Stop;

/// Bytes of all files below `folder`. What vanishes meanwhile counts nothing.
pub(super) fn used(folder: &Path, stop: &Stop) -> u64 {
    let mut total = 0_u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            if stop.is_set() {
                return total;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                total = total.saturating_add(meta.len());
            }
        }
    }
    total
}
