//! Starting a session: its runner is launched, or another in its place.

use std::sync::Arc;

use backon::BackoffBuilder;
use session::{EndReason, Ended, RunnerId, SessionId, Stage};
use store::{Beat, RunnerState, SessionRecord, StoreError, Time};
use tokio::time::Instant;

use super::Lifecycle;
use super::busy::Work;
use super::plan::Plan;
use crate::fault::{self, Point};
use crate::launcher::{Launch, LaunchError};

/// How many runners a session is given in place of ones that did not take it.
pub(super) const MAX_REPLACEMENTS: u64 = 2;
/// The epoch that a session is created with; each replacement raises it by one.
const FIRST_EPOCH: u64 = 1;

/// What a runner is launched for.
#[derive(Debug, Clone)]
struct Errand {
    /// `None`: for nobody yet, a standby.
    session: Option<SessionId>,
    template: String,
}

/// How a launch went.
enum Launched {
    /// With its handle.
    Made(String),
    /// The session has ended meanwhile, or has another runner.
    Unwanted,
    /// This server stops, so another controller has to find it.
    Left,
    Failed(LaunchError),
}

/// A sign of life of a runner that is still to be made.
fn trying(runner: RunnerId) -> Beat {
    Beat { runner, operators: 0, quiet_ms: 0 }
}

impl Lifecycle {
    /// A server at a fixed address is simply there.
    pub(super) async fn run_fixed(&self, session: SessionId, epoch: u64) {
        // Its failure is logged, and the reconciler does the same again.
        let _ = self.persist("advance", || self.store.advance(session, epoch, Stage::Running, Time::now())).await;
    }

    pub(super) fn spawn_launch(self: &Arc<Self>, session: SessionId, template: String, plan: Plan) {
        self.spawn_errand(Errand { session: Some(session), template }, plan);
    }

    pub(super) fn spawn_standby(self: &Arc<Self>, template: String, plan: Plan) {
        self.spawn_errand(Errand { session: None, template }, plan);
    }

    fn spawn_errand(self: &Arc<Self>, errand: Errand, plan: Plan) {
        let Some(at_work) = self.busy.begin(Work::Launching, plan.runner) else { return };
        let lifecycle = Arc::clone(self);
        // A launch that a stop broke off would be found by the next controller, but late.
        self.spawn_short(async move {
            // An error was logged, and the reconciler finds the rest.
            let _ = lifecycle.launch(errand, plan).await;
            drop(at_work);
        });
    }

    async fn launch(self: &Arc<Self>, errand: Errand, plan: Plan) -> Result<(), StoreError> {
        let runner = plan.runner;
        fault::pass(Point::BeforeLaunch);
        let handle = match self.launch_until_answered(&errand, plan).await? {
            Launched::Made(handle) => handle,
            Launched::Left => return Ok(()),
            Launched::Unwanted => {
                self.discard(runner).await;
                return Ok(());
            }
            Launched::Failed(error) => {
                let Some(session) = errand.session else {
                    tracing::warn!(%runner, template = errand.template, %error, "a standby could not be launched");
                    self.discard(runner).await;
                    return Ok(());
                };
                tracing::error!(%session, %runner, %error, "a runner could not be launched");
                let ended = Ended::because(EndReason::StartFailed, error.caller_message());
                return self.lose(session, runner, ended).await;
            }
        };
        fault::pass(Point::Launched);
        let note = || self.store.set_runner_handle(runner, handle.clone());
        let is_wanted = self.persist("set_runner_handle", note).await?;
        fault::pass(Point::HandleStored);
        // Whoever ended the session meanwhile found no runner to end; who ends it from now on finds this one.
        if !is_wanted {
            self.discard(runner).await;
        }
        Ok(())
    }

