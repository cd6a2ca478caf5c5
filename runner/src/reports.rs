//! What the controller is told of the session: every stage in order and none lost, and that the runner lives.
//! Only the first report holds the session up, since it decides whether the session is this runner's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use session::recording::Chunk;
use session::runner_api::{Heartbeat, StageReport};
use session::{Ended, Secret, SessionId, Stage};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::controller::{Backoff, CallError, Controller, jittered};

/// The way to the controller, and the secret that says who speaks.
#[derive(Clone)]
pub struct Line {
    pub controller: Arc<Controller>,
    pub secret: Secret,
    /// Cancelled when the controller has given this runner up: whatever it does from then on is in vain.
    pub fenced: CancellationToken,
}

/// The stages of one session, on their way to the controller.
pub struct Reports {
    session: SessionId,
    epoch: u64,
    queue: mpsc::UnboundedSender<StageReport>,
    /// Cancelled when the first report was taken.
    taken: CancellationToken,
    sending: JoinHandle<()>,
}

impl Line {
    async fn post(&self, call: &str, body: &impl serde::Serialize) -> Result<(), Undelivered> {
        match self.controller.post(call, &self.secret, |_| body).await {
            Ok(status) if status.is_success() => Ok(()),
            // The secret is the one that was taken at the call home: a controller that refuses it has forgotten us.
            Ok(status @ (StatusCode::CONFLICT | StatusCode::UNAUTHORIZED | StatusCode::GONE)) => {
                tracing::warn!(call, %status, "the controller has given this runner up");
                self.fenced.cancel();
                Err(Undelivered::ForGood)
            }
            Ok(status) => {
                tracing::warn!(call, %status, "the controller did not take a report");
                Err(Undelivered::Yet)
            }
            Err(error) => {
                tracing::warn!(call, %error, "a report was not delivered");
                Err(Undelivered::Yet)
            }
        }
    }
}

impl Line {
    /// What it means that the controller does not take it is for the recorder to judge: a session goes on without.
    pub async fn put_chunk(&self, chunk: &Chunk, lines: Bytes) -> Result<StatusCode, CallError> {
        self.controller.put_chunk(chunk, &self.secret, lines).await
    }
}

enum Undelivered {
    Yet,
    ForGood,
}

impl Reports {
    pub fn new(line: Line, session: SessionId, epoch: u64) -> Self {
        // Unbounded by type only: a session has few stages.
        let (queue, queued) = mpsc::unbounded_channel();
        let taken = CancellationToken::new();
        let sending = tokio::spawn(deliver(line, queued, taken.clone()));
        Self { session, epoch, queue, taken, sending }
    }

    /// Until the controller has taken the first report; for ever, when it has given this runner up.
    pub async fn taken(&self) {
        self.taken.cancelled().await;
    }

    pub fn stage(&self, stage: Stage) {
        self.send(stage, None);
    }

    /// Reports the end, the last report, and waits until all were taken; at most for `limit`.
    pub async fn ended(self, ended: Ended, limit: Duration) {
        self.send(Stage::Ended, Some(ended));
        drop(self.queue);
        if tokio::time::timeout(limit, self.sending).await.is_err() {
            tracing::error!("the session's end was not delivered to the controller");
        }
    }

    fn send(&self, stage: Stage, ended: Option<Ended>) {
        // The receiver is gone only once the controller has fenced this runner.
        let _ = self.queue.send(StageReport { session: self.session, epoch: self.epoch, stage, ended });
    }
}

async fn deliver(line: Line, mut queued: mpsc::UnboundedReceiver<StageReport>, taken: CancellationToken) {
    while let Some(report) = queued.recv().await {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match line.post("stage", &report).await {
                Ok(()) => break taken.cancel(),
                Err(Undelivered::ForGood) => return,
                Err(Undelivered::Yet) => backoff.wait().await,
            }
        }
    }
}

/// Tells for ever that this runner lives; a heartbeat that is not delivered is not repeated.
pub async fn beat(line: Line, every: Duration, state: impl Fn() -> Heartbeat) {
    loop {
        tokio::time::sleep(jittered(every, 0.8, 1.2)).await;
        if let Err(Undelivered::ForGood) = line.post("heartbeat", &state()).await {
            return;
        }
    }
}
