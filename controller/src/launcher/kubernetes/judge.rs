//! What a pod's and a Job's status mean for a runner. Pure: objects in, judgements out.

use std::net::IpAddr;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use session::EndReason;

use super::job::STANDBY_LABEL;
use super::pod::{INSTALLER_CONTAINER, RUNNER_CONTAINER};
use crate::launcher::Verdict;

/// Characters of Kubernetes' own words that are handed on.
const MAX_WORDS: usize = 500;
/// The clocks of those who write times into objects differ by less.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(2);
/// 128 + SIGKILL.
const KILLED: i32 = 137;
/// Reasons for which a container does not start that do not pass by themselves soon. `ErrImagePull` is not among them: a
/// registry may fail once, and the kubelet tries again before it says `ImagePullBackOff`.
const CANNOT_START: [&str; 8] = [
    "ImagePullBackOff",
    "SignatureValidationFailed",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "ImageInspectError",
];
/// How a container ends that was never really started.
const NEVER_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// What is remembered of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodFacts {
    pub uid: String,
    pub addresses: Vec<IpAddr>,
    pub standing: Standing,
    /// When it was asked to go.
    pub told_to_go: Option<Timestamp>,
    /// It is marked as one that no session has.
    pub standby: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Fine,
    /// No node has room for it, in the scheduler's words.
    Unplaced(String),
    /// Its node does not answer.
    Doubtful,
    /// Its node was given up, and it with it.
    NodeGivenUp,
    Over(Verdict),
}

/// What is remembered of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobFacts {
    pub finished: bool,
    pub failed: Option<JobFailure>,
    /// When its time is over.
    pub deadline: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobFailure {
    pub past_deadline: bool,
    pub words: String,
}

impl PodFacts {
    pub fn read(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
        // The first of them is the one that has a field of its own.
        let addresses = status.pod_ips.iter().flatten().filter_map(|address| address.ip.parse().ok()).collect();
        let told_to_go = deleted.map(|at| at.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(at));
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            addresses,
            standing: standing(&status, told_to_go.is_some()),
            told_to_go,
            standby: pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(STANDBY_LABEL)),
        }
    }
}

impl JobFacts {
    pub fn read(job: &Job) -> Self {
        let status = job.status.as_ref();
        let seconds = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        let started = status.and_then(|status| status.start_time.as_ref());
        let deadline = started.zip(seconds);
        let deadline = deadline.and_then(|(at, after)| at.0.checked_add(SignedDuration::from_secs(after)).ok());
        // `FailureTarget` comes first, while pods are still going away.
        let failed = condition_of(job, &["FailureTarget", "Failed"]).map(|(reason, message)| JobFailure {
            past_deadline: reason == Some("DeadlineExceeded"),
            words: words(reason.unwrap_or("Failed"), message),
        });
        Self { finished: has_finished(job), failed, deadline }
    }

    /// Whether what happened at `at` was the deadline's doing.
    pub fn was_over_at(&self, at: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| at >= deadline.checked_sub(CLOCK_SKEW).unwrap_or(deadline))
    }
}

/// Whether Kubernetes is done with a Job.
pub(super) fn has_finished(job: &Job) -> bool {
    condition_of(job, &["Complete", "Failed"]).is_some()
}

/// Reason and message of the first of these conditions that is true.
fn condition_of<'a>(job: &'a Job, kinds: &[&str]) -> Option<(Option<&'a str>, Option<&'a str>)> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut held = conditions.filter(|condition| condition.status == "True");
    let found = held.find(|condition| kinds.contains(&condition.type_.as_str()))?;
    Some((found.reason.as_deref(), found.message.as_deref()))
}

fn standing(status: &PodStatus, told_to_go: bool) -> Standing {
    if let Some(disruption) = disruption(status) {
        return disruption;
    }
    if let Some(verdict) = ended(status).or_else(|| not_starting(status)) {
        return Standing::Over(verdict);
    }
    // Whoever deletes a pod also ends its init containers.
    if told_to_go {
        return over(EndReason::RunnerLost, "the runner's pod was deleted");
    }
    if let Some(verdict) = not_prepared(status) {
        return Standing::Over(verdict);
    }
    if is_out_of_reach(status) {
        return Standing::Doubtful;
    }
    match condition(status, "PodScheduled") {
        Some(("False", reason, message)) => Standing::Unplaced(words(reason, message)),
        _ => Standing::Fine,
    }
}

/// Somebody took the pod away: eviction through the API or by the kubelet, preemption, the loss of its node.
fn disruption(status: &PodStatus) -> Option<Standing> {
    let of_pod = status.reason.as_deref().unwrap_or_default();
    match of_pod {
        "Evicted" | "Preempting" | "NodeShutdown" | "Shutdown" | "Terminated" => {
            return Some(over(EndReason::Evicted, words(of_pod, status.message.as_deref())));
        }
        "DeadlineExceeded" => return Some(over(EndReason::TimedOut, words(of_pod, status.message.as_deref()))),
        "NodeLost" => return Some(Standing::Doubtful),
        _ => {}
    }
    let ("True", reason, message) = condition(status, "DisruptionTarget")? else { return None };
    Some(match reason {
        "DeletionByPodGC" => Standing::NodeGivenUp,
        "DeletionByTaintManager" => Standing::Doubtful,
        reason => over(EndReason::Evicted, words(reason, message)),
    })
}

