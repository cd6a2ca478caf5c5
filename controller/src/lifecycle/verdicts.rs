//! What the launcher knows against a runner, and what follows from it for the runner's session.
//!
//! A runner whose machine does not answer may live on, so it is asked itself before it is given up.

use std::sync::Arc;

use session::{EndReason, Ended, RunnerId, Stage};
use store::{ReadyRunner, RunnerRecord, RunnerState, SessionRecord, StoreError, Time};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Lifecycle;
use super::busy::Work;
use crate::launcher::{Condition, Verdict};

const LOST: &str = "the runner ended without saying why";
const STILLBORN: &str = "the runner ended before it was ready";
const NEVER_TAKEN: &str = "the runner ended before it took the session";
const SILENT: &str = "the runner's machine does not answer, and neither does the runner";
/// Between two looks at whether the last report, or a better reason, has come.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
/// How often a runner is asked before its silence counts.
const ASK_TIMES: usize = 3;

impl Lifecycle {
    /// Acts on what the launcher knows of a runner.
    pub(super) fn look_at(self: &Arc<Self>, runner: RunnerId) {
        match self.launcher.condition(runner) {
            Condition::Fine => {}
            Condition::Doubtful => self.spawn_asking(runner),
            Condition::Over(_) => self.spawn_gone(runner),
        }
    }

    /// A runner is over or missing: concludes what became of its session.
    pub(super) fn spawn_gone(self: &Arc<Self>, runner: RunnerId) {
        let Some(at_work) = self.busy.begin(Work::Concluding, runner) else { return };
        let lifecycle = Arc::clone(self);
        self.spawn(async move {
            // An error was logged, and the reconciler finds the runner missing again.
            let _ = lifecycle.conclude_runner(runner, lifecycle.config.timing.exit_grace).await;
            drop(at_work);
        });
    }

    /// A runner that just ended may have its last report on the way, and the launcher may yet learn why it ended:
    /// `grace` is for both, unless the reason is known. The runner's secret stays good as long.
    pub(super) async fn conclude_runner(
        self: &Arc<Self>,
        runner: RunnerId,
        grace: std::time::Duration,
    ) -> Result<(), StoreError> {
        let row = self.persist("runner", || self.store.runner(runner)).await?;
        let Some(row) = row.filter(|row| row.state != RunnerState::Gone) else { return Ok(()) };
        let Some(session) = row.session else {
            self.discard(runner).await;
            return Ok(());
        };
        let deadline = Instant::now() + grace;
        loop {
            let record = self.persist("session", || self.store.session(session)).await?;
            let open = record.filter(|record| record.runner == Some(runner) && record.ended.is_none());
            let Some(record) = open else {
                self.discard(runner).await;
                return Ok(());
            };
            let verdict = self.verdict(runner);
            // One that never was ready had nothing to report.
            let said_all = row.state == RunnerState::Booting || verdict.reason != EndReason::RunnerLost;
            if said_all || Instant::now() >= deadline {
                return match grace.is_zero() {
                    true => self.lose(record.id, runner, verdict.ended()).await,
                    false => self.conclude_open(record, &row, verdict).await,
                };
            }
            sleep(LOOK).await;
        }
    }

    fn verdict(&self, runner: RunnerId) -> Verdict {
        match self.launcher.condition(runner) {
            Condition::Over(verdict) => verdict,
            Condition::Fine | Condition::Doubtful => Verdict::new(EndReason::RunnerLost, LOST),
        }
    }

    /// A session that no runner has taken may have another, unless that would fail for the same reason.
    async fn conclude_open(
        self: &Arc<Self>,
        record: SessionRecord,
        row: &RunnerRecord,
        verdict: Verdict,
    ) -> Result<(), StoreError> {
        let was_ready = row.state != RunnerState::Booting;
        let misplaced = matches!(verdict.reason, EndReason::Evicted | EndReason::NodeLost);
        let may_differ = verdict.reason != EndReason::StartFailed && (was_ready || misplaced);
        if record.stage == Stage::Queued && may_differ {
            return self.replace(record, row.id, NEVER_TAKEN).await;
        }
        let ended = match verdict.reason {
            EndReason::RunnerLost if !was_ready && verdict.message == LOST => {
                Ended::because(EndReason::StartFailed, STILLBORN)
            }
            EndReason::RunnerLost if !was_ready => {
                Ended::because(EndReason::StartFailed, format!("{STILLBORN}: {}", verdict.message))
            }
            _ => verdict.ended(),
        };
        self.lose(record.id, row.id, ended).await
    }

    /// Whether a runner's own word about its end is to be held against what the launcher may know in a moment: it was
    /// told to stop and does not know why.
    pub(super) fn may_be_explained(&self, told: &Ended) -> bool {
        told.reason == EndReason::RunnerLost && self.launcher.kind().watches()
    }

