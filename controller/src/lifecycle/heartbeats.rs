//! Heartbeats, taken in batches: one read says whose they are, and one write notes them. Whoever sends one waits for that,
//! and has all the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use http::StatusCode;
use service::Problem;
use session::problem::ProblemType;
use session::runner_api::Heartbeat;
use session::{RunnerId, Secret};
use store::{Beat, ReadyRunner, StoreError, Time};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Lifecycle;
use super::calls::{Answer, is_shown, own_session, read, unauthorized};

/// Heartbeats of one read and one write.
const BATCH: usize = 200;
/// Those that wait while the database is slow.
const WAITING: usize = 4 * BATCH;

/// Where handlers leave heartbeats.
pub(super) struct Heartbeats {
    calls: mpsc::Sender<Call>,
    /// Until somebody takes them from there.
    waiting: Mutex<Option<mpsc::Receiver<Call>>>,
}

struct Call {
    runner: RunnerId,
    secret: Secret,
    body: Bytes,
    answer: oneshot::Sender<Answer<()>>,
}

impl Default for Heartbeats {
    fn default() -> Self {
        let (calls, waiting) = mpsc::channel(WAITING);
        Self { calls, waiting: Mutex::new(Some(waiting)) }
    }
}

impl Heartbeats {
    /// Waits until the database has it.
    pub async fn take(&self, runner: RunnerId, secret: Secret, body: Bytes) -> Answer<StatusCode> {
        let (answer, answered) = oneshot::channel();
        let unavailable =
            || Problem::new(ProblemType::Unavailable, "heartbeats cannot be noted just now").retry_after(2);
        self.calls.try_send(Call { runner, secret, body, answer }).map_err(|_| unavailable())?;
        // Nobody answers what came after the last batch of a stop.
        answered.await.unwrap_or_else(|_| Err(unavailable()))?;
        Ok(StatusCode::NO_CONTENT)
    }
}

impl Lifecycle {
    /// Hears heartbeats until `stop`, and then those that wait.
    pub(super) async fn hear_heartbeats(self: Arc<Self>, stop: CancellationToken) {
        let taken = self.heartbeats.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut calls) = taken else { return };
        while let Some(Some(first)) = stop.run_until_cancelled(calls.recv()).await {
            let mut batch = Vec::with_capacity(BATCH);
            batch.push(first);
            let full = async {
                while batch.len() < BATCH {
                    let Some(call) = calls.recv().await else { break };
                    batch.push(call);
                }
            };
            // Being stopped or late is as good a reason as being full.
            let flush = self.config.timing.heartbeat_flush;
            let _ = stop.run_until_cancelled(tokio::time::timeout(flush, full)).await;
            self.hear(batch).await;
        }
        let mut rest = Vec::new();
        while let Ok(call) = calls.try_recv() {
            rest.push(call);
        }
        self.hear(rest).await;
    }

    async fn hear(self: &Arc<Self>, batch: Vec<Call>) {
        // A stop waits for no database where nobody waits for an answer.
        if batch.is_empty() {
            return;
        }
        let runners = batch.iter().map(|call| call.runner).collect();
        match self.store.ready_runners(runners).await {
            Ok(ready) => self.note_beats(batch, ready).await,
            // A row that cannot be read is not everybody's trouble.
            Err(error) if batch.len() > 1 && !matches!(error, StoreError::Unavailable(_)) => {
                for call in batch {
                    match self.store.ready_runners(vec![call.runner]).await {
                        Ok(ready) => self.note_beats(vec![call], ready).await,
                        Err(error) => answer_all([call.answer], Err(error)),
                    }
                }
            }
            Err(error) => answer_all(batch.into_iter().map(|call| call.answer), Err(error)),
        }
    }

    async fn note_beats(self: &Arc<Self>, batch: Vec<Call>, ready: Vec<ReadyRunner>) {
        let ready: HashMap<RunnerId, ReadyRunner> = ready.into_iter().map(|ready| (ready.id, ready)).collect();
        let (mut beats, mut waiting) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for call in batch {
            match self.judge_heartbeat(&call, ready.get(&call.runner)) {
                Ok(beat) => {
                    beats.push(beat);
                    waiting.push(call.answer);
                }
                // Whoever asked may have gone meanwhile, here and below.
                Err(problem) => drop(call.answer.send(Err(problem))),
            }
        }
        if !beats.is_empty() {
            answer_all(waiting, self.store.beat(beats, Time::now()).await);
        }
    }

    fn judge_heartbeat(self: &Arc<Self>, call: &Call, ready: Option<&ReadyRunner>) -> Answer<Beat> {
        let ready = ready.filter(|ready| is_shown(&ready.secret, call.secret.expose())).ok_or_else(unauthorized)?;
        let heartbeat: Heartbeat = read(&call.body)?;
        if let Some(named) = heartbeat.session {
            // A runner that lingers after its session's end still has it.
            self.repeat_deadline(own_session(ready.session.as_ref(), named, heartbeat.epoch)?);
        }
        Ok(Beat { runner: call.runner, operators: heartbeat.operators, quiet_ms: heartbeat.quiet_ms })
    }
}

fn answer_all(waiting: impl IntoIterator<Item = oneshot::Sender<Answer<()>>>, outcome: Result<(), StoreError>) {
    let outcome = outcome.map_err(Problem::from);
    for answer in waiting {
        let _ = answer.send(outcome.clone());
    }
}
