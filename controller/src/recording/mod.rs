//! Recordings: what runners send of their sessions' terminals, kept in a folder or a bucket, and read from there.
//!
//! A runner puts its asciicast chunk by chunk (`take`); each becomes an object of its own, so that a pod which is killed
//! takes at most what it had not sent yet with it. When nothing more is to come, the chunks become one object (`join`).
//! Readers get the same bytes at the same places from either (`contents`), and a log out of them (`log`). The sweep
//! (`sweep`) deletes what is too old, and joins what was left behind.
//!
//! Every controller may do everything, and twice. Two rules make that safe: chunks are only deleted once the joined object
//! is there, and whoever lists chunks looks for it after that.

mod answer;
mod contents;
mod events;
mod failure;
mod join;
mod log;
mod metrics;
mod settings;
mod storage;
mod sweep;
mod take;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use service::Shutdown;
use service::metrics::Metrics;
use session::{Record, RecordingPolicy, SessionId};
use store::Store;
use tokio::sync::Semaphore;

use metrics::RecordingMetrics;
use storage::Storage;

pub use answer::{LogFormat, not_found};
pub use settings::{RecordingFlags, RecordingSettings};
pub use storage::OpenError;
pub use take::Taking;

/// Chunks that are being stored at once; each holds its bytes.
const MAX_STORING: usize = 256;
/// Recordings that are being joined at once; each holds up to two parts of an upload.
const MAX_JOINING: usize = 2;

/// The recordings of all sessions. Shared as an `Arc`.
pub struct Recordings {
    storage: Storage,
    sessions: Arc<dyn Store>,
    max_bytes: u64,
    keep: Duration,
    sweep_every: Duration,
    metrics: RecordingMetrics,
    shutdown: Shutdown,
    storing: Semaphore,
    joining: Semaphore,
    /// What this controller joins, so that it does not do it twice at once.
    being_joined: Mutex<HashSet<SessionId>>,
    /// The store failed when it was last used: only a change is worth a line in the log.
    failing: AtomicBool,
}

impl fmt::Debug for Recordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recordings").field("storage", &self.storage).finish_non_exhaustive()
    }
}

impl Recordings {
    /// Opens the store, without asking whether it is there: what is away now may be back when it is needed.
    pub fn open(
        settings: RecordingSettings,
        sessions: Arc<dyn Store>,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, OpenError> {
        Ok(Arc::new(Self {
            storage: Storage::open(&settings.url, &settings.options)?,
            sessions,
            max_bytes: settings.max_bytes,
            keep: settings.keep,
            sweep_every: settings.sweep_every,
            metrics: RecordingMetrics::new(metrics),
            shutdown,
            storing: Semaphore::new(MAX_STORING),
            joining: Semaphore::new(MAX_JOINING),
            being_joined: Mutex::default(),
            failing: AtomicBool::new(false),
        }))
    }

    /// Sweeps until shutdown.
    pub fn run(self: &Arc<Self>) {
        let recordings = Arc::clone(self);
        self.spawn(async move { recordings.keep_sweeping().await });
    }

    /// What a runner is told to record.
    pub fn policy(&self, record: Record) -> Option<RecordingPolicy> {
        let input = match record {
            Record::None => return None,
            Record::Output => false,
            Record::Input => true,
        };
        Some(RecordingPolicy { input, max_bytes: self.max_bytes })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.token();
        self.shutdown.spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }
}
