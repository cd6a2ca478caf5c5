//! The reconciler: compares the database with what exists and with the clock, and does what was left undone.
//!
//! The order of reading is what makes it safe beside everything else that goes on. A runner's row is committed before
//! its launch, so a runner that was alive *before* the rows were read and has none is nobody's. Its handle is stored
//! after its launch, so one with a handle that is not alive *after* the rows were read is no more. And sessions are
//! read before runners: each session's runner was there first. Every end carries the epoch that it was decided on.
//! What the launcher told as news may have been missed, so it is asked about every runner here, too.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use session::frames::Wire;
use session::{EndReason, Ended, RunnerId, SessionId, Stage};
use store::{ActiveSession, RunnerRecord, RunnerState, StoreError, Time};
use tokio::task::yield_now;

use super::Lifecycle;
use super::busy::Work;
use crate::launcher::Condition;

const NEVER_CALLED: &str = "the runner never called home";
const NEVER_LAUNCHED: &str = "no runner could be launched";
const LOST: &str = "the runner is gone";

/// Sessions or runners that are judged before others have their turn.
const IN_A_ROW: usize = 64;

/// What one look saw.
struct View {
    now: Time,
    sessions: HashMap<SessionId, ActiveSession>,
    runners: Vec<RunnerRecord>,
    /// Theirs, since each session is asked whether its own is among them.
    known: HashSet<RunnerId>,
    /// How long heartbeats could be noted without a break.
    heard_for: Duration,
    /// Before and after the rows were read; `None` where the launcher cannot say.
    alive: Option<(HashSet<RunnerId>, HashSet<RunnerId>)>,
}

impl Lifecycle {
    /// Looks once, and does what there is to do. Safe at any time, by any number of controllers at once. Answers how many
    /// rows it read.
    pub async fn reconcile(self: &Arc<Self>) -> Result<usize, StoreError> {
        self.reconcile_with(self.config.timing.exit_grace).await
    }

    /// Right after a start nothing can be on its way from a runner that is missing.
    pub(super) async fn reconcile_without_grace(self: &Arc<Self>) -> Result<(), StoreError> {
        self.reconcile_with(Duration::ZERO).await.map(drop)
    }

    async fn reconcile_with(self: &Arc<Self>, grace: Duration) -> Result<usize, StoreError> {
        let view = self.look().await.inspect_err(|_| *self.heard_since() = None)?;
        self.metrics.show_runners(&view.runners);
        for (number, session) in view.sessions.values().enumerate() {
            give_way(number).await;
            self.judge_session(session, &view).await?;
        }
        for (number, runner) in view.runners.iter().enumerate() {
            give_way(number).await;
            self.judge_runner(runner, &view, grace).await?;
        }
        self.destroy_strangers(&view);
        Ok(view.sessions.len() + view.runners.len())
    }

    async fn look(&self) -> Result<View, StoreError> {
        let before = self.alive().await;
        let sessions = self.store.active_sessions().await?;
        let runners = self.store.runners().await?;
        let after = self.alive().await;
        Ok(View {
            now: Time::now(),
            sessions: sessions.into_iter().map(|session| (session.id, session)).collect(),
            known: runners.iter().map(|runner| runner.id).collect(),
            runners,
            heard_for: self.heard_since().get_or_insert_with(Instant::now).elapsed(),
            alive: before.zip(after),
        })
    }

