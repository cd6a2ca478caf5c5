//! The settings of what gives sessions their terminal.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use service::Settings;
use session::DEFAULT_TEMPLATE;
use url::Url;

use super::pools::{PoolFlags, Pools};
use super::values::{BaseUrl, HostPort, LabelName, required};
use crate::launcher::KubernetesConfig;
use crate::launcher::kubernetes::{Folders, PodSettings, PodTemplate, Resources, RunnerTemplate};
use crate::lifecycle::PoolConfig;

/// Runners keep no time longer than a week.
const MAX_SECS: u64 = 7 * 86_400;
/// A process is there at once; a pod may have to pull its image first.
const BOOT_DEADLINE: Duration = Duration::from_secs(30);
const KUBERNETES_BOOT_DEADLINE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Args)]
pub(super) struct LauncherFlags {
    /// What gives sessions their terminal: static (a ttyd-compatible server at a fixed address), process, or
    /// kubernetes (a Job for each).
    #[arg(long, env = "CLISCALE_LAUNCHER", value_name = "static|process|kubernetes", default_value = "process")]
    launcher: String,
    /// The static launcher's ttyd-compatible server.
    #[arg(long, env = "CLISCALE_STATIC_BACKEND", value_name = "HOST:PORT")]
    static_backend: Option<String>,
    /// The process launcher's runner program; left out: cliscale-runner beside this program.
    #[arg(long, env = "CLISCALE_RUNNER_BIN", value_name = "FILE")]
    runner_bin: Option<String>,
    /// The process launcher's folder for workspaces and logs.
    #[arg(long, env = "CLISCALE_WORK_DIR", value_name = "DIR")]
    work_dir: Option<String>,
    /// Where runners reach the internal address; left out: the internal port on 127.0.0.1. Needed on Kubernetes.
    #[arg(long, env = "CLISCALE_INTERNAL_URL", value_name = "URL")]
    internal_url: Option<String>,
    /// The namespace of runners' Jobs; left out: the kubeconfig's, or the one that this process runs in.
    #[arg(long, env = "CLISCALE_KUBERNETES_NAMESPACE", value_name = "NAME")]
    kubernetes_namespace: Option<String>,
    /// Tells this installation's Jobs from those of others in the namespace (app.kubernetes.io/instance).
    #[arg(long, env = "CLISCALE_KUBERNETES_INSTANCE", value_name = "NAME", default_value = "cliscale")]
    kubernetes_instance: String,
    /// Seconds between two full lists of Jobs and pods, which find what a watch has lost; 30 ms for each of them if that is
    /// more.
    #[arg(long, env = "CLISCALE_KUBERNETES_LIST_SECS", value_name = "SECONDS", default_value = "30")]
    kubernetes_list_secs: String,
    /// The image of runners' pods.
    #[arg(long, env = "CLISCALE_RUNNER_IMAGE", value_name = "IMAGE")]
    runner_image: Option<String>,
    /// An image with the runner program as its entrypoint, which puts it into pods of a runner image that lacks it.
    #[arg(long, env = "CLISCALE_RUNNER_INSTALLER_IMAGE", value_name = "IMAGE")]
    runner_installer_image: Option<String>,
    /// Where runners write: volumes, or image, which starts sooner: the image's own folders, without a read-only root.
    #[arg(long, env = "CLISCALE_RUNNER_FOLDERS", value_name = "volumes|image", default_value = "volumes")]
    runner_folders: String,
    /// A file with what runners' pods have besides: a PodTemplateSpec, as YAML or JSON.
    #[arg(long, env = "CLISCALE_RUNNER_POD_TEMPLATE", value_name = "FILE")]
    runner_pod_template: Option<String>,
    /// A runner's CPU, as request and limit [default: the template's, else 1].
    #[arg(long, env = "CLISCALE_RUNNER_CPU", value_name = "AMOUNT")]
    runner_cpu: Option<String>,
    /// A runner's memory, as request and limit [default: the template's, else 1Gi].
    #[arg(long, env = "CLISCALE_RUNNER_MEMORY", value_name = "AMOUNT")]
    runner_memory: Option<String>,
    /// A runner's disk, as request and limit [default: the template's, else 4Gi].
    #[arg(long, env = "CLISCALE_RUNNER_EPHEMERAL_STORAGE", value_name = "AMOUNT")]
    runner_ephemeral_storage: Option<String>,
    /// Seconds that a Job stays after its end, for its log.
    #[arg(long, env = "CLISCALE_RUNNER_TTL_SECS", value_name = "SECONDS", default_value = "600")]
    runner_ttl_secs: String,
    /// Seconds after which a session ends whose pod no node has room for.
    #[arg(long, env = "CLISCALE_UNSCHEDULABLE_SECS", value_name = "SECONDS", default_value = "60")]
    unschedulable_secs: String,
    /// Seconds from a runner's creation to its call home [default: 120 on Kubernetes, else 30].
    #[arg(long, env = "CLISCALE_BOOT_DEADLINE_SECS", value_name = "SECONDS")]
    boot_deadline_secs: Option<String>,
    /// Seconds between a runner's heartbeats, on Kubernetes.
    #[arg(long, env = "CLISCALE_HEARTBEAT_SECS", value_name = "SECONDS", default_value = "60")]
    heartbeat_secs: String,
    /// Seconds that a runner waits for a session, on Kubernetes.
    #[arg(long, env = "CLISCALE_RUNNER_IDLE_SECS", value_name = "SECONDS", default_value = "3600")]
    runner_idle_secs: String,
    #[command(flatten)]
    pools: PoolFlags,
}

