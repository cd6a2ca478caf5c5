//! What the lifecycle counts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use service::metrics::Metrics;
use session::EndReason;
use store::{PoolRecord, RunnerRecord, RunnerState, SessionRecord, Time};

/// One label, whose values are the words of a closed enum.
type Label = [(&'static str, &'static str); 1];

/// Seconds; from a standby's assignment to a cold start on a busy cluster.
const START_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A template's name: as many as the server is configured with.
type Template = [(&'static str, String); 1];
type PoolState = [(&'static str, String); 2];

#[derive(Clone)]
pub(super) struct LifecycleMetrics {
    ended: Family<Label, Counter>,
    runners: Family<Label, Gauge>,
    pool_runners: Family<PoolState, Gauge>,
    pool_failures: Family<Template, Gauge>,
    warm: Family<Template, Counter>,
    cold: Family<Template, Counter>,
    idle_seconds: Family<Template, Counter<f64, AtomicU64>>,
    session_seconds: Family<Template, Counter<f64, AtomicU64>>,
    start: Histogram,
    pub launch_retries: Counter,
    pub assign_retries: Counter,
    pub replaced: Counter,
}

fn template(name: &str) -> Template {
    [("template", name.to_owned())]
}

impl LifecycleMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            ended: metrics.register("sessions_ended", "Sessions ended, by reason", Family::default()),
            runners: metrics.register("runners", "Runners that are not gone, by state", Family::default()),
            pool_runners: metrics.register("pool_runners", "A pool's runners, by state", Family::default()),
            pool_failures: metrics.register(
                "pool_failures",
                "Standbys of a pool that failed in a row",
                Family::default(),
            ),
            warm: metrics.register("warm_starts", "Sessions that were given a standby", Family::default()),
            cold: metrics.register("cold_starts", "Sessions that a runner was launched for", Family::default()),
            idle_seconds: metrics.register(
                "standby_idle_seconds",
                "Time that standbys were ready for nobody, counted when they are claimed or retired",
                Family::default(),
            ),
            session_seconds: metrics.register(
                "session_seconds",
                "Time that sessions' commands ran, counted when they end",
                Family::default(),
            ),
            start: metrics.register(
                "session_start_seconds",
                "From a session's creation to a runner's acceptance of it",
                Histogram::new(START_BUCKETS),
            ),
            launch_retries: metrics.register(
                "launch_retries",
                "Launches tried again, since the launcher's engine was away",
                Counter::default(),
            ),
            assign_retries: metrics.register(
                "assign_retries",
                "Assignments sent again to the same runner",
                Counter::default(),
            ),
            replaced: metrics.register(
                "runners_replaced",
                "Runners replaced before they took a session",
                Counter::default(),
            ),
        };
        // Every reason is there from the start, so that a first occurrence is an increase.
        for reason in EndReason::ALL {
            let _ = this.ended.get_or_create(&[("reason", reason.as_str())]);
        }
        this
    }

    pub fn note_end(&self, session: &SessionRecord, reason: EndReason) {
        self.ended.get_or_create(&[("reason", reason.as_str())]).inc();
        if let Some((started, ended)) = session.started_at.zip(session.ended_at) {
            let seconds = ended.duration_since(started).as_secs_f64().max(0.0);
            self.session_seconds.get_or_create(&template(&session.spec.template)).inc_by(seconds);
        }
    }

    /// Everything that is counted by template is there from the start.
    pub fn know(&self, of: &str) {
        for counter in [&self.warm, &self.cold] {
            let _ = counter.get_or_create(&template(of));
        }
        for seconds in [&self.idle_seconds, &self.session_seconds] {
            let _ = seconds.get_or_create(&template(of));
        }
    }

    pub fn note_cold(&self, of: &str) {
        self.cold.get_or_create(&template(of)).inc();
    }

    pub fn note_claim(&self, of: &str, idle: Duration) {
        self.warm.get_or_create(&template(of)).inc();
        self.note_idle(of, idle);
    }

    pub fn note_idle(&self, of: &str, idle: Duration) {
        self.idle_seconds.get_or_create(&template(of)).inc_by(idle.as_secs_f64());
    }

    pub fn show_pools(&self, pools: &[PoolRecord]) {
        // What is not there any more is not shown any more.
        self.pool_runners.clear();
        self.pool_failures.clear();
        for pool in pools {
            for (state, count) in [("booting", pool.booting), ("idle", pool.idle), ("claimed", pool.claimed)] {
                let labels = [("template", pool.name.clone()), ("state", state.to_owned())];
                self.pool_runners.get_or_create(&labels).set(i64::from(count));
            }
            self.pool_failures.get_or_create(&template(&pool.name)).set(i64::from(pool.failures));
        }
    }

    pub fn note_start(&self, session: &SessionRecord, now: Time) {
        self.start.observe(now.duration_since(session.created_at).as_secs_f64().max(0.0));
    }

    pub fn show_runners(&self, runners: &[RunnerRecord]) {
        for state in RunnerState::ALL.into_iter().filter(|state| *state != RunnerState::Gone) {
            let count = runners.iter().filter(|runner| runner.state == state).count();
            self.runners.get_or_create(&[("state", state.as_str())]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