/// The runner's container, or the pod as a whole, has ended.
fn ended(status: &PodStatus) -> Option<Verdict> {
    let state = runner_container(status).and_then(|container| container.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        let reason = ended.reason.as_deref().unwrap_or_default();
        // Where the kernel killed a command alone, the container's reason is the same, but the runner lived on and
        // has told itself.
        if reason == "OOMKilled" && ended.exit_code == KILLED {
            return Some(Verdict::new(EndReason::OomKilled, "the runner's container ran out of memory"));
        }
        if NEVER_STARTED.contains(&reason) {
            return Some(Verdict::new(EndReason::StartFailed, words(reason, ended.message.as_deref())));
        }
        let text = format!("the runner's container ended with exit code {} ({reason})", ended.exit_code);
        return Some(Verdict::new(EndReason::RunnerLost, text));
    }
    if failed_init_container(status).is_some() {
        return None;
    }
    match status.phase.as_deref() {
        // The kubelet turned it away before any container was made.
        Some("Failed") if status.container_statuses.as_ref().is_none_or(Vec::is_empty) => {
            let reason = status.reason.as_deref().unwrap_or("Failed");
            Some(Verdict::new(EndReason::StartFailed, words(reason, status.message.as_deref())))
        }
        Some("Failed" | "Succeeded") => Some(Verdict::new(EndReason::RunnerLost, "the runner's pod has ended")),
        _ => None,
    }
}

/// A container cannot start.
fn not_starting(status: &PodStatus) -> Option<Verdict> {
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.filter_map(|container| Some((container, waiting(container.state.as_ref())?)))
        .find(|(_, (reason, _))| CANNOT_START.contains(reason))
        .map(|(container, (reason, message))| {
            let text = format!("the image {} cannot be run: {}", container.image, words(reason, message));
            Verdict::new(EndReason::StartFailed, bounded(&text))
        })
}

/// An init container has failed, and with it the pod.
fn not_prepared(status: &PodStatus) -> Option<Verdict> {
    let (container, ended) = failed_init_container(status)?;
    let reason = ended.reason.as_deref().unwrap_or_default();
    let said = ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    let what = match container.name.as_str() {
        INSTALLER_CONTAINER => "did not bring the runner program",
        _ => "did not prepare the pod",
    };
    let text = format!("the image {} {what}: exit code {} ({reason})", container.image, ended.exit_code);
    let text = said.map_or_else(|| text.clone(), |said| format!("{text}: {said}"));
    Some(Verdict::new(EndReason::StartFailed, bounded(&text)))
}

/// Sidecars that run already are ended with the pod, and with an exit code of their own: the one to blame is the installer,
/// else the last that was started.
fn failed_init_container(status: &PodStatus) -> Option<(&ContainerStatus, &ContainerStateTerminated)> {
    let started = |state: &ContainerState| state.running.is_some() || state.terminated.is_some();
    let runner_started = runner_container(status).and_then(|container| container.state.as_ref()).is_some_and(started);
    if status.phase.as_deref() != Some("Failed") || runner_started {
        return None;
    }
    let ended = status.init_container_statuses.iter().flatten().filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then_some((container, ended))
    });
    ended.max_by_key(|(container, _)| container.name == INSTALLER_CONTAINER)
}

fn waiting(state: Option<&ContainerState>) -> Option<(&str, Option<&str>)> {
    let waiting = state?.waiting.as_ref()?;
    Some((waiting.reason.as_deref()?, waiting.message.as_deref()))
}

/// The kubelet calls a pod not ready because of its containers; that a pod is not ready although they are is said by
/// the control plane alone, when a node has not reported for a while.
fn is_out_of_reach(status: &PodStatus) -> bool {
    let says = |kind: &str, wanted: &str| condition(status, kind).is_some_and(|(status, ..)| status == wanted);
    let running = matches!(status.phase.as_deref(), Some("Running" | "Unknown"));
    let gated =
        status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Ready" && condition.reason.as_deref() == Some("ReadinessGatesNotReady")
        });
    running
        && !gated
        && !says("Ready", "True")
        && condition(status, "Ready").is_some()
        && says("ContainersReady", "True")
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<(&'a str, &'a str, Option<&'a str>)> {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
    Some((&found.status, found.reason.as_deref().unwrap_or_default(), found.message.as_deref()))
}

fn runner_container(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.iter().flatten().find(|container| container.name == RUNNER_CONTAINER)
}

fn over(reason: EndReason, message: impl Into<String>) -> Standing {
    Standing::Over(Verdict::new(reason, message))
}

/// Kubernetes' reason and message in one line.
pub(super) fn words(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => bounded(&format!("{reason}: {message}")),
        None => bounded(reason),
    }
}

pub(super) fn bounded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
