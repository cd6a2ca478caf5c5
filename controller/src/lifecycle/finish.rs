//! Ending: sessions by a decision, or all at once when the server stops; and what becomes of their runners.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use session::runner_api::End;
use session::{EndReason, Ended, RunnerId, SessionId};
use store::{ActiveSession, EndOutcome, ReadyRunner, RunnerState, StoreError, Time};

use super::Lifecycle;
use super::busy::Work;
use crate::fault::{self, Point};

/// What runners get to show the end to whoever watches, before the server stops them.
const FAREWELL: Duration = Duration::from_millis(300);

impl Lifecycle {
    pub(super) async fn end_as(
        self: &Arc<Self>,
        session: SessionId,
        epoch: Option<u64>,
        ended: Ended,
    ) -> Result<EndOutcome, StoreError> {
        let outcome = self.note(self.store.end(session, epoch, ended, Time::now()).await?);
        if let EndOutcome::Ended(record) = &outcome
            && let Some(runner) = record.runner
        {
            let (lifecycle, id) = (Arc::clone(self), record.id);
            self.spawn_short(async move { lifecycle.conclude_session(id, runner).await });
        }
        Ok(outcome)
    }

    /// Counts and logs an end that counts.
    pub(super) fn note(&self, outcome: EndOutcome) -> EndOutcome {
        if let EndOutcome::Ended(record) = &outcome
            && let Some(ended) = &record.ended
        {
            self.metrics.note_end(record, ended.reason);
            tracing::info!(session = %record.id, reason = %ended.reason, code = ended.exit_code, "session ended");
            fault::pass(Point::Ended);
        }
        outcome
    }

    /// Tells the runner of an ended session, which then shows the end and goes by itself; one that cannot be told is
    /// destroyed at once.
    pub(super) async fn conclude_session(self: &Arc<Self>, session: SessionId, runner: RunnerId) {
        if self.is_static() {
            return self.discard(runner).await;
        }
        let Ok(Some(row)) = self.persist("runner", || self.store.runner(runner)).await else { return };
        if row.state != RunnerState::Gone && !self.tell(session, runner).await {
            self.discard(runner).await;
        }
    }

    /// Whether the runner has accepted to end.
    async fn tell(&self, session: SessionId, id: RunnerId) -> bool {
        let runner = self.persist("ready_runner", || self.store.ready_runner(id)).await.ok().flatten();
        let Some(ReadyRunner { address, secret, session: Some(record), .. }) = runner else { return false };
        let Some(ended) = record.ended.filter(|_| record.id == session) else { return false };
        // Told twice at most: what does not answer then is destroyed.
        for _ in 0..2 {
            match self.client.end(&address, &secret, &End { session, reason: ended.reason }).await {
                Ok(()) => return true,
                Err(super::client::CallError::Ambiguous(_)) => {}
                Err(error) => {
                    tracing::debug!(runner = %id, %error, "a runner could not be told to end");
                    return false;
                }
            }
        }
        false
    }

    /// Destroys a runner and forgets it. What fails is tried again by the reconciler, since the row stays.
    pub(super) async fn discard(&self, runner: RunnerId) {
        let Some(_at_work) = self.busy.begin(Work::Destroying, runner) else { return };
        let handle = self.store.runner(runner).await.ok().flatten().and_then(|row| row.handle);
        if let Err(error) = self.launcher.destroy(runner, handle.as_deref()).await {
            tracing::error!(%runner, %error, "a runner could not be destroyed");
            return;
        }
        // An error was logged by `persist`.
        let gone = self.persist("runner_gone", || self.store.runner_gone(runner, Time::now())).await;
        if let (Ok(Some(session)), Some(recordings)) = (gone, self.recordings()) {
            // It has no secret any more that it could send more with.
            recordings.settle(session);
        }
    }

    /// Ends every session and waits until their runners are gone, within `deadline`: the stop of a server that owns
    /// its runners. Works while shutting down.
    pub async fn end_all(self: &Arc<Self>, reason: EndReason, deadline: Duration) {
        self.closing.store(true, Ordering::SeqCst);
        let ending = async {
            match self.store.active_sessions().await {
                Ok(sessions) => drop(join_all(sessions.iter().map(|session| self.end_and_tell(session, reason))).await),
                Err(error) => tracing::error!(%error, "the sessions to be ended cannot be listed"),
            }
        };
        let told = tokio::time::timeout(deadline / 2, ending).await;
        if told.is_err() {
            tracing::warn!("not every session could be told to end");
        }
        let destroying = async {
            let alive = self.launcher.alive().await.unwrap_or_default();
            if !alive.is_empty() {
                tokio::time::sleep(FAREWELL.min(deadline / 4)).await;
            }
            join_all(alive.into_iter().map(|runner| self.discard(runner))).await;
        };
        if tokio::time::timeout(deadline / 2, destroying).await.is_err() {
            tracing::error!("not every runner ended in time");
        }
    }

    async fn end_and_tell(self: &Arc<Self>, session: &ActiveSession, reason: EndReason) {
        let ended = Ended::because(reason, "the server stopped");
        match self.store.end(session.id, None, ended, Time::now()).await {
            Ok(outcome) => drop(self.note(outcome)),
            Err(error) => tracing::error!(session = %session.id, %error, "a session could not be ended"),
        }
        if let Some(runner) = session.runner {
            self.tell(session.id, runner).await;
        }
    }
}
