//! The session's files, for operators: one is sent or taken, or all of them are packed, while the session runs and
//! while its runner lingers.
//!
//! The root is the folder that the command runs in. No path leads out of it: paths are walked name by name from the
//! root's own descriptor, never through a link and never upwards, so that whatever is moved or exchanged meanwhile, only
//! what lies in the folder at that moment is reached. Only plain files are read, and an upload replaces a name, never
//! what a name leads to. What the session's own user cannot reach, this cannot either.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

mod archive;
mod download;
mod path;
mod refusal;
mod root;
mod routes;
mod sending;
mod upload;

pub use routes::routes;

use root::Root;

const MIB: u64 = 1024 * 1024;

/// At once, of the one session. Each costs a descriptor or a few, and under a megabyte.
const MAX_TRANSFERS: usize = 4;
/// One upload; as much as code that is downloaded may have. Pods have 4 GiB of disk unless told otherwise, and one that
/// uses more is evicted.
const MAX_UPLOAD: u64 = 512 * MIB;
/// Sent at once of one file, and packed of all of them; as much as code may have once it is extracted.
const MAX_DOWNLOAD: u64 = 2048 * MIB;
/// Files, folders and links in one archive: more than installed dependencies have.
const MAX_ENTRIES: u64 = 250_000;
/// Folders above one file. Each is an open descriptor while an archive is written.
const MAX_DEPTH: usize = 100;
/// How long an upload may send nothing.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// How long nobody may take anything. Buffers on the way hold megabytes, and take more only once much of that has gone:
/// to a slow client nothing seems to move for the better part of a minute.
const STALL_LIMIT: Duration = Duration::from_secs(120);
/// Read, packed and sent at once.
const BLOCK: usize = 128 * 1024;

/// The session's files, once there are any.
pub struct Files {
    root: OnceLock<Arc<Root>>,
    places: Arc<Semaphore>,
}

impl Default for Files {
    fn default() -> Self {
        Self { root: OnceLock::new(), places: Arc::new(Semaphore::new(MAX_TRANSFERS)) }
    }
}

impl Files {
    /// From now on the files in `folder` can be had.
    pub fn open(&self, folder: &Path) -> io::Result<()> {
        let folder = OwnedFd::from(std::fs::File::open(folder)?);
        let _ = self.root.set(Arc::new(Root::new(folder)));
        Ok(())
    }

    /// Returns once nothing is on its way any more; nothing sets out meanwhile.
    pub async fn idle(&self) {
        let all = u32::try_from(MAX_TRANSFERS).unwrap_or(u32::MAX);
        let _ = self.places.acquire_many(all).await;
    }
}
