//! What the lifecycle is set to, and how long it waits for what.

use std::sync::Arc;
use std::time::Duration;

use session::AllowedHosts;
use session::runner_api::FetchPolicy;
use store::Retention;
use url::Url;

use crate::recording::Recordings;

#[derive(Debug, Clone)]
pub struct LifecycleConfig {
    /// Where runners call home.
    pub internal_url: Url,
    /// What runners may fetch from.
    pub fetch: FetchPolicy,
    /// From creating a runner to its call home.
    pub boot_deadline: Duration,
    /// How long a runner stays after its session's end by itself, as it was told at its launch.
    pub linger: Duration,
    pub retention: Retention,
    /// `None`: nothing is recorded.
    pub recordings: Option<Arc<Recordings>>,
    /// One for each template, also where no standbys are kept.
    pub pools: Vec<PoolConfig>,
    pub timing: Timing,
}

/// A template's standbys: how many, for how long, and what happens when there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// The template's.
    pub name: String,
    /// Standbys that are kept, booting ones included.
    pub min: u32,
    /// Runners of the pool that may live at once, those that sessions have included.
    pub max: u32,
    /// Standbys that are added in a minute at most.
    pub per_minute: u32,
    /// From when a standby is replaced by a fresh one.
    pub max_idle: Duration,
    /// Pools of higher priority are filled first.
    pub priority: i32,
    pub when_empty: WhenEmpty,
}

/// What becomes of a session for which no standby is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenEmpty {
    /// A runner is launched for it.
    #[default]
    Launch,
    /// It is put off: 503, with Retry-After.
    Refuse,
}

impl PoolConfig {
    pub const MAX: u32 = 100;
    pub const PER_MINUTE: u32 = 60;
    /// How long a runner waits for a session where nobody tells it otherwise.
    pub const PROCESSES_WAIT: Duration = Duration::from_secs(3600);

    /// A pool that keeps this many, with the defaults otherwise. Standbys are replaced before they give up themselves.
    pub fn keeping(name: &str, min: u32, runners_wait: Duration) -> Self {
        Self {
            name: name.to_owned(),
            min,
            max: Self::MAX.max(min.saturating_mul(10)),
            per_minute: Self::PER_MINUTE,
            max_idle: runners_wait * 5 / 6,
            priority: 0,
            when_empty: WhenEmpty::Launch,
        }
    }
}

impl LifecycleConfig {
    pub fn new(fetch: FetchPolicy, internal_url: Url) -> Self {
        Self {
            internal_url,
            fetch,
            boot_deadline: Duration::from_secs(30),
            linger: Duration::from_secs(60),
            retention: Retention::default(),
            recordings: None,
            pools: Vec::new(),
            timing: Timing::default(),
        }
    }
}

impl Default for LifecycleConfig {
    /// Runners on this machine, which fetch from public hosts only.
    fn default() -> Self {
        let fetch = FetchPolicy { allowed_hosts: AllowedHosts::any(), allow_private: false, allow_local: false };
        // A literal.
        Self::new(fetch, Url::parse("http://127.0.0.1:8081").expect("a URL"))
    }
}

/// Times that only tests have a reason to change.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From one look of the reconciler to the next, while there are few rows to look at.
    pub reconcile_every: Duration,
    pub prune_every: Duration,
    /// A heartbeat waits at most this long to be written.
    pub heartbeat_flush: Duration,
    /// Connecting to a runner.
    pub connect_timeout: Duration,
    /// One attempt to assign.
    pub assign_timeout: Duration,
    /// All attempts to assign one runner, from the first to the last.
    pub assign_for: Duration,
    /// Telling a runner to end.
    pub tell_timeout: Duration,
    /// From a runner's exit to giving up on its last report.
    pub exit_grace: Duration,
    /// From learning that a runner which was told to stop is over to giving up on learning why.
    pub verdict_patience: Duration,
    /// How long such a runner may take until the launcher sees that it is over.
    pub stop_patience: Duration,
    /// How long the launcher is waited for to learn a runner's address.
    pub address_patience: Duration,
    /// One question to a runner whose machine does not answer; three of them decide.
    pub ask_timeout: Duration,
    /// From one such round to the next, while the runner answers.
    pub doubt_pause: Duration,
    /// Between attempts to launch while the launcher is away: the first pause, and the longest.
    pub launch_retry: (Duration, Duration),
    /// From creating a runner's row to concluding that nobody launched it.
    pub launch_grace: Duration,
    /// The runner's own timer comes first: this much after a deadline we enforce it.
    pub expiry_margin: Duration,
    /// The same for being idle, where what we know is as old as the last heartbeat: two of them, with their jitter.
    pub idle_margin: Duration,
    /// The same for lingering.
    pub linger_margin: Duration,
    /// How long a database that is away is tried.
    pub persist_for: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            reconcile_every: Duration::from_secs(2),
            prune_every: Duration::from_secs(60),
            heartbeat_flush: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
            assign_timeout: Duration::from_secs(5),
            assign_for: Duration::from_secs(20),
            tell_timeout: Duration::from_secs(3),
            exit_grace: Duration::from_secs(2),
            verdict_patience: Duration::from_millis(1500),
            stop_patience: Duration::from_secs(6),
            address_patience: Duration::from_secs(1),
            ask_timeout: Duration::from_millis(1600),
            doubt_pause: Duration::from_secs(5),
            launch_retry: (Duration::from_millis(250), Duration::from_secs(4)),
            launch_grace: Duration::from_secs(10),
            expiry_margin: Duration::from_secs(5),
            idle_margin: Duration::from_secs(150),
            linger_margin: Duration::from_secs(10),
            persist_for: Duration::from_secs(60),
        }
    }
}
