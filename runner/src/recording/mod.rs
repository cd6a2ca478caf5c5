//! Records the session while it runs and hands the recording to the controller in chunks, so that a runner which is killed
//! takes no more than the last moments with it. It follows the terminal as a viewer does, at its own place, and never
//! holds the program up: what a controller that is away cannot take waits in the terminal's own history. What that has to
//! forget meanwhile is missing from the recording, which says so.

mod cast;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use session::frames::Size;
use session::recording::{Chunk, MAX_CHUNK};
use session::runner_api::Assign;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::controller::Backoff;
use crate::reports::Line;
use crate::terminal::{Event, Place, Terminal};
use cast::Cast;

/// From one chunk to the next, unless there is [`ENOUGH`].
const EVERY: Duration = Duration::from_millis(500);
/// Between two looks at how much there is.
const LOOK: Duration = Duration::from_millis(50);
/// This much output is worth a chunk at once.
const ENOUGH: u64 = 64 * 1024;
/// A chunk that has become this long takes no more.
const FULL: usize = 128 * 1024;
/// Bytes of one event, which JSON makes six times as long at most.
const EVENT: usize = 16 * 1024;
const _: () = assert!(FULL + 6 * EVENT + 1024 < MAX_CHUNK);
/// What is kept free below the cap for saying that it was reached.
const LAST_WORDS: u64 = 256;

/// The recording of one session, on its way to the controller.
pub struct Recording(JoinHandle<()>);

impl Recording {
    /// `None` where nothing is to be recorded.
    pub fn start(line: Line, assign: &Assign, terminal: &Arc<Terminal>) -> Option<Self> {
        let policy = assign.recording?;
        let size = Size { columns: assign.spec.cols, rows: assign.spec.rows };
        let began = terminal.recorded_for()?;
        let recorder = Recorder {
            line,
            epoch: assign.epoch,
            number: 0,
            offset: 0,
            terminal: Arc::clone(terminal),
            place: Place::default(),
            cast: Cast::default(),
            header: Cast::header(size, began),
            max_bytes: policy.max_bytes,
        };
        Some(Self(tokio::spawn(recorder.run())))
    }

    /// Waits until the last chunk was taken, or no more are; at most for `limit`.
    pub async fn finish(self, limit: Duration) {
        if timeout(limit, self.0).await.is_err() {
            tracing::error!("the end of the recording was not delivered to the controller");
        }
    }
}

struct Recorder {
    line: Line,
    epoch: u64,
    number: u64,
    /// Bytes that the controller has taken.
    offset: u64,
    terminal: Arc<Terminal>,
    place: Place,
    cast: Cast,
    /// Empty once it is part of a chunk.
    header: Vec<u8>,
    max_bytes: u64,
}

/// The controller wants no more.
struct Refused;

impl Recorder {
    async fn run(mut self) {
        let mut changes = self.terminal.changes();
        loop {
            changes.mark_unchanged();
            let (lines, last) = self.next_chunk();
            if lines.is_empty() && !last {
                // The sender is the terminal's own, so this cannot fail.
                let _ = changes.changed().await;
                continue;
            }
            let sent_at = Instant::now();
            let delivered = self.deliver(lines.into(), last).await;
            if last || delivered.is_err() {
                return self.terminal.stop_recording();
            }
            self.gather(sent_at + EVERY).await;
        }
    }

    /// Waits until there is enough for a chunk, and no longer than `until`.
    async fn gather(&self, until: Instant) {
        while Instant::now() < until && self.terminal.ahead_of(&self.place) < ENOUGH && !self.terminal.is_over() {
            sleep_until(until.min(Instant::now() + LOOK)).await;
        }
    }

    /// Whole lines, and whether they are the last ones.
    fn next_chunk(&mut self) -> (Vec<u8>, bool) {
        let mut lines = std::mem::take(&mut self.header);
        let mut event = Vec::new();
        while lines.len() < FULL {
            let Some(recorded) = self.terminal.next_recorded(&mut self.place, EVENT) else { return (lines, false) };
            event.clear();
            self.cast.event(&mut event, &recorded);
            if self.offset + (lines.len() + event.len()) as u64 + LAST_WORDS > self.max_bytes {
                tracing::info!(max_bytes = self.max_bytes, "the recording has become as long as it may be");
                self.cast.marker(&mut lines, recorded.after, "the recording ends here: it has become too long");
                return (lines, true);
            }
            lines.extend_from_slice(&event);
            if matches!(recorded.what, Event::Ended(_)) {
                return (lines, true);
            }
        }
        (lines, false)
    }

    /// Sends a chunk until it was taken; the same each time, so that it does not matter which attempt was heard.
    async fn deliver(&mut self, lines: Bytes, last: bool) -> Result<(), Refused> {
        let chunk = Chunk { epoch: self.epoch, number: self.number, offset: self.offset, last };
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut failed = false;
        loop {
            let why = match self.line.put_chunk(&chunk, lines.clone()).await {
                Ok(status) if status.is_success() => break,
                Ok(status @ (StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE)) => {
                    tracing::info!(%status, "the controller takes no more of the recording");
                    return Err(Refused);
                }
                Ok(status) if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
                    tracing::warn!(%status, "the controller refuses the recording");
                    return Err(Refused);
                }
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            // Once for each time that it is away, however long that lasts.
            if !std::mem::replace(&mut failed, true) {
                tracing::warn!(error = why, "the recording cannot be delivered and waits");
            }
            backoff.wait().await;
        }
        if failed {
            tracing::info!("the recording is delivered again");
        }
        self.number += 1;
        self.offset += lines.len() as u64;
        Ok(())
    }
}
