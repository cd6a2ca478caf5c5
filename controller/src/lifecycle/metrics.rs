//! What the lifecycle counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use service::metrics::Metrics;
use session::EndReason;
use store::{RunnerRecord, RunnerState, SessionRecord, Time};

/// One label, whose values are the words of a closed enum.
type Label = [(&'static str, &'static str); 1];

/// Seconds; from a standby's assignment to a cold start on a busy cluster.
const START_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

#[derive(Clone)]
pub(super) struct LifecycleMetrics {
    ended: Family<Label, Counter>,
    runners: Family<Label, Gauge>,
    start: Histogram,
    pub launch_retries: Counter,
    pub assign_retries: Counter,
    pub replaced: Counter,
}

impl LifecycleMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            ended: metrics.register("sessions_ended", "Sessions ended, by reason", Family::default()),
            runners: metrics.register("runners", "Runners that are not gone, by state", Family::default()),
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

    pub fn note_end(&self, reason: EndReason) {
        self.ended.get_or_create(&[("reason", reason.as_str())]).inc();
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