/// Which launcher, with what it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum LauncherChoice {
    Static { backend: String },
    Process { runner_bin: Option<PathBuf>, work_dir: PathBuf },
    Kubernetes(Box<KubernetesConfig>),
}

impl fmt::Display for LauncherChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Static { .. } => "static",
            Self::Process { .. } => "process",
            Self::Kubernetes(_) => "kubernetes",
        })
    }
}

/// What is said of runners.
pub(super) struct RunnerSettings {
    pub choice: LauncherChoice,
    pub internal_url: Option<Url>,
    pub boot_deadline: Duration,
    pub heartbeat: Duration,
    pub pools: Vec<PoolConfig>,
}

/// What of the other settings runners are told, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub linger: Option<u64>,
    pub max_ttl: Option<Duration>,
}

impl LauncherFlags {
    pub fn read(&self, settings: &mut Settings, times: Times) -> Option<RunnerSettings> {
        let internal_url = settings.read_optional::<BaseUrl>("--internal-url", &self.internal_url);
        let internal_url = internal_url.map(|BaseUrl(url)| url);
        let boot = self.boot_deadline_secs.as_deref().filter(|text| !text.trim().is_empty());
        let boot = boot.map(|text| settings.read_range("--boot-deadline-secs", text, 1, 86_400));
        let heartbeat = seconds(settings, "--heartbeat-secs", &self.heartbeat_secs, 1);
        let mut pools = Vec::new();
        let choice = match self.launcher.trim() {
            "static" => required(settings, "--static-backend", &self.static_backend)
                .map(|HostPort(backend)| LauncherChoice::Static { backend }),
            "process" => {
                pools = self.pools.read(settings, None, PoolConfig::PROCESSES_WAIT)?.configs;
                let runner_bin = settings.read_optional("--runner-bin", &self.runner_bin);
                required(settings, "--work-dir", &self.work_dir)
                    .map(|work_dir| LauncherChoice::Process { runner_bin, work_dir })
            }
            "kubernetes" => {
                self.check_internal_url(settings, internal_url.as_ref());
                self.kubernetes(settings, times, heartbeat).map(|(config, kept)| {
                    pools = kept;
                    LauncherChoice::Kubernetes(Box::new(config))
                })
            }
            other => {
                settings.refuse("--launcher", format!("{other:?}: static, process and kubernetes are possible"));
                None
            }
        };
        let choice = choice?;
        let boot_deadline = match (boot, &choice) {
            (Some(secs), _) => Duration::from_secs(secs?),
            (None, LauncherChoice::Kubernetes(_)) => KUBERNETES_BOOT_DEADLINE,
            (None, _) => BOOT_DEADLINE,
        };
        Some(RunnerSettings { choice, internal_url, boot_deadline, heartbeat: heartbeat?, pools })
    }

