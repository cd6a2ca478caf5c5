//! The Kubernetes launcher: a runner is a Job with one pod, in one namespace.
//!
//! Jobs are named by their runner and labelled with the installation that they belong to; no other Job is ever touched.
//! What exists is asked of the API server whenever the reconciler wants to know (`alive`), since several controllers
//! make Jobs and a cache may be behind. Why something ended is read from a cache (`sights`) that three watches keep
//! (`watches`): Jobs, pods, and the events of Jobs whose pod was refused. While the API server is away (`reach`) one
//! probe asks for it and everything else waits.

mod calls;
mod job;
mod judge;
mod layers;
mod pod;
mod quantity;
mod reach;
mod sight;
mod sights;
mod template;
mod watches;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use session::{DEFAULT_TEMPLATE, RunnerId, SessionId};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::{Condition, Launch, LaunchError, Launcher, LauncherKind, Unavailable};
use calls::{Calls, Failure};
use layers::Blueprint;
use reach::Reach;
use sights::Sights;

pub use job::{INSTANCE_LABEL, RUNNER_LABEL, SESSION_LABEL, STANDBY_LABEL, TEMPLATE_LABEL};
pub use pod::{Folders, INSTALLER_CONTAINER, PodSettings, RUNNER_CONTAINER, Resources};
pub use quantity::Amount;
pub use template::{PodTemplate, TemplateError};

/// How long the first lists are waited for, which are there a moment after a start.
const FIRST_LISTS: Duration = Duration::from_secs(1);

/// The Kubernetes launcher's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct KubernetesConfig {
    /// Where Jobs are made; `None`: the namespace of the client's own configuration.
    pub namespace: Option<String>,
    /// Tells this installation's runners from those of others in the namespace.
    pub instance: String,
    /// What pods are made of, by the template's name; [`DEFAULT_TEMPLATE`] is one of them.
    pub templates: BTreeMap<String, RunnerTemplate>,
    /// How long a Job stays after its end, for its log.
    pub ttl_after_finished: Duration,
    /// From when a pod that no node has room for is given up.
    pub unschedulable_after: Duration,
    /// Between two lists of what exists: what a watch lost is found by the next.
    pub list_every: Duration,
    /// One request, and one list of a kind.
    pub request_timeout: Duration,
}

impl KubernetesConfig {
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

    /// Pods of one template only.
    pub fn templates_of(pod: PodSettings, template: PodTemplate) -> BTreeMap<String, RunnerTemplate> {
        BTreeMap::from([(DEFAULT_TEMPLATE.to_owned(), RunnerTemplate { pod, template, ..RunnerTemplate::default() })])
    }
}

/// What pods of one template are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunnerTemplate {
    pub pod: PodSettings,
    pub template: PodTemplate,
    /// Labels of its pods beside ours.
    pub labels: BTreeMap<String, String>,
    /// Whether standbys are put on different nodes where that is possible.
    pub spread: bool,
}

impl RunnerTemplate {
    /// Whether pods can be made of it.
    pub fn check(&self, instance: &str, name: &str) -> Result<(), TemplateError> {
        Blueprint::new(self, instance, name).map(drop)
    }
}

