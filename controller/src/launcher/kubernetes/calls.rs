//! Calls to the API server: bounded in time, tried again where that is worth it, and told apart by whether it was away
//! or refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, Resource};
use kube::core::{ObjectList, PartialObjectMeta, Request as Build, Status};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use session::{RunnerId, SessionId};

use super::job::{INSTANCE_LABEL, RUNNER_LABEL, SESSION_LABEL, STANDBY_LABEL};
use super::judge::bounded;
use super::pod::SAFE_TO_EVICT;
use super::reach::{Reach, jittered};
use crate::launcher::LaunchError;

/// A longer wait than this is not waited for: the caller may come again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Between two probes while it is away, at most.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Jobs that one answer has at most.
const PAGE: u32 = 500;

/// What is read of a list of Jobs, of which there may be thousands: most of it, the record of who wrote which field, is
/// skipped.
#[derive(Deserialize)]
struct JobsPage {
    metadata: PageMeta,
    /// `null` where there are none.
    items: Option<Vec<ListedJob>>,
}

#[derive(Deserialize)]
struct PageMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct ListedJob {
    metadata: ListedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedMeta {
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: HashMap<String, String>,
}

impl ListedJob {
    /// Whose it is, unless it is being deleted.
    fn staying(&self) -> Option<RunnerId> {
        match self.metadata.deletion_timestamp {
            None => self.metadata.labels.get(RUNNER_LABEL)?.parse().ok(),
            Some(_) => None,
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It was away or overloaded: the same call may work later.
    #[error("the Kubernetes API server is away: {why}")]
    Away { why: String, retry_after: Option<Duration> },
    /// It did not answer in time.
    #[error("the Kubernetes API server did not answer in {0:?}")]
    Late(Duration),
    /// It refused, and will again.
    #[error("Kubernetes refused ({code}): {message}")]
    Refused { code: StatusCode, reason: String, message: String },
}

impl Failure {
    fn away(why: impl fmt::Display) -> Self {
        Self::Away { why: bounded(&why.to_string()), retry_after: None }
    }

    /// A request or an answer that makes no sense: trying again would not help.
    fn nonsense(why: impl fmt::Display) -> Self {
        let message = bounded(&why.to_string());
        Self::Refused { code: StatusCode::BAD_REQUEST, reason: "Invalid".to_owned(), message }
    }
}

impl From<Failure> for LaunchError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away { .. } | Failure::Late(_) => Self::Away(failure.to_string()),
            Failure::Refused { .. } => Self::Refused(failure.to_string()),
        }
    }
}

/// The calls that the launcher makes.
pub(super) struct Calls {
    client: Client,
    jobs: Build,
    pods: Build,
    own: String,
    timeout: Duration,
    reach: Arc<Reach>,
}

impl Calls {
    pub fn new(client: Client, namespace: &str, instance: &str, timeout: Duration, reach: Arc<Reach>) -> Self {
        let jobs = Build::new(Job::url_path(&(), Some(namespace)));
        let pods = Build::new(Pod::url_path(&(), Some(namespace)));
        Self { client, jobs, pods, own: format!("{INSTANCE_LABEL}={instance},{RUNNER_LABEL}"), timeout, reach }
    }

    pub async fn create_job(&self, job: &Job) -> Result<(), Failure> {
        let body = serde_json::to_vec(job).map_err(Failure::nonsense)?;
        let request = self.jobs.create(&PostParams::default(), body).map_err(Failure::nonsense)?;
        self.send(&request).await.map(drop)
    }