    /// Launches; again and again while the launcher's engine is away, until the runner could not boot in time any more.
    async fn launch_until_answered(&self, errand: &Errand, plan: Plan) -> Result<Launched, StoreError> {
        let runner = plan.runner;
        let timing = &self.config.timing;
        // Before the reconciler, which would say that the runner never called.
        let limit = self.config.boot_deadline.saturating_sub(timing.reconcile_every);
        let deadline = Instant::now() + limit;
        let mut pauses = timing.launch_pauses().build();
        loop {
            let (boot_token, internal_url) = (plan.boot_token.clone(), self.config.internal_url.clone());
            let (template, standby) = (errand.template.clone(), errand.session.is_none());
            let launch = Launch { runner, boot_token, internal_url, template, standby };
            let error = match self.launcher.launch(launch).await {
                Ok(handle) => return Ok(Launched::Made(handle)),
                Err(error @ LaunchError::Away(_)) => error,
                Err(error) => return Ok(Launched::Failed(error)),
            };
            let pause = pauses.next().unwrap_or(timing.launch_retry.1);
            // Nobody waits for a standby: its pool tries another, later.
            if errand.session.is_none() || Instant::now() + pause >= deadline {
                return Ok(Launched::Failed(error));
            }
            tracing::warn!(%runner, %error, "the launcher is away; trying again");
            self.metrics.launch_retries.inc();
            self.shutdown.token().run_until_cancelled(tokio::time::sleep(pause)).await;
            if self.shutdown.is_stopping() {
                return Ok(Launched::Left);
            }
            if !self.is_wanted(errand, runner).await? {
                return Ok(Launched::Unwanted);
            }
            // So that no other controller takes it for one that nobody launches.
            self.persist("beat", || self.store.beat(vec![trying(runner)], Time::now())).await?;
        }
    }

    /// Whether the session still waits for this runner; a standby is wanted until it is retired.
    async fn is_wanted(&self, errand: &Errand, runner: RunnerId) -> Result<bool, StoreError> {
        let row = self.persist("runner", || self.store.runner(runner)).await?;
        if row.is_none_or(|row| row.state == RunnerState::Gone) {
            return Ok(false);
        }
        let Some(session) = errand.session else { return Ok(true) };
        let record = self.persist("session", || self.store.session(session)).await?;
        Ok(record.is_some_and(|record| record.ended.is_none() && record.runner == Some(runner)))
    }

    /// Gives the session another runner in place of one that has not taken it, unless that was tried too often.
    pub(super) async fn replace(
        self: &Arc<Self>,
        session: SessionRecord,
        old: RunnerId,
        given_up: &str,
    ) -> Result<(), StoreError> {
        if session.epoch >= FIRST_EPOCH + MAX_REPLACEMENTS {
            tracing::error!(session = %session.id, runner = %old, "no runner took the session");
            return self.lose(session.id, old, Ended::because(EndReason::StartFailed, given_up)).await;
        }
        let Ok(plan) = self.plan() else {
            let why = "the server has no random numbers";
            return self.lose(session.id, old, Ended::because(EndReason::StartFailed, why)).await;
        };
        let replace = || self.store.replace_runner(session.id, old, plan.new_runner(), Time::now());
        if let Some(next) = self.persist("replace_runner", replace).await? {
            tracing::warn!(session = %session.id, %old, new = %next.runner, "runner replaced");
            self.metrics.replaced.inc();
            match next.idle_since {
                Some(idle_since) => {
                    self.spawn_assign(next.runner, None);
                    self.note_claim(&SessionRecord { runner: Some(next.runner), ..session.clone() }, idle_since);
                }
                None => self.spawn_launch(session.id, session.spec.template.clone(), plan),
            }
        }
        // Replaced by us or by another controller, or its session took it after all or has ended.
        let now = self.persist("session", || self.store.session(session.id)).await?;
        if now.is_none_or(|now| now.runner != Some(old)) {
            self.discard(old).await;
        }
        Ok(())
    }

    /// Ends a session for the sake of its runner, provided that it still has this one, and discards the runner.
    pub(super) async fn lose(
        self: &Arc<Self>,
        session: SessionId,
        runner: RunnerId,
        ended: Ended,
    ) -> Result<(), StoreError> {
        let record = self.persist("session", || self.store.session(session)).await?;
        if let Some(record) = record.filter(|record| record.runner == Some(runner) && record.ended.is_none()) {
            // The epoch keeps a session that was given another runner at this moment.
            let end = || self.store.end(session, Some(record.epoch), ended.clone(), Time::now());
            self.note(self.persist("end", end).await?);
        }
        self.discard(runner).await;
        Ok(())
    }
}