    /// A pod cannot guess where this process is.
    fn check_internal_url(&self, settings: &mut Settings, url: Option<&Url>) {
        match url {
            None if self.internal_url.as_deref().is_none_or(|text| text.trim().is_empty()) => {
                settings
                    .refuse("--internal-url", "needed with --launcher kubernetes: where pods reach the internal port");
            }
            Some(url) if url.scheme() != "http" => {
                settings
                    .refuse("--internal-url", "runners speak http: they reach the internal port inside the cluster");
            }
            _ => {}
        }
    }

    fn kubernetes(
        &self,
        settings: &mut Settings,
        times: Times,
        heartbeat: Option<Duration>,
    ) -> Option<(KubernetesConfig, Vec<PoolConfig>)> {
        let namespace = settings.read_optional("--kubernetes-namespace", &self.kubernetes_namespace);
        let instance = settings.read::<LabelName>("--kubernetes-instance", &self.kubernetes_instance);
        let list_every = settings.read_range("--kubernetes-list-secs", &self.kubernetes_list_secs, 1, 3600);
        let image = required::<String>(settings, "--runner-image", &self.runner_image);
        let installer_image = settings.read_optional("--runner-installer-image", &self.runner_installer_image);
        let folders = settings.read::<Folders>("--runner-folders", &self.runner_folders);
        let template = self.template(settings);
        let cpu = settings.read_optional("--runner-cpu", &self.runner_cpu);
        let memory = settings.read_optional("--runner-memory", &self.runner_memory);
        let storage = settings.read_optional("--runner-ephemeral-storage", &self.runner_ephemeral_storage);
        let ttl_after_finished = seconds(settings, "--runner-ttl-secs", &self.runner_ttl_secs, 0);
        let unschedulable_after = seconds(settings, "--unschedulable-secs", &self.unschedulable_secs, 0);
        let max_idle = seconds(settings, "--runner-idle-secs", &self.runner_idle_secs, 1);
        let pod = PodSettings {
            image: image?,
            installer_image,
            folders: folders?,
            resources: Resources { cpu, memory, ephemeral_storage: storage },
            linger: Duration::from_secs(times.linger?),
            heartbeat: heartbeat?,
            max_idle: max_idle?,
            max_ttl: times.max_ttl?,
        };
        if pod.lacks_folders() {
            settings.refuse("--runner-folders", PodSettings::LACKS_FOLDERS);
            return None;
        }
        let base = RunnerTemplate { pod, template: template?, labels: BTreeMap::new(), spread: true };
        let instance = instance?.0;
        base.check(&instance, DEFAULT_TEMPLATE)
            .map_err(|error| settings.refuse("--runner-pod-template", error))
            .ok()?;
        let Pools { configs, templates } = self.pools.read(settings, Some(base), max_idle?)?;
        for (name, template) in &templates {
            let checked = template.check(&instance, name);
            checked.map_err(|error| settings.refuse("--pools", format!("{name}: {error}"))).ok()?;
        }
        let config = KubernetesConfig {
            namespace: namespace.map(|LabelName(name)| name),
            instance,
            templates,
            ttl_after_finished: ttl_after_finished?,
            unschedulable_after: unschedulable_after?,
            list_every: Duration::from_secs(list_every?),
            request_timeout: KubernetesConfig::REQUEST_TIMEOUT,
        };
        Some((config, configs))
    }

    fn template(&self, settings: &mut Settings) -> Option<PodTemplate> {
        let Some(path) = self.runner_pod_template.as_deref().filter(|path| !path.trim().is_empty()) else {
            return Some(PodTemplate::default());
        };
        let read = PodTemplate::read(path.trim().as_ref());
        read.map_err(|error| settings.refuse("--runner-pod-template", error)).ok()
    }
}

fn seconds(settings: &mut Settings, flag: &str, text: &str, least: u64) -> Option<Duration> {
    settings.read_range(flag, text, least, MAX_SECS).map(Duration::from_secs)
}
