//! What was seen of one runner, and what that comes to.

use std::time::Duration;

use session::EndReason;
use tokio::time::Instant;

use super::judge::{JobFacts, PodFacts, Standing};
use crate::launcher::{Condition, Verdict};

pub(super) struct Sight {
    pub job: Seen<JobFacts>,
    pub pod: Seen<PodFacts>,
    /// Why its pod was refused, in Kubernetes' words.
    pub refusal: Option<String>,
    /// Since when no node has had room for its pod.
    pub unplaced_since: Option<Instant>,
    /// When it was last heard of.
    pub heard: Instant,
    pub told: Condition,
}

/// An object in the cluster: what is known of it stays when it goes.
pub(super) enum Seen<T> {
    Never,
    There(T),
    Gone(T),
}

impl<T> Seen<T> {
    pub fn facts(&self) -> Option<&T> {
        match self {
            Self::Never => None,
            Self::There(facts) | Self::Gone(facts) => Some(facts),
        }
    }

    pub fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    pub fn leave(&mut self) {
        *self = match std::mem::replace(self, Self::Never) {
            Self::There(facts) => Self::Gone(facts),
            gone_or_never => gone_or_never,
        };
    }
}

impl Sight {
    pub fn new() -> Self {
        Self {
            job: Seen::Never,
            pod: Seen::Never,
            refusal: None,
            unplaced_since: None,
            heard: Instant::now(),
            told: Condition::Fine,
        }
    }

    pub fn lives(&self) -> bool {
        self.job.is_there() || self.pod.is_there()
    }

    /// `complete`: whether both Jobs and pods were listed, so that what was not seen is not there.
    pub fn condition(&self, unschedulable_after: Duration, complete: bool) -> Condition {
        let pod = self.pod.facts();
        match pod.map(|pod| &pod.standing) {
            // What Kubernetes gives a reason for, it gives it for.
            Some(Standing::Over(verdict)) if verdict.reason != EndReason::RunnerLost => {
                return Condition::Over(verdict.clone());
            }
            Some(Standing::NodeGivenUp) => return node_lost(),
            Some(Standing::Doubtful) if self.pod.is_gone() => return node_lost(),
            _ => {}
        }
        if let Some(verdict) = self.past_deadline().or_else(|| self.refused()) {
            return Condition::Over(verdict);
        }
        match pod.map(|pod| &pod.standing) {
            Some(Standing::Over(verdict)) => return Condition::Over(verdict.clone()),
            Some(_) if self.pod.is_gone() => return lost("the runner's pod was deleted"),
            _ if self.job.is_gone() => return lost("the runner's Job was deleted"),
            None if !complete => return Condition::Fine,
            _ => {}
        }
        match (self.job.facts(), pod.map(|pod| &pod.standing)) {
            (Some(JobFacts { failed: Some(failure), .. }), _) => lost(&format!("its Job failed: {}", failure.words)),
            (Some(JobFacts { finished: true, .. }), _) => lost("the runner has ended"),
            (_, Some(Standing::Doubtful)) => Condition::Doubtful,
            (_, Some(Standing::Unplaced(words))) if self.has_waited(unschedulable_after) => {
                let message = format!("no node has room for the runner: {words}");
                Condition::Over(Verdict::new(EndReason::StartFailed, message))
            }
            _ => Condition::Fine,
        }
    }

    fn has_waited(&self, for_room: Duration) -> bool {
        self.unplaced_since.is_some_and(|since| since.elapsed() >= for_room)
    }

    /// Its pod was never made, and Kubernetes said why. A refusal of a pod that came to be after all counts no more.
    fn refused(&self) -> Option<Verdict> {
        let words = self.refusal.as_ref().filter(|_| matches!(self.pod, Seen::Never) && self.job.facts().is_some())?;
        Some(Verdict::new(EndReason::StartFailed, format!("the cluster refused the runner's pod: {words}")))
    }

    /// The Job's deadline, which Kubernetes enforces by deleting the pod before it says why.
    fn past_deadline(&self) -> Option<Verdict> {
        let job = self.job.facts()?;
        let told_to_go = self.pod.facts().and_then(|pod| pod.told_to_go);
        let past = job.failed.as_ref().is_some_and(|failure| failure.past_deadline)
            || told_to_go.is_some_and(|at| job.was_over_at(at));
        past.then(|| Verdict::new(EndReason::TimedOut, "the deadline of the runner's Job was over"))
    }
}

fn node_lost() -> Condition {
    Condition::Over(Verdict::new(EndReason::NodeLost, "the runner's node is gone"))
}

fn lost(message: &str) -> Condition {
    Condition::Over(Verdict::new(EndReason::RunnerLost, message))
}