    pub async fn job(&self, name: &str) -> Result<Option<Job>, Failure> {
        let request = self.jobs.get(name, &GetParams::default()).map_err(Failure::nonsense)?;
        match self.send(&request).await {
            Ok(body) => read(&body).map(Some),
            Err(Failure::Refused { code: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes exactly this Job, and with it its pod.
    pub async fn delete_job(&self, job: &Job) -> Result<(), Failure> {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let same = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
        let request = self.jobs.delete(name, &DeleteParams::background().preconditions(same));
        match self.send(&request.map_err(Failure::nonsense)?).await {
            // Gone meanwhile, or another of its name is there.
            Err(Failure::Refused { code: StatusCode::NOT_FOUND | StatusCode::CONFLICT, .. }) | Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The runners whose Jobs exist and are not being deleted, as the API server knows it now: a list without a
    /// version is never older than the call, and all of its pages are of one moment. Only metadata is asked for.
    pub async fn existing_jobs(&self) -> Result<Vec<RunnerId>, Failure> {
        let mut page = ListParams::default().labels(&self.own).limit(PAGE);
        let mut staying = Vec::new();
        loop {
            let request = self.jobs.list_metadata(&page).map_err(Failure::nonsense)?;
            // Once: the reconciler comes again soon.
            let body = self.note(self.once(request).await)?;
            let listed: JobsPage = read(&body)?;
            staying.extend(listed.items.iter().flatten().filter_map(ListedJob::staying));
            match listed.metadata.next {
                Some(next) if !next.is_empty() => page = page.continue_token(&next),
                _ => return Ok(staying),
            }
        }
    }

    /// Says on a standby's pod whose it is now, and that it must not be taken away any more.
    pub async fn mark_claimed(&self, runner: RunnerId, session: SessionId) -> Result<(), Failure> {
        let own = ListParams::default().labels(&format!("{},{RUNNER_LABEL}={runner}", self.own));
        let listed = self.send(&self.pods.list_metadata(&own).map_err(Failure::nonsense)?).await?;
        let pods: ObjectList<PartialObjectMeta<Pod>> = read(&listed)?;
        let patch = serde_json::json!({"metadata": {
            "labels": {STANDBY_LABEL: null, SESSION_LABEL: session.to_string()},
            "annotations": {SAFE_TO_EVICT: "false"},
        }});
        for pod in pods.items {
            let name = pod.metadata.name.unwrap_or_default();
            let request = self.pods.patch(&name, &PatchParams::default(), &Patch::Merge(&patch));
            match self.send(&request.map_err(Failure::nonsense)?).await {
                Ok(_) | Err(Failure::Refused { code: StatusCode::NOT_FOUND, .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Asks for the API server while it is away, ever more seldom.
    pub async fn probe(self: Arc<Self>) {
        loop {
            self.reach.wait_for_loss().await;
            let mut wait = Duration::from_millis(100);
            while self.reach.available().is_err() {
                tokio::time::sleep(jittered(wait, 0.5, 1.0)).await;
                wait = (wait * 2).min(PROBE_EVERY);
                if self.is_ready().await {
                    self.reach.answered();
                }
            }
        }
    }

    async fn is_ready(&self) -> bool {
        let Ok(request) = Request::get("/readyz").body(Vec::new()) else { return false };
        match self.once(request).await {
            Ok(_) => true,
            // Some clusters let nobody ask; but it answers.
            Err(Failure::Refused { .. }) => true,
            Err(Failure::Away { .. } | Failure::Late(_)) => false,
        }
    }

    /// Tries a few times; not after a call that was waited for already.
    async fn send(&self, request: &Request<Vec<u8>>) -> Result<Bytes, Failure> {
        let tries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(3)
            .with_jitter();
        let attempt = || self.once(request.clone());
        let result = attempt
            .retry(tries)
            .when(|failure| matches!(failure, Failure::Away { .. }))
            .adjust(|failure, wait| match failure {
                Failure::Away { retry_after: Some(after), .. } if *after > LONGEST_WAIT => None,
                // Never earlier than it asks for, and not with everybody else.
                Failure::Away { retry_after: Some(after), .. } => wait.map(|_| jittered(*after, 1.0, 1.25)),
                _ => wait,
            })
            .await;
        self.note(result)
    }

    /// Notes what a call says of the API server.
    fn note<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        match &result {
            Err(failure @ (Failure::Away { .. } | Failure::Late(_))) => self.reach.failed(&failure.to_string()),
            Ok(_) | Err(Failure::Refused { .. }) => self.reach.answered(),
        }
        result
    }

    async fn once(&self, request: Request<Vec<u8>>) -> Result<Bytes, Failure> {
        let call = async {
            let answer = self.client.send(request.map(Into::into)).await.map_err(Failure::away)?;
            let (head, body) = answer.into_parts();
            let body = body.collect_bytes().await.map_err(Failure::away)?;
            if head.status.is_success() { Ok(body) } else { Err(refusal(head.status, &head.headers, &body)) }
        };
        tokio::time::timeout(self.timeout, call).await.unwrap_or(Err(Failure::Late(self.timeout)))
    }
}

/// What an answer that is no success means.
fn refusal(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let status: Status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
        // A proxy's page, or the server's one-line texts.
        message: String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned(),
        ..Status::default()
    });
    // A conflict that is not about the object's name is with others who change the same quota at the same time.
    let clash = code == StatusCode::CONFLICT && status.reason == "Conflict";
    let overloaded = code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error();
    // Credentials are renewed while we run; without good ones nothing can be concluded.
    if overloaded || clash || code == StatusCode::UNAUTHORIZED {
        return Failure::Away { why: bounded(&format!("{code}: {}", status.message)), retry_after: wait_of(headers) };
    }
    let message = bounded(if status.message.is_empty() { &status.reason } else { &status.message });
    Failure::Refused { code, reason: status.reason, message }
}

/// Kubernetes writes seconds, never dates.
fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(Failure::nonsense)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_page_those_are_read_that_stay_and_where_the_next_one_is() {
        let (staying, going) = (RunnerId::new(), RunnerId::new());
        let body = serde_json::json!({
            "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": "7", "continue": "next", "remainingItemCount": 3},
            "items": [
                {"metadata": {"name": "a", "labels": {RUNNER_LABEL: staying}, "managedFields": [{"fieldsV1": {"f:spec": {}}}]}},
                {"metadata": {"name": "b", "labels": {RUNNER_LABEL: going}, "deletionTimestamp": "2030-01-01T00:00:00Z"}},
                {"metadata": {"name": "c"}},
            ],
        });
        let page: JobsPage = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(page.metadata.next.as_deref(), Some("next"));
        assert_eq!(page.items.iter().flatten().filter_map(ListedJob::staying).collect::<Vec<_>>(), [staying]);
        for none in ["[]", "null"] {
            let last: JobsPage = read(format!(r#"{{"metadata": {{}}, "items": {none}}}"#).as_bytes()).unwrap();
            assert!(last.metadata.next.is_none() && last.items.iter().flatten().next().is_none());
        }
    }
}
