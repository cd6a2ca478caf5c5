//! The life of sessions and their runners, from the transaction that created a session to the last trace of its runner.
//!
//! One start path: a runner is launched blank (`start`), calls home (`calls`), and is assigned (`assign`). It reports
//! its stages and its end (`calls`), and is destroyed with all that it ran (`finish`). The database is the truth:
//! everything here may be done twice, by two controllers at once, or not at all because a controller died, and then the
//! reconciler (`reconcile`) does it.

mod assign;
mod busy;
mod calls;
mod client;
mod config;
mod deadline;
mod finish;
mod heartbeats;
mod metrics;
mod plan;
mod pools;
mod reconcile;
mod start;
mod verdicts;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use service::Shutdown;
use service::metrics::Metrics;
use session::{Ended, RunnerId, SessionId};
use store::{EndOutcome, Idle, SessionRecord, Store, StoreError};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use crate::launcher::{Launcher, LauncherKind, Unavailable};
use crate::recording::Recordings;
use busy::Busy;
use client::RunnerClient;
use heartbeats::Heartbeats;
use metrics::LifecycleMetrics;

pub use config::{LifecycleConfig, PoolConfig, Timing, WhenEmpty};
pub use plan::{Plan, PlanError};

/// How long a stop lets what is soon done finish.
const FINISH: Duration = Duration::from_secs(4);
/// Sessions and runners that the reconciler reads in a second: it looks the less often the more there are. What cannot
/// wait, the launcher's news and the runners themselves tell.
const RECONCILED_A_SECOND: f64 = 2_000.0;
/// However many there are, nobody waits longer for what another controller left undone.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Starts, watches and ends sessions. Shared as an `Arc`.
pub struct Lifecycle {
    store: Arc<dyn Store>,
    launcher: Arc<dyn Launcher>,
    config: LifecycleConfig,
    shutdown: Shutdown,
    client: RunnerClient,
    metrics: LifecycleMetrics,
    heartbeats: Heartbeats,
    /// What this controller is doing to which runner, so that it does not do it twice at once. Other controllers may:
    /// that is safe, only wasteful.
    busy: Busy,
    /// Since when this controller's reconciler has reached the database every time.
    heard_since: Mutex<Option<Instant>>,
    /// The launcher could not say which runners exist when it was last asked.
    blind: AtomicBool,
    pools_changed: Notify,
    /// Everything is being ended: no standby is made any more.
    closing: AtomicBool,
}

impl Lifecycle {
    pub fn new(
        store: Arc<dyn Store>,
        launcher: Arc<dyn Launcher>,
        config: LifecycleConfig,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let client = RunnerClient::new(&config.timing);
        let metrics = LifecycleMetrics::new(metrics);
        config.pools.iter().for_each(|pool| metrics.know(&pool.name));
        Arc::new(Self {
            store,
            launcher,
            config,
            shutdown,
            client,
            metrics,
            heartbeats: Heartbeats::default(),
            busy: Busy::default(),
            heard_since: Mutex::default(),
            blind: AtomicBool::new(false),
            pools_changed: Notify::new(),
            closing: AtomicBool::new(false),
        })
    }

    /// Why no runner could be launched now, where that is known.
    pub fn launcher_away(&self) -> Option<Unavailable> {
        self.launcher.available().err()
    }

