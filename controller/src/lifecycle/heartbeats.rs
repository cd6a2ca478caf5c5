//! Heartbeats, written to the database in batches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::{Beat, Store, Time};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::config::Timing;

/// Beats of one write.
const BATCH: usize = 200;
/// Beats that wait while the database is slow. What does not fit is lost, and the next heartbeat says the same.
const WAITING: usize = 4 * BATCH;

/// Where handlers leave heartbeats.
pub(super) struct Heartbeats {
    beats: mpsc::Sender<Beat>,
    /// Taken by the writer.
    waiting: Mutex<Option<mpsc::Receiver<Beat>>>,
}

pub(super) struct Writer {
    beats: Option<mpsc::Receiver<Beat>>,
    store: Arc<dyn Store>,
    flush: Duration,
}

impl Default for Heartbeats {
    fn default() -> Self {
        let (beats, waiting) = mpsc::channel(WAITING);
        Self { beats, waiting: Mutex::new(Some(waiting)) }
    }
}

impl Heartbeats {
    pub fn note(&self, beat: Beat) {
        if self.beats.try_send(beat).is_err() {
            tracing::debug!("a heartbeat was dropped: too many wait to be written");
        }
    }

    pub fn writer(&self, store: Arc<dyn Store>, timing: &Timing) -> Writer {
        let beats = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        Writer { beats, store, flush: timing.heartbeat_flush }
    }
}

impl Writer {
    /// Writes until `stop`, and then what is left.
    pub async fn run(self, stop: CancellationToken) {
        let Some(mut beats) = self.beats else { return };
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(Some(first)) = stop.run_until_cancelled(beats.recv()).await {
            batch.push(first);
            let full = async {
                while batch.len() < BATCH {
                    let Some(beat) = beats.recv().await else { break };
                    batch.push(beat);
                }
            };
            // Being stopped or late is as good a reason to write as being full.
            let _ = stop.run_until_cancelled(tokio::time::timeout(self.flush, full)).await;
            write(&*self.store, &mut batch).await;
        }
        while let Ok(beat) = beats.try_recv() {
            batch.push(beat);
        }
        write(&*self.store, &mut batch).await;
    }
}

/// A batch that cannot be written is dropped: the heartbeats go on.
async fn write(store: &dyn Store, batch: &mut Vec<Beat>) {
    if batch.is_empty() {
        return;
    }
    if let Err(error) = store.beat(std::mem::take(batch), Time::now()).await {
        tracing::warn!(%error, "heartbeats could not be written");
    }
}