    fn heard_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.heard_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn alive(&self) -> Option<HashSet<RunnerId>> {
        if self.is_static() {
            return None;
        }
        match self.launcher.alive().await {
            Ok(alive) => {
                if self.blind.swap(false, Ordering::Relaxed) {
                    tracing::info!("the launcher says again which runners exist");
                }
                Some(alive.into_iter().collect())
            }
            Err(error) => {
                // Once for each absence, however long it lasts.
                if !self.blind.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the launcher cannot say which runners exist");
                }
                None
            }
        }
    }

    async fn judge_session(self: &Arc<Self>, session: &ActiveSession, view: &View) -> Result<(), StoreError> {
        let timing = &self.config.timing;
        let end = |reason, message: &str| self.end_as(session.id, Some(session.epoch), Ended::because(reason, message));
        if passed(session.expires_at, timing.expiry_margin, view.now) {
            end(EndReason::TimedOut, "its time was over").await?;
            return Ok(());
        }
        if session.wire == Wire::Tty {
            if session.stage == Stage::Queued {
                self.run_fixed(session.id, session.epoch).await;
            }
            return Ok(());
        }
        let idle = Duration::from_secs(session.idle_secs) + timing.idle_margin;
        // Right after the database or this controller was away, nobody knows who was attached meanwhile.
        let known = view.heard_for >= timing.idle_margin;
        if session.stage == Stage::Running && known && passed(session.active_at, idle, view.now) {
            end(EndReason::Idle, "nobody was attached and nothing was printed").await?;
            return Ok(());
        }
        if !session.runner.is_some_and(|runner| view.known.contains(&runner)) {
            end(EndReason::RunnerLost, LOST).await?;
        }
        Ok(())
    }

    async fn judge_runner(
        self: &Arc<Self>,
        runner: &RunnerRecord,
        view: &View,
        grace: Duration,
    ) -> Result<(), StoreError> {
        let Some(id) = runner.session else {
            return self.judge_standby(runner, view, grace).await;
        };
        // A session that is not among the active ones has ended, or was created since.
        let session = match view.sessions.get(&id) {
            Some(&session) => Some(session),
            None => self.store.session(id).await?.and_then(|session| session.active()),
        };
        let Some(session) = session else {
            return self.judge_leftover(runner, id, view).await;
        };
        if session.wire == Wire::Tty {
            return Ok(());
        }
        if self.is_over(runner.id) || self.is_missing(runner, view) {
            self.conclude_missing(runner.id, grace).await?;
        } else if self.was_never_launched(runner, view) {
            tracing::warn!(session = %session.id, runner = %runner.id, "nobody launched a runner; launching another");
            if let Some(session) = self.store.session(id).await? {
                self.replace(session, runner.id, NEVER_LAUNCHED).await?;
            }
            return Ok(());
        } else if self.is_overdue(runner, view) {
            let why = if runner.handle.is_some() { NEVER_CALLED } else { NEVER_LAUNCHED };
            self.lose(session.id, runner.id, Ended::because(EndReason::StartFailed, why)).await?;
        } else if runner.state == RunnerState::Claimed && session.stage == Stage::Queued {
            self.spawn_assign(runner.id, None);
        }
        if runner.pool.is_some() && self.launcher.is_marked_standby(runner.id) {
            self.spawn_mark(runner.id, session.id, Duration::ZERO);
        }
        Ok(())
    }

    async fn judge_standby(
        self: &Arc<Self>,
        runner: &RunnerRecord,
        view: &View,
        grace: Duration,
    ) -> Result<(), StoreError> {
        if self.is_over(runner.id) || self.is_missing(runner, view) {
            self.conclude_missing(runner.id, grace).await?;
        } else if self.was_never_launched(runner, view) || self.is_overdue(runner, view) {
            self.spawn_discard(runner.id);
        }
        Ok(())
    }

    /// A runner whose session has ended stays a while for those who read the result, and then goes by itself.
    async fn judge_leftover(
        self: &Arc<Self>,
        runner: &RunnerRecord,
        session: SessionId,
        view: &View,
    ) -> Result<(), StoreError> {
        let ended_at = self.store.session(session).await?.map(|session| session.ended_at);
        let over = match ended_at {
            // Not ended after all: it was created after the sessions were read.
            Some(None) => return Ok(()),
            Some(Some(at)) => passed(at, self.config.linger + self.config.timing.linger_margin, view.now),
            None => true,
        };
        let has_nothing_to_show = runner.state == RunnerState::Booting && !self.busy.is(Work::Launching, runner.id);
        let is_gone = || self.is_over(runner.id) || self.is_missing(runner, view);
        if over || has_nothing_to_show || self.is_static() || is_gone() {
            self.spawn_discard(runner.id);
        }
        Ok(())
    }

    /// What exists without a row is nobody's.
    fn destroy_strangers(self: &Arc<Self>, view: &View) {
        let Some((before, _)) = &view.alive else { return };
        for &stranger in before.difference(&view.known) {
            self.spawn_discard(stranger);
        }
    }

    async fn conclude_missing(self: &Arc<Self>, runner: RunnerId, grace: Duration) -> Result<(), StoreError> {
        if grace.is_zero() {
            return self.conclude_runner(runner, grace).await;
        }
        self.spawn_gone(runner);
        Ok(())
    }

    fn spawn_discard(self: &Arc<Self>, runner: RunnerId) {
        if self.busy.is(Work::Destroying, runner) {
            return;
        }
        let lifecycle = Arc::clone(self);
        self.spawn(async move { lifecycle.discard(runner).await });
    }

    /// The launcher says that it is over; one that is doubtful is asked meanwhile.
    fn is_over(self: &Arc<Self>, runner: RunnerId) -> bool {
        match self.launcher.condition(runner) {
            Condition::Fine => false,
            Condition::Doubtful => {
                self.look_at(runner);
                false
            }
            Condition::Over(_) => true,
        }
    }

    /// It was launched, and is no more.
    fn is_missing(&self, runner: &RunnerRecord, view: &View) -> bool {
        let alive =
            |(before, after): &(HashSet<_>, HashSet<_>)| before.contains(&runner.id) || after.contains(&runner.id);
        let launched = runner.handle.is_some() || runner.state != RunnerState::Booting;
        launched && view.alive.as_ref().is_some_and(|both| !alive(both))
    }

    /// Its row was committed, and then whoever was to launch it died.
    fn was_never_launched(&self, runner: &RunnerRecord, view: &View) -> bool {
        let alive =
            |(before, after): &(HashSet<_>, HashSet<_>)| before.contains(&runner.id) || after.contains(&runner.id);
        runner.state == RunnerState::Booting
            && runner.handle.is_none()
            && !self.busy.is(Work::Launching, runner.id)
            && view.alive.as_ref().is_some_and(|both| !alive(both))
            // It is seen whenever its launch is tried again.
            && passed(runner.seen_at.unwrap_or(runner.created_at), self.config.timing.launch_grace, view.now)
    }

    fn is_overdue(&self, runner: &RunnerRecord, view: &View) -> bool {
        runner.state == RunnerState::Booting && passed(runner.created_at, self.config.boot_deadline, view.now)
    }
}

/// Lets others have their turn every now and then: nothing has to be waited for where nothing is to be done.
async fn give_way(number: usize) {
    if number % IN_A_ROW == IN_A_ROW - 1 {
        yield_now().await;
    }
}

/// Whether `after` has gone by since `since`.
fn passed(since: Time, after: Duration, now: Time) -> bool {
    let gone = now.duration_since(since);
    i64::try_from(after.as_millis()).is_ok_and(|after| gone.as_millis() >= i128::from(after))
}
