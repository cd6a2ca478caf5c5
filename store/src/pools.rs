//! Pools of standbys: runners that are made before anybody asks for them. What a controller wants of a pool, how filling
//! it went, and what is retired.
//!
//! Controllers may be configured differently for a while, as they are in a rolling update. The one that was started last
//! adopts a pool; the others leave it alone until nobody confirms it any more.

use std::time::Duration;

use session::RunnerId;

use crate::Time;

/// The window that a pool's growth is counted in.
pub const REFILL_WINDOW: Duration = Duration::from_secs(10);
/// A pool that no controller has confirmed for this long is nobody's: whoever is configured with it may adopt it, and
/// the standbys of one that nobody is configured with are retired.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// A standby that dies within this time of its call home counts as failed, like one that never calls.
pub const EARLY_DEATH: Duration = Duration::from_secs(30);
/// Failures are forgotten after this long without another.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// The pause after the first failure; each further one doubles it.
pub const FIRST_BACK_OFF: Duration = Duration::from_secs(2);
/// The longest pause.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// What a controller wants a pool to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTarget {
    /// Of the template that its standbys are made of.
    pub name: String,
    /// Digest of that template: standbys of another one are retired, and never handed out.
    pub template: String,
    /// Digest of all that the pool is configured as.
    pub revision: String,
    /// Standbys to be kept, booting ones included.
    pub min: u32,
    /// Runners of this pool that may live at once, those that sessions have included.
    pub max: u32,
    /// Standbys that may be added within any [`REFILL_WINDOW`].
    pub burst: u32,
    /// From when a standby that nobody asked for is replaced.
    pub max_idle: Duration,
}

/// Why a pool is not filled although standbys are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Another controller is configured differently, and was started later.
    Superseded,
    Paused,
    /// Standbys failed; the next is tried then.
    BackingOff {
        until: Time,
    },
    /// As many runners live as may.
    Full,
    /// As many were added as may be in so short a time.
    Rate,
}

/// How filling a pool went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    /// How many of the runners that were offered are standbys now: the first ones.
    pub added: usize,
    /// How many standbys are missing still.
    pub missing: u32,
    /// Why, unless fewer were offered than are missing.
    pub hold: Option<Hold>,
}

/// A standby that was retired: its runner is to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    pub runner: RunnerId,
    pub pool: String,
    pub handle: Option<String>,
    /// How long it was ready for nobody.
    pub idle: Duration,
}

/// A pool as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    pub name: String,
    pub template: String,
    pub paused: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is added before.
    pub retry_at: Option<Time>,
    pub booting: u32,
    pub idle: u32,
    pub claimed: u32,
}

/// What filling is decided on: a pool's row, and its runners counted.
#[derive(Debug, Clone)]
pub(crate) struct PoolSight {
    pub revision: String,
    pub paused: bool,
    pub retry_at: Option<Time>,
    /// Booting and idle ones of the pool's template.
    pub standing: u32,
    /// All that are not gone.
    pub living: u32,
    /// Added within the window.
    pub recent: u32,
}

impl PoolTarget {
    /// How many standbys to add. The caller holds the lock of the pool, so that nobody else adds meanwhile.
    pub(crate) fn judge(&self, sight: &PoolSight, offered: usize, now: Time) -> Refill {
        let missing = self.min.saturating_sub(sight.standing);
        let held = |hold| Refill { added: 0, missing, hold: Some(hold) };
        if sight.revision != self.revision {
            return held(Hold::Superseded);
        }
        if missing == 0 {
            return Refill { added: 0, missing, hold: None };
        }
        if sight.paused {
            return held(Hold::Paused);
        }
        if let Some(until) = sight.retry_at.filter(|until| *until > now) {
            return held(Hold::BackingOff { until });
        }
        let (room, pace) = (self.max.saturating_sub(sight.living), self.burst.saturating_sub(sight.recent));
        let wanted = missing.min(room).min(pace);
        let added = offered.min(wanted as usize);
        let missing = missing - added as u32;
        let hold = match () {
            _ if missing == 0 || added < wanted as usize => None,
            _ if room <= pace => Some(Hold::Full),
            _ => Some(Hold::Rate),
        };
        Refill { added, missing, hold }
    }
}

/// How long a standby was ready; one that never called home was not.
pub(crate) fn since(ready: Option<Time>, now: Time) -> Duration {
    ready.map_or(Duration::ZERO, |ready| Duration::try_from(now.duration_since(ready)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(min: u32, max: u32, burst: u32) -> PoolTarget {
        let (name, text) = ("default".to_owned(), "a".to_owned());
        PoolTarget { name, template: text.clone(), revision: text, min, max, burst, max_idle: Duration::MAX }
    }

    fn sight(standing: u32, living: u32, recent: u32) -> PoolSight {
        PoolSight { revision: "a".to_owned(), paused: false, retry_at: None, standing, living, recent }
    }

    #[test]
    fn no_more_are_added_than_are_missing_may_live_and_may_come_at_once() {
        let now = Time::from_millisecond(1_000).unwrap();
        let judge = |target: PoolTarget, sight, offered| {
            let Refill { added, missing, hold } = target.judge(&sight, offered, now);
            (added, missing, hold)
        };
        assert_eq!(judge(target(5, 9, 9), sight(0, 0, 0), 9), (5, 0, None));
        assert_eq!(judge(target(5, 9, 9), sight(5, 5, 0), 9), (0, 0, None));
        assert_eq!(judge(target(5, 9, 9), sight(0, 0, 0), 2), (2, 3, None));
        assert_eq!(judge(target(5, 9, 9), sight(1, 7, 0), 9), (2, 2, Some(Hold::Full)));
        assert_eq!(judge(target(5, 9, 9), sight(0, 12, 0), 9), (0, 5, Some(Hold::Full)));
        assert_eq!(judge(target(5, 9, 3), sight(0, 0, 1), 9), (2, 3, Some(Hold::Rate)));
        assert_eq!(judge(target(0, 9, 9), sight(3, 3, 0), 9), (0, 0, None));
    }

    #[test]
    fn a_pool_that_is_paused_failing_or_anothers_is_left_alone() {
        let now = Time::from_millisecond(1_000).unwrap();
        let later = Time::from_millisecond(1_001).unwrap();
        let hold = |sight: PoolSight| target(1, 9, 9).judge(&sight, 9, now).hold;
        assert_eq!(hold(PoolSight { paused: true, ..sight(0, 0, 0) }), Some(Hold::Paused));
        let failing = |retry_at| PoolSight { retry_at: Some(retry_at), ..sight(0, 0, 0) };
        assert_eq!(hold(failing(later)), Some(Hold::BackingOff { until: later }));
        assert_eq!(hold(failing(now)), None);
        assert_eq!(hold(PoolSight { revision: "b".to_owned(), ..sight(9, 9, 0) }), Some(Hold::Superseded));
    }
}
