//! What was seen of the cluster: one entry per runner, kept for a while after it is gone, and told on when what is
//! known of a runner changes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session::RunnerId;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::judge::{JobFacts, PodFacts, Standing};
use super::sight::{Seen, Sight};
use crate::launcher::Condition;

/// How long it is remembered what became of a runner.
const MEMORY: Duration = Duration::from_secs(600);
/// The most that are remembered of those that are gone.
const MAX_GONE: usize = 4096;
/// News that a slow listener may be behind by; the reconciler finds what it missed.
const NEWS: usize = 1024;
/// Between two looks at what time alone changes.
const LOOK: Duration = Duration::from_secs(1);

/// The cache of all three watches.
pub(super) struct Sights {
    entries: Mutex<HashMap<RunnerId, Sight>>,
    news: broadcast::Sender<RunnerId>,
    jobs_known: AtomicBool,
    pods_known: AtomicBool,
    /// Cancelled once both are known.
    complete: CancellationToken,
    unschedulable_after: Duration,
}

impl Sights {
    pub fn new(unschedulable_after: Duration) -> Self {
        Self {
            entries: Mutex::default(),
            news: broadcast::channel(NEWS).0,
            jobs_known: AtomicBool::new(false),
            pods_known: AtomicBool::new(false),
            complete: CancellationToken::new(),
            unschedulable_after,
        }
    }

    pub fn news(&self) -> broadcast::Receiver<RunnerId> {
        self.news.subscribe()
    }

    /// Whether Jobs and pods were ever listed.
    pub fn is_complete(&self) -> bool {
        self.jobs_known.load(Ordering::Acquire) && self.pods_known.load(Ordering::Acquire)
    }

    /// Waits for that.
    pub async fn completed(&self) {
        self.complete.cancelled().await;
    }

    pub fn job_seen(&self, runner: RunnerId, facts: JobFacts) {
        self.change(runner, |sight| sight.job = Seen::There(facts));
    }

    pub fn job_gone(&self, runner: RunnerId) {
        self.change(runner, |sight| sight.job.leave());
    }

    /// Jobs that were there and are not among those listed are gone.
    pub fn jobs_listed(&self, listed: &HashSet<RunnerId>) {
        for runner in self.missing(listed, |sight| sight.job.is_there()) {
            self.job_gone(runner);
        }
        self.note_listed(&self.jobs_known);
    }

    pub fn pod_seen(&self, runner: RunnerId, facts: PodFacts) {
        self.change(runner, |sight| {
            // A runner has one pod in its life. Were there ever another, it would not be the runner.
            if sight.pod.facts().is_some_and(|known| known.uid != facts.uid) {
                return;
            }
            match facts.standing {
                Standing::Unplaced(_) => drop(sight.unplaced_since.get_or_insert_with(Instant::now)),
                _ => sight.unplaced_since = None,
            }
            sight.pod = Seen::There(facts);
        });
    }

    pub fn pod_gone(&self, runner: RunnerId, last: Option<PodFacts>) {
        self.change(runner, |sight| {
            if let Some(last) = last
                && sight.pod.facts().is_none_or(|known| known.uid == last.uid)
            {
                sight.pod = Seen::There(last);
            }
            sight.pod.leave();
        });
    }

    pub fn pods_listed(&self, listed: &HashSet<RunnerId>) {
        for runner in self.missing(listed, |sight| sight.pod.is_there()) {
            self.pod_gone(runner, None);
        }
        self.note_listed(&self.pods_known);
    }

    /// With the last of the first lists, what was not seen is known not to be there.
    fn note_listed(&self, known: &AtomicBool) {
        if known.swap(true, Ordering::AcqRel) || !self.is_complete() {
            return;
        }
        self.complete.cancel();
        let all: Vec<_> = self.lock().keys().copied().collect();
        for runner in all {
            self.change(runner, |_| {});
        }
    }

    /// Kubernetes would not make a runner's pod.
    pub fn pod_refused(&self, runner: RunnerId, words: String) {
        self.change(runner, |sight| sight.refusal = Some(words));
    }

    pub fn has_finished(&self, runner: RunnerId) -> bool {
        self.lock().get(&runner).and_then(|sight| sight.job.facts()).is_some_and(|job| job.finished)
    }

    pub fn condition(&self, runner: RunnerId) -> Condition {
        self.lock()
            .get(&runner)
            .map_or(Condition::Fine, |sight| sight.condition(self.unschedulable_after, self.is_complete()))
    }

    /// Whether its pod is there and marked as a standby's.
    pub fn is_marked_standby(&self, runner: RunnerId) -> bool {
        let sights = self.lock();
        sights.get(&runner).is_some_and(|sight| match &sight.pod {
            Seen::There(facts) => facts.standby,
            Seen::Never | Seen::Gone(_) => false,
        })
    }

    pub fn has_address(&self, runner: RunnerId, address: IpAddr) -> bool {
        let entries = self.lock();
        let sight = entries.get(&runner);
        sight.is_some_and(|sight| matches!(&sight.pod, Seen::There(pod) if pod.addresses.contains(&address)))
    }

    /// Sees to what time alone changes.
    pub async fn watch_the_clock(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for runner in self.waiting_for_room() {
                self.change(runner, |_| {});
            }
            self.forget();
        }
    }

    fn waiting_for_room(&self) -> Vec<RunnerId> {
        let entries = self.lock();
        entries.iter().filter(|(_, sight)| sight.unplaced_since.is_some()).map(|(runner, _)| *runner).collect()
    }

    /// Forgets what is gone for long, and the oldest of what is gone where that is much.
    fn forget(&self) {
        let mut entries = self.lock();
        entries.retain(|_, sight| sight.lives() || sight.heard.elapsed() < MEMORY);
        let mut gone: Vec<_> =
            entries.iter().filter(|(_, sight)| !sight.lives()).map(|(runner, sight)| (sight.heard, *runner)).collect();
        if let Some(surplus) = gone.len().checked_sub(MAX_GONE) {
            gone.sort_unstable_by_key(|(heard, _)| *heard);
            for (_, runner) in &gone[..surplus] {
                entries.remove(runner);
            }
        }
    }

    fn missing(&self, listed: &HashSet<RunnerId>, is_there: impl Fn(&Sight) -> bool) -> Vec<RunnerId> {
        let entries = self.lock();
        let gone = entries.iter().filter(|(runner, sight)| is_there(sight) && !listed.contains(runner));
        gone.map(|(runner, _)| *runner).collect()
    }

    /// Changes what is known of a runner, and tells when that changes its condition.
    fn change(&self, runner: RunnerId, change: impl FnOnce(&mut Sight)) {
        let mut entries = self.lock();
        let sight = entries.entry(runner).or_insert_with(Sight::new);
        change(sight);
        sight.heard = Instant::now();
        let condition = sight.condition(self.unschedulable_after, self.is_complete());
        if condition == sight.told {
            return;
        }
        sight.told = condition.clone();
        drop(entries);
        tracing::debug!(%runner, ?condition, "a runner's condition changed");
        // Nobody may be listening yet.
        let _ = self.news.send(runner);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunnerId, Sight>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "sights_tests.rs"]
mod tests;