    /// Draws what a new session's runner will be known by.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        Plan::draw(self.launcher.fixed_address())
    }

    /// Starts what the committed session is to run on: the standby that had been idle, or a runner of its own. Returns at
    /// once.
    pub fn begin(self: &Arc<Self>, session: &SessionRecord, runner: RunnerId, idle: Option<Idle>, plan: Plan) {
        if self.is_static() {
            let (lifecycle, id, epoch) = (Arc::clone(self), session.id, session.epoch);
            self.spawn(async move { lifecycle.run_fixed(id, epoch).await });
        } else if let Some(Idle { since, assignment }) = idle {
            self.spawn_assign(runner, assignment);
            self.note_claim(session, since);
        } else {
            self.metrics.note_cold(&session.spec.template);
            self.spawn_launch(session.id, session.spec.template.clone(), plan);
        }
    }

    /// Ends a session: in the database first, where the first reason wins; then its runner is told, and destroyed when
    /// it does not go by itself. Returns once the database has it.
    pub async fn end(self: &Arc<Self>, session: SessionId, ended: Ended) -> Result<EndOutcome, StoreError> {
        self.end_as(session, None, ended).await
    }

    /// Where the session's code and command are on this machine, while they are.
    pub fn workspace(&self, runner: RunnerId) -> Option<PathBuf> {
        self.launcher.workspace(runner)
    }

    /// Ends what an earlier run of this server left behind: processes, and the sessions that they served. To be called
    /// before anything is served, and only by a server whose launcher nobody else uses.
    pub async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        if let Err(error) = self.launcher.sweep().await {
            tracing::error!(%error, "not all of an earlier run could be ended");
        }
        self.reconcile_without_grace().await
    }

    pub fn recordings(&self) -> Option<&Arc<Recordings>> {
        self.config.recordings.as_ref()
    }

    /// Starts the reconciler, the pools' keeper, pruning, the recordings' sweep, and listening to heartbeats and to the
    /// launcher, until shutdown.
    pub fn run(self: &Arc<Self>) {
        let lifecycle = Arc::clone(self);
        self.spawn(async move { lifecycle.keep_reconciling().await });
        let lifecycle = Arc::clone(self);
        self.spawn(async move { lifecycle.keep_pruning().await });
        let lifecycle = Arc::clone(self);
        self.spawn(async move { lifecycle.keep_pools().await });
        if let Some(recordings) = self.recordings() {
            recordings.run();
        }
        let lifecycle = Arc::clone(self);
        self.spawn(async move { lifecycle.listen_to_news().await });
        // Not stopped by shutdown but told of it, so that it hears those that wait.
        self.shutdown.spawn(Arc::clone(self).hear_heartbeats(self.shutdown.token()));
    }

    async fn keep_reconciling(self: Arc<Self>) {
        loop {
            let rows = self.reconcile().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "reconciling failed; it is tried again");
                0
            });
            tokio::time::sleep(pause_after(rows, self.config.timing.reconcile_every)).await;
        }
    }

    async fn keep_pruning(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.config.timing.prune_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.store.prune(self.config.retention, store::Time::now()).await {
                Ok(pruned) => tracing::debug!(?pruned, "pruned"),
                Err(error) => tracing::warn!(%error, "pruning failed; it is tried again"),
            }
        }
    }

    async fn listen_to_news(self: Arc<Self>) {
        let Some(mut news) = self.launcher.news() else { return };
        loop {
            match news.recv().await {
                Ok(runner) => self.look_at(runner),
                // The reconciler finds what was missed.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn is_static(&self) -> bool {
        self.launcher.kind() == LauncherKind::Static
    }

    /// Runs a task until it is done or the server stops; what it leaves undone, the next reconciler does.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.token();
        self.shutdown.spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// The same for a task that is soon done: a stop lets it finish.
    fn spawn_short(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.token();
        self.shutdown.spawn(async move {
            let late = async {
                token.cancelled().await;
                tokio::time::sleep(FINISH).await;
            };
            tokio::select! {
                () = task => {}
                () = late => tracing::warn!("a stop broke off what others will have to find"),
            }
        });
    }

    /// Repeats a database operation while the database is away, for about a minute.
    async fn persist<T, F>(&self, what: &'static str, operation: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        operation
            .retry(self.config.timing.persist())
            .when(|error| matches!(error, StoreError::Unavailable(_)))
            .notify(|error, _| tracing::warn!(%error, what, "the database is away; trying again"))
            .await
            .inspect_err(|error| tracing::error!(%error, what, "given up; the reconciler will see to it"))
    }
}

/// From a look of the reconciler at so many rows to the next one.
fn pause_after(rows: usize, least: Duration) -> Duration {
    Duration::from_secs_f64(rows as f64 / RECONCILED_A_SECOND).min(LONGEST_PAUSE).max(least)
}

impl Timing {
    fn persist(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .without_max_times()
            .with_total_delay(Some(self.persist_for))
            .with_jitter()
    }

    /// Jittered, so that the sessions that waited do not all come at once when the engine returns.
    fn launch_pauses(&self) -> ExponentialBuilder {
        let (first, longest) = self.launch_retry;
        ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reconciler_looks_less_often_beside_many_and_never_too_seldom() {
        let seconds = |rows| pause_after(rows, Duration::from_secs(2)).as_secs_f64();
        assert_eq!([0, 4_000, 12_000, 20_000, 1_000_000].map(seconds), [2.0, 2.0, 6.0, 10.0, 10.0]);
    }
}