    /// Records the end that a runner told, with the reason that the launcher learns. The runner has its answer by then:
    /// an engine that evicts says so only once the container has ended, and that waits for the answer.
    pub(super) fn spawn_explained(self: &Arc<Self>, runner: RunnerId, session: &SessionRecord, told: Ended) {
        let (lifecycle, id, epoch) = (Arc::clone(self), session.id, session.epoch);
        self.spawn(async move {
            let ended = lifecycle.explained(runner, told).await;
            let end = || lifecycle.store.end(id, Some(epoch), ended.clone(), Time::now());
            // An error was logged, and the reconciler finds the runner missing.
            if let Ok(outcome) = lifecycle.persist("end", end).await {
                lifecycle.note(outcome);
            }
        });
    }

    async fn explained(&self, runner: RunnerId, told: Ended) -> Ended {
        let timing = &self.config.timing;
        let mut deadline = Instant::now() + timing.stop_patience;
        let mut known = false;
        loop {
            let verdict = match self.launcher.condition(runner) {
                Condition::Over(verdict) => Some(verdict),
                Condition::Fine | Condition::Doubtful => None,
            };
            if verdict.is_some() && !known {
                known = true;
                deadline = deadline.min(Instant::now() + timing.verdict_patience);
            }
            let better = verdict.as_ref().is_some_and(|verdict| verdict.reason != EndReason::RunnerLost);
            if better || Instant::now() >= deadline {
                // The exit code is the command's all the same.
                let verdict =
                    verdict.map(|Verdict { reason, message }| Ended { reason, message: Some(message), ..told.clone() });
                return verdict.unwrap_or(told);
            }
            sleep(LOOK).await;
        }
    }

    fn spawn_asking(self: &Arc<Self>, runner: RunnerId) {
        let Some(at_work) = self.busy.begin(Work::Asking, runner) else { return };
        let lifecycle = Arc::clone(self);
        self.spawn(async move {
            // An error was logged, and the reconciler finds the runner doubtful again.
            let _ = lifecycle.ask_while_doubtful(runner).await;
            drop(at_work);
        });
    }

    async fn ask_while_doubtful(self: &Arc<Self>, runner: RunnerId) -> Result<(), StoreError> {
        let mut heard = Time::now();
        while self.launcher.condition(runner) == Condition::Doubtful {
            let row = self.persist("runner", || self.store.runner(runner)).await?;
            let Some(row) = row.filter(|row| row.state != RunnerState::Gone) else { return Ok(()) };
            // One that has not called home is nobody to ask; its boot deadline is for it.
            if row.address.is_none() {
                return Ok(());
            }
            if self.answers(runner).await? {
                heard = Time::now();
            } else {
                let row = self.persist("runner", || self.store.runner(runner)).await?;
                match row.and_then(|row| row.seen_at).filter(|seen| *seen > heard) {
                    // It reaches a controller, though this one does not reach it.
                    Some(seen) => heard = seen,
                    None => return self.give_up_silent(runner).await,
                }
            }
            sleep(self.config.timing.doubt_pause).await;
        }
        Ok(())
    }

    /// Whether the runner itself answers to its secret: its address alone may be another's by now.
    async fn answers(&self, runner: RunnerId) -> Result<bool, StoreError> {
        let found = self.persist("ready_runner", || self.store.ready_runner(runner)).await?;
        let Some(ReadyRunner { address, secret, .. }) = found else { return Ok(false) };
        let mut turns = interval(self.config.timing.ask_timeout);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..ASK_TIMES {
            turns.tick().await;
            match self.client.is_well(&address, &secret).await {
                Ok(()) => return Ok(true),
                Err(error) => tracing::debug!(%runner, %error, "a doubtful runner does not answer"),
            }
        }
        Ok(false)
    }

    async fn give_up_silent(self: &Arc<Self>, runner: RunnerId) -> Result<(), StoreError> {
        let row = self.persist("runner", || self.store.runner(runner)).await?;
        let Some(row) = row.filter(|row| row.state != RunnerState::Gone) else { return Ok(()) };
        let record = match row.session {
            Some(session) => self.persist("session", || self.store.session(session)).await?,
            None => None,
        };
        tracing::warn!(%runner, "a runner is given up: its machine does not answer, and neither does it");
        match record.filter(|record| record.runner == Some(runner) && record.ended.is_none()) {
            Some(record) => self.conclude_open(record, &row, Verdict::new(EndReason::NodeLost, SILENT)).await,
            None => {
                self.discard(runner).await;
                Ok(())
            }
        }
    }
}