/// The launcher cannot work with what it was given.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("there is no access to a Kubernetes cluster (neither a kubeconfig nor a service account): {0}")]
    NoAccess(#[source] Box<kube::config::InferConfigError>),
    #[error("the Kubernetes client cannot be made: {0}")]
    Client(#[source] Box<kube::Error>),
    #[error("the pod template: {0}")]
    Template(#[from] TemplateError),
}

/// Launches runners as Jobs. Its watches end with it.
pub struct KubernetesLauncher {
    config: KubernetesConfig,
    blueprints: HashMap<String, Blueprint>,
    calls: Arc<Calls>,
    sights: Arc<Sights>,
    reach: Arc<Reach>,
    _watches: JoinSet<()>,
}

impl KubernetesLauncher {
    /// Finds the cluster by `KUBECONFIG`, else by the service account of the pod that this process runs in. Nothing is
    /// asked of the API server yet: it may be away now.
    pub async fn connect(config: KubernetesConfig) -> Result<Self, ConnectError> {
        let found = kube::Config::infer().await.map_err(|error| ConnectError::NoAccess(Box::new(error)))?;
        Self::with_cluster(found, config)
    }

    /// The same with a cluster that is known.
    pub fn with_cluster(mut cluster: kube::Config, config: KubernetesConfig) -> Result<Self, ConnectError> {
        cluster.connect_timeout = Some(config.request_timeout / 2);
        cluster.write_timeout = Some(config.request_timeout);
        // Our own retries know which calls are worth it, and wait no longer than a start may take.
        cluster.default_retry = false;
        let namespace = config.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
        let client = kube::Client::try_from(cluster).map_err(|error| ConnectError::Client(Box::new(error)))?;
        let named = config.templates.iter();
        let blueprints =
            named.map(|(name, template)| Ok((name.clone(), Blueprint::new(template, &config.instance, name)?)));
        let blueprints = blueprints.collect::<Result<_, TemplateError>>()?;
        let reach = Arc::new(Reach::default());
        let sights = Arc::new(Sights::new(config.unschedulable_after));
        let calls =
            Arc::new(Calls::new(client.clone(), &namespace, &config.instance, config.request_timeout, reach.clone()));
        let watch = watches::Watch {
            sights: Arc::clone(&sights),
            reach: Arc::clone(&reach),
            list_every: config.list_every,
            list_timeout: config.request_timeout,
        };
        let own = format!("{}={},{RUNNER_LABEL}", INSTANCE_LABEL, config.instance);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch.clone().follow(Api::<Job>::namespaced(client.clone(), &namespace), Some(&own), None));
        tasks.spawn(watch.clone().follow(Api::<Pod>::namespaced(client.clone(), &namespace), Some(&own), None));
        let refusals = "involvedObject.kind=Job,reason=FailedCreate";
        tasks.spawn(watch.follow(Api::<Event>::namespaced(client, &namespace), None, Some(refusals)));
        tasks.spawn(Arc::clone(&calls).probe());
        tasks.spawn(Arc::clone(&sights).watch_the_clock());
        tracing::info!(namespace, instance = config.instance, "runners are Kubernetes Jobs");
        Ok(Self { config, blueprints, calls, sights, reach, _watches: tasks })
    }
}

#[async_trait]
impl Launcher for KubernetesLauncher {
    fn kind(&self) -> LauncherKind {
        LauncherKind::Kubernetes
    }

    fn available(&self) -> Result<(), Unavailable> {
        self.reach.available()
    }

    async fn launch(&self, request: Launch) -> Result<String, LaunchError> {
        let name = job::name(request.runner);
        let Some(blueprint) = self.blueprints.get(&request.template) else {
            return Err(LaunchError::Refused(format!("there is no template {:?} any more", request.template)));
        };
        let job = job::job(&self.config, blueprint, &request);
        match self.calls.create_job(&job).await {
            Ok(()) => Ok(name),
            Err(Failure::Refused { reason, .. }) if reason == "AlreadyExists" => Ok(name),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError> {
        self.reach.available().map_err(|away| LaunchError::Away(away.to_string()))?;
        // Which of them have finished, and why, is not known until then.
        if tokio::time::timeout(FIRST_LISTS, self.sights.completed()).await.is_err() {
            return Err(LaunchError::Away("the cluster's Jobs and pods were not listed yet".to_owned()));
        }
        let jobs = self.calls.existing_jobs().await?;
        Ok(jobs.into_iter().filter(|runner| !self.sights.has_finished(*runner)).collect())
    }

    async fn destroy(&self, runner: RunnerId, _handle: Option<&str>) -> Result<(), LaunchError> {
        let Some(job) = self.calls.job(&job::name(runner)).await? else { return Ok(()) };
        if job::instance(&job) != Some(&self.config.instance) {
            tracing::warn!(%runner, "a Job of this runner's name is another installation's: it stays");
            return Ok(());
        }
        if judge::has_finished(&job) || job.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        Ok(self.calls.delete_job(&job).await?)
    }

    fn template_digest(&self, template: &str) -> String {
        self.blueprints.get(template).map_or_else(String::new, Blueprint::digest)
    }

    async fn mark_claimed(&self, runner: RunnerId, session: SessionId) -> Result<(), LaunchError> {
        Ok(self.calls.mark_claimed(runner, session).await?)
    }

    fn is_marked_standby(&self, runner: RunnerId) -> bool {
        self.sights.is_marked_standby(runner)
    }

    fn news(&self) -> Option<broadcast::Receiver<RunnerId>> {
        Some(self.sights.news())
    }

    fn condition(&self, runner: RunnerId) -> Condition {
        self.sights.condition(runner)
    }

    fn has_address(&self, runner: RunnerId, address: IpAddr) -> bool {
        self.sights.has_address(runner, address)
    }
}
