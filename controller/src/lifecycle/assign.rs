//! Assigning: the session goes to a runner that is ready for it. Cold and warm starts share this call.
//!
//! Whether an answer that was lost was a yes is not known, so the same is asked again of the same runner, which takes
//! one session only and says yes again. Only a runner that refuses, or that nobody can reach, is replaced; and since
//! a runner runs nothing before its first report was taken, one that was replaced never runs the command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backon::{ExponentialBuilder, Retryable};
use session::RunnerId;
use session::Stage;
use session::runner_api::Assign;
use store::{Assignment, SessionRecord, StoreError};

use super::Lifecycle;
use super::busy::Work;
use super::client::CallError;
use super::deadline::millis_until;
use crate::fault::{self, Point};

/// Times that a runner may be found unreachable: with the growing pauses between them about a second and a half.
const UNREACHABLE: u32 = 6;
const GIVEN_UP: &str = "no runner could be reached to take the session";

impl Lifecycle {
    /// `known` is what to send, where that came with the answer of the transaction that gave the session its runner.
    pub(super) fn spawn_assign(self: &Arc<Self>, runner: RunnerId, known: Option<Box<Assignment>>) {
        let Some(at_work) = self.busy.begin(Work::Assigning, runner) else { return };
        let lifecycle = Arc::clone(self);
        self.spawn_short(async move {
            // An error was logged, and the reconciler assigns again.
            let _ = lifecycle.assign(runner, known).await;
            drop(at_work);
        });
    }

    async fn assign(self: &Arc<Self>, runner: RunnerId, known: Option<Box<Assignment>>) -> Result<(), StoreError> {
        let assignment = match known {
            Some(known) => Some(*known),
            None => self.persist("assignment", || self.store.assignment(runner)).await?,
        };
        // Past `queued` it was taken before, and the database no longer has what to send.
        let Some(assignment) = assignment.filter(|assignment| assignment.session.stage == Stage::Queued) else {
            return Ok(());
        };
        let session = assignment.session.id;
        fault::pass(Point::BeforeAssign);
        match self.send_until_answered(&assignment).await {
            Ok(()) => {
                fault::pass(Point::Assigned);
                // Its first report says so to everybody else.
                tracing::debug!(%session, %runner, "assigned");
                Ok(())
            }
            Err(CallError::MovedOn) => Ok(()),
            Err(error) => {
                tracing::warn!(%session, %runner, %error, "a runner did not take its session");
                self.replace(assignment.session, runner, GIVEN_UP).await
            }
        }
    }

    async fn send_until_answered(&self, assignment: &Assignment) -> Result<(), CallError> {
        let again = AtomicBool::new(false);
        let pauses = ExponentialBuilder::default()
            .with_min_delay(std::time::Duration::from_millis(50))
            .with_max_delay(std::time::Duration::from_secs(1))
            .without_max_times();
        let mut unreachable = 0;
        let sending = (|| self.send(assignment, again.swap(true, Ordering::Relaxed)))
            .retry(pauses)
            .when(|error| match error {
                CallError::Ambiguous(_) => true,
                CallError::Unreachable(_) => {
                    unreachable += 1;
                    unreachable < UNREACHABLE
                }
                CallError::Refused(_) | CallError::MovedOn => false,
            })
            .notify(|error, _| {
                tracing::debug!(runner = %assignment.runner, %error, "assigning again");
                self.metrics.assign_retries.inc();
            });
        tokio::time::timeout(self.config.timing.assign_for, sending)
            .await
            .unwrap_or_else(|_| Err(CallError::Ambiguous("too often".to_owned())))
    }

    /// One attempt, while the session still waits for this runner; the first is right behind the transaction that the
    /// assignment is of.
    async fn send(&self, assignment: &Assignment, again: bool) -> Result<(), CallError> {
        let mut expires_at = assignment.session.expires_at;
        // A database that is away keeps no runner from being assigned: the runner's secret and the epoch decide.
        if again && let Ok(now) = self.store.session(assignment.session.id).await {
            let waits = |now: &SessionRecord| now.epoch == assignment.session.epoch && now.stage == Stage::Queued;
            let Some(now) = now.filter(waits) else { return Err(CallError::MovedOn) };
            // It may have been extended meanwhile.
            expires_at = now.expires_at;
        }
        let assign = Assign {
            session: assignment.session.id,
            epoch: assignment.session.epoch,
            spec: assignment.session.spec.clone(),
            secrets: assignment.secrets.clone(),
            deadline_ms: millis_until(expires_at),
            max_deadline_ms: Some(millis_until(assignment.session.max_expires_at())),
            fetch: self.config.fetch.clone(),
            recording: self.recordings().and_then(|recordings| recordings.policy(assignment.session.spec.record)),
        };
        self.client.assign(&assignment.address, &assignment.runner_secret, &assign).await
    }
}
