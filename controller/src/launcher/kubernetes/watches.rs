//! The watches that keep the cache. Each lists its kind, follows the changes, and after a while lists again: what a
//! watch lost, or what a connection that is silently dead would have told, is found then. An error begins anew with a
//! list, after a growing pause, and while the API server is away only after its return.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::StatusCode;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Refusal, Pod};
use kube::api::Resource;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Error};
use serde::de::DeserializeOwned;
use session::RunnerId;
use tokio::time::Instant;

use super::job::{runner_of, runner_of_name};
use super::judge::{JobFacts, PodFacts, bounded};
use super::reach::{Reach, jittered};
use super::sights::Sights;

/// What lies between two lists at least, for each object: ten thousand pods, a hundred megabytes, are listed every five
/// minutes. What a watch has lost is found by the reconciler before that, in the list of what exists.
const LISTED_EACH: Duration = Duration::from_millis(30);

/// A kind that is watched: how its objects go into the cache.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static
{
    fn runner(&self) -> Option<RunnerId>;
    fn seen(&self, runner: RunnerId, sights: &Sights);
    fn gone(&self, runner: RunnerId, sights: &Sights);
    fn listed(sights: &Sights, listed: &HashSet<RunnerId>);
}

impl Watched for Job {
    fn runner(&self) -> Option<RunnerId> {
        runner_of(&self.metadata)
    }

    fn seen(&self, runner: RunnerId, sights: &Sights) {
        sights.job_seen(runner, JobFacts::read(self));
    }

    fn gone(&self, runner: RunnerId, sights: &Sights) {
        sights.job_gone(runner);
    }

    fn listed(sights: &Sights, listed: &HashSet<RunnerId>) {
        sights.jobs_listed(listed);
    }
}

impl Watched for Pod {
    fn runner(&self) -> Option<RunnerId> {
        runner_of(&self.metadata)
    }

    fn seen(&self, runner: RunnerId, sights: &Sights) {
        sights.pod_seen(runner, PodFacts::read(self));
    }

    fn gone(&self, runner: RunnerId, sights: &Sights) {
        sights.pod_gone(runner, Some(PodFacts::read(self)));
    }

    fn listed(sights: &Sights, listed: &HashSet<RunnerId>) {
        sights.pods_listed(listed);
    }
}

impl Watched for Refusal {
    fn runner(&self) -> Option<RunnerId> {
        runner_of_name(self.involved_object.name.as_deref()?)
    }

    fn seen(&self, runner: RunnerId, sights: &Sights) {
        let words = self.message.as_deref().unwrap_or_default();
        // Other failures pass, and the Job's controller tries again.
        if words.contains("forbidden") {
            sights.pod_refused(runner, bounded(words.strip_prefix("Error creating: ").unwrap_or(words)));
        }
    }

    /// Events are deleted when they are old; what they told stays true.
    fn gone(&self, _: RunnerId, _: &Sights) {}

    fn listed(_: &Sights, _: &HashSet<RunnerId>) {}
}

/// Why a watch was given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Watch(#[from] watcher::Error),
    #[error("nothing of the list came for {0:?}")]
    Slow(Duration),
    #[error("the watch ended")]
    Ended,
}

impl Broken {
    /// Whether the API server was away, as opposed to answering that it will not.
    fn is_absence(&self) -> bool {
        let error = match self {
            Self::Slow(_) => return true,
            Self::Ended => return false,
            Self::Watch(error) => error,
        };
        let code = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => match error {
                Error::Api(status) => status.code,
                Error::SerdeError(_) => return false,
                _ => return true,
            },
            watcher::Error::WatchError(status) => status.code,
            watcher::Error::NoResourceVersion => return false,
        };
        let overloaded = [StatusCode::TOO_MANY_REQUESTS.as_u16(), StatusCode::UNAUTHORIZED.as_u16()];
        code >= 500 || overloaded.contains(&code)
    }
}

/// What all watches share.
#[derive(Clone)]
pub(super) struct Watch {
    pub sights: Arc<Sights>,
    pub reach: Arc<Reach>,
    pub list_every: Duration,
    pub list_timeout: Duration,
}

impl Watch {
    /// Follows a kind for ever.
    pub fn follow<K: Watched>(
        self,
        api: Api<K>,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let scope = watcher::Config {
            label_selector: labels.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            // The server's end of it, should ours be lost.
            timeout: u32::try_from(self.list_every.as_secs() * 2 + 5).ok().map(|secs| secs.min(290)),
            ..watcher::Config::default()
        };
        async move {
            let mut pauses = DefaultBackoff::default();
            loop {
                self.reach.wait_for_it().await;
                let Err(broken) = self.follow_once(watcher(api.clone(), scope.clone())).await else { continue };
                if broken.is_absence() {
                    self.reach.failed(&broken.to_string());
                } else {
                    let error = bounded(&broken.to_string());
                    tracing::warn!(kind = %K::kind(&()), error, "a watch broke; listing again");
                }
                tokio::time::sleep(pauses.next().unwrap_or(self.list_every)).await;
            }
        }
    }

    /// Lists and follows until it is time for the next list.
    async fn follow_once<K: Watched>(
        &self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    ) -> Result<(), Broken> {
        let mut events = pin!(events);
        let mut listed = HashSet::new();
        // First for the list, then for the changes.
        let mut until = Instant::now() + self.list_timeout;
        let mut complete = false;
        loop {
            let event = match tokio::time::timeout_at(until, events.next()).await {
                Ok(event) => event.ok_or(Broken::Ended)??,
                Err(_) if complete => return Ok(()),
                Err(_) => return Err(Broken::Slow(self.list_timeout)),
            };
            if !matches!(event, Event::Init) {
                // That one comes before anything is asked.
                self.reach.answered();
            }
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(object) => {
                    listed.extend(self.note(&object, K::seen));
                    until = Instant::now() + self.list_timeout;
                }
                Event::InitDone => {
                    K::listed(&self.sights, &listed);
                    complete = true;
                    until = Instant::now() + jittered(self.pause_after(listed.len()), 0.8, 1.2);
                    listed = HashSet::new();
                }
                Event::Apply(object) => drop(self.note(&object, K::seen)),
                Event::Delete(object) => drop(self.note(&object, K::gone)),
            }
        }
    }

    /// From a list of so many objects to the next.
    fn pause_after(&self, listed: usize) -> Duration {
        self.list_every.max(LISTED_EACH * u32::try_from(listed).unwrap_or(u32::MAX))
    }

    fn note<K: Watched>(&self, object: &K, how: impl Fn(&K, RunnerId, &Sights)) -> Option<RunnerId> {
        let runner = object.runner()?;
        how(object, runner, &self.sights);
        Some(runner)
    }
}
