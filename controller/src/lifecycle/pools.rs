//! Keeping pools of standbys: filled to what they shall be, of the right template, and not older than they may be.
//!
//! What is exact across controllers, the store decides in one transaction (`store::pools`); here is what follows from it.
//! A standby is launched as any runner is (`start`), only that no session waits for it. Whatever is left undone (a row
//! without a launch, a runner without a row) the reconciler finds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use session::runner_api::PROTOCOL_VERSION;
use session::{RunnerId, SessionId};
use store::pools::REFILL_WINDOW;
use store::{Digest, Hold, PoolTarget, Retired, SessionRecord, StoreError, Time};
use tokio::time::MissedTickBehavior;

use super::Lifecycle;
use super::busy::Work;
use super::config::{PoolConfig, WhenEmpty};
use super::plan::Plan;

/// From a claim to telling the launcher of it, which costs the launcher's engine and the node's agent more processor time
/// than the start costs anybody: those who start at the same moment do not wait for each other's labels.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// From a claim to filling the pool again: those who start together cost it one look, and no runner that boots for later
/// is in the way of their starts.
const GATHER: Duration = Duration::from_millis(200);

impl Lifecycle {
    /// Whether sessions of this template start on a standby or not at all.
    pub fn refuses_cold(&self, template: &str) -> bool {
        let pool = self.config.pools.iter().find(|pool| pool.name == template);
        pool.is_some_and(|pool| pool.when_empty == WhenEmpty::Refuse)
    }

    /// Wakes whoever keeps the pools: one of them may lack a standby.
    pub fn pools_changed(&self) {
        self.pools_changed.notify_one();
    }

    pub(super) async fn keep_pools(self: Arc<Self>) {
        if self.is_static() {
            return;
        }
        let targets = self.targets();
        for target in &targets {
            // One that fails is adopted by its first refill, or when nobody has confirmed it for a while.
            let _ = self.persist("adopt_pool", || self.store.adopt_pool(target.clone(), Time::now())).await;
        }
        let mut ticks = tokio::time::interval(self.config.timing.reconcile_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.pools_changed.notified() => tokio::time::sleep(GATHER).await,
            }
            if let Err(error) = self.tend_pools(&targets).await {
                tracing::warn!(%error, "the pools could not be kept; it is tried again");
            }
        }
    }

    /// Every pool as the store is told of it, the most important first.
    fn targets(&self) -> Vec<PoolTarget> {
        let mut pools: Vec<&PoolConfig> = self.config.pools.iter().collect();
        pools.sort_by_key(|pool| std::cmp::Reverse(pool.priority));
        pools.into_iter().map(|pool| self.target(pool)).collect()
    }

    fn target(&self, pool: &PoolConfig) -> PoolTarget {
        let made_of = self.launcher.template_digest(&pool.name);
        // A standby calls home where it was told to, in the words of its release.
        let template = digest(&format!("{made_of} {PROTOCOL_VERSION} {}", self.config.internal_url));
        let window = u64::from(pool.per_minute) * REFILL_WINDOW.as_secs();
        PoolTarget {
            name: pool.name.clone(),
            revision: digest(&format!("{template} {pool:?}")),
            template,
            min: pool.min,
            max: pool.max,
            burst: u32::try_from(window.div_ceil(60)).unwrap_or(u32::MAX),
            max_idle: pool.max_idle,
        }
    }

    async fn tend_pools(self: &Arc<Self>, targets: &[PoolTarget]) -> Result<(), StoreError> {
        if self.closing.load(Ordering::SeqCst) {
            return Ok(());
        }
        for target in targets {
            self.discard_retired(self.store.retire_standbys(target.clone(), Time::now()).await?);
        }
        // Nothing could be launched: rows without runners would only have to be cleaned up.
        let mut may_launch = self.launcher.available().is_ok();
        for target in targets {
            let is_served = self.refill(target, may_launch).await?;
            // The less important ones wait for one that is not.
            may_launch &= is_served;
        }
        // After every pool of ours was confirmed, however long the database, or this process, had been away.
        self.discard_retired(self.store.retire_abandoned(Time::now()).await?);
        self.metrics.show_pools(&self.store.pools().await?);
        Ok(())
    }

    /// Whether the next pool may be filled: this one is full, or nothing can be done for it now. A pool for which nothing
    /// may be launched is confirmed all the same, or its standbys would be taken for abandoned.
    async fn refill(self: &Arc<Self>, target: &PoolTarget, may_launch: bool) -> Result<bool, StoreError> {
        let most = if may_launch { target.min.min(target.burst) } else { 0 };
        // Without random numbers, none.
        let plans: Vec<Plan> = (0..most).map_while(|_| self.plan().ok()).collect();
        let offered = plans.iter().map(Plan::new_runner).collect();
        let refill = self.store.refill_pool(target.clone(), offered, Time::now()).await?;
        if refill.added > 0 {
            tracing::debug!(pool = target.name, added = refill.added, missing = refill.missing, "standbys added");
        }
        for plan in plans.into_iter().take(refill.added) {
            self.spawn_standby(target.name.clone(), plan);
        }
        Ok(refill.missing == 0 || !matches!(refill.hold, None | Some(Hold::Rate)))
    }

    fn discard_retired(self: &Arc<Self>, retired: Vec<Retired>) {
        for standby in retired {
            tracing::debug!(runner = %standby.runner, pool = standby.pool, "a standby is retired");
            self.metrics.note_idle(&standby.pool, standby.idle);
            let lifecycle = Arc::clone(self);
            self.spawn_short(async move { lifecycle.discard(standby.runner).await });
        }
    }

    /// What follows from a claim, beside the start itself: it is counted, the launcher is told, the pool lacks one.
    pub(super) fn note_claim(self: &Arc<Self>, session: &SessionRecord, idle_since: Time) {
        let idle = session.created_at.duration_since(idle_since);
        self.metrics.note_claim(&session.spec.template, idle.try_into().unwrap_or_default());
        if let Some(runner) = session.runner {
            self.spawn_mark(runner, session.id, MARK_AFTER);
        }
        self.pools_changed();
    }

    /// Tells the launcher that a standby is a session's now, off the start path and however long that takes.
    pub(super) fn spawn_mark(self: &Arc<Self>, runner: RunnerId, session: SessionId, after: Duration) {
        let Some(at_work) = self.busy.begin(Work::Marking, runner) else { return };
        let lifecycle = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(after).await;
            if let Err(error) = lifecycle.launcher.mark_claimed(runner, session).await {
                // The reconciler does it again.
                tracing::debug!(%runner, %error, "a claimed standby could not be marked");
            }
            drop(at_work);
        });
    }
}

fn digest(text: &str) -> String {
    hex::encode(Digest::of(text.as_bytes()).0)
}
