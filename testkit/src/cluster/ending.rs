//! How a session's end by Kubernetes' doing is judged: the right reason, soon after Kubernetes knew, and nothing left.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::Value;

use super::stack::ClusterStack;
use crate::stack::SOON;

/// From Kubernetes' knowing to the session's end.
const PROMPT: Duration = Duration::from_secs(10);
/// Until Kubernetes knows: an eviction takes it a while.
const KNOWN_WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

/// What Kubernetes says of a session's runner at one moment.
pub struct Seen {
    pub job: Option<Job>,
    pub pod: Option<Pod>,
    pub events: Vec<Event>,
}

impl Seen {
    /// The pod is being deleted, or is gone.
    pub fn pod_goes(&self) -> bool {
        self.pod.as_ref().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// The pod or one of its containers has this reason, whatever it is that it waits or has ended for.
    pub fn pod_says(&self, reason: &str) -> bool {
        let Some(status) = self.pod.as_ref().and_then(|pod| pod.status.as_ref()) else { return false };
        let states = status.container_statuses.iter().flatten().filter_map(|container| container.state.as_ref());
        let waiting = states.clone().filter_map(|state| state.waiting.as_ref()?.reason.as_deref());
        let terminated = states.filter_map(|state| state.terminated.as_ref()?.reason.as_deref());
        let conditions = status.conditions.iter().flatten().filter_map(|condition| condition.reason.as_deref());
        waiting.chain(terminated).chain(conditions).chain(status.reason.as_deref()).any(|said| said == reason)
    }

    /// The container has ended, for whatever reason.
    pub fn container_ended(&self) -> bool {
        let Some(status) = self.pod.as_ref().and_then(|pod| pod.status.as_ref()) else { return true };
        let mut states = status.container_statuses.iter().flatten().filter_map(|container| container.state.as_ref());
        states.any(|state| state.terminated.is_some())
    }

    /// The Job has failed for this reason, or is about to.
    pub fn job_says(&self, reason: &str) -> bool {
        let conditions = self.job.iter().filter_map(|job| job.status.as_ref()?.conditions.as_ref()).flatten();
        conditions.into_iter().any(|condition| condition.reason.as_deref() == Some(reason))
    }

    pub fn event(&self, reason: &str) -> bool {
        self.events.iter().any(|event| event.reason.as_deref() == Some(reason))
    }
}

/// Whether a Job may still have pods: it has neither ended nor is being deleted.
pub fn is_active(job: &Job) -> bool {
    let conditions = job.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let finished = conditions
        .into_iter()
        .any(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True");
    !finished && job.metadata.deletion_timestamp.is_none()
}

impl ClusterStack {
    pub async fn seen(&self, runner: &str) -> Result<Seen> {
        let (job, pod, events) =
            tokio::try_join!(self.kubernetes.job(runner), self.kubernetes.pod(runner), self.kubernetes.events())?;
        Ok(Seen { job, pod, events })
    }

    /// Waits for a session's end; it must have this reason, come within ten seconds of Kubernetes' knowing, and leave
    /// nothing. Prints the case with its seconds, and answers the session's view.
    pub async fn ends_promptly(
        &self,
        case: &str,
        id: &str,
        reason: &str,
        knows: impl Fn(&Seen) -> bool,
    ) -> Result<Value> {
        let runner = self.show(id).await?["runnerId"].as_str().context("a runner")?.to_owned();
        let began = Instant::now();
        let mut known: Option<Instant> = None;
        let view = loop {
            let view = self.show(id).await?;
            if view["state"] == "ended" {
                break view;
            }
            match known {
                None if knows(&self.seen(&runner).await?) => known = Some(Instant::now()),
                None if began.elapsed() > KNOWN_WITHIN => bail!("{case}: Kubernetes never knew; {view}"),
                Some(at) if at.elapsed() > PROMPT => bail!("{case}: not ended {:?} after; {view}", at.elapsed()),
                _ => {}
            }
            tokio::time::sleep(LOOK).await;
        };
        // A runner that said so itself was quicker than Kubernetes.
        let seconds = known.map_or(0.0, |at| at.elapsed().as_secs_f64());
        println!("case={case:?} seconds={seconds:.1} reason={reason}");
        anyhow::ensure!(view["endReason"] == reason, "{case}: expected {reason}: {view}");
        self.wait_until_freed(&runner).await.with_context(|| case.to_owned())?;
        Ok(view)
    }

    /// Waits until nothing of a runner is left to cost anything: its row is gone, its Job has ended or goes, and no pod
    /// of it runs.
    pub async fn wait_until_freed(&self, runner: &str) -> Result<()> {
        self.rows.wait_until_gone(runner).await?;
        let deadline = Instant::now() + SOON;
        loop {
            let (job, pod) = tokio::try_join!(self.kubernetes.job(runner), self.kubernetes.pod(runner))?;
            let over = |pod: &Pod| {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some()
            };
            if !job.as_ref().is_some_and(is_active) && pod.as_ref().is_none_or(over) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the Job of runner {runner} is still active: {}", serde_json::to_string(&job)?);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until a runner has no pod any more.
    pub async fn wait_until_no_pod(&self, runner: &str) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while self.kubernetes.pod(runner).await?.is_some() {
            anyhow::ensure!(Instant::now() < deadline, "the pod of runner {runner} stays");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until no Job in the namespace is active and no runner alive in the database.
    pub async fn wait_until_nothing_is_left(&self) -> Result<()> {
        let deadline = Instant::now() + 2 * SOON;
        loop {
            let jobs = self.kubernetes.api::<Job>().list(&kube::api::ListParams::default()).await?.items;
            let active: Vec<_> = jobs.iter().filter(|job| is_active(job)).map(|job| &job.metadata.name).collect();
            let runners = self.rows.living_runners().await?;
            if active.is_empty() && runners.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left over: Jobs {active:?}, runners {runners:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
