//! The pod of a runner as the launcher wants it: what it must be, and what it is where an operator says nothing else.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;
use session::RunnerId;

use super::job;
use super::quantity::Amount;
use crate::launcher::Launch;

/// The container that is the runner.
pub const RUNNER_CONTAINER: &str = "runner";
/// The init container that brings the runner program into an image that lacks it.
pub const INSTALLER_CONTAINER: &str = "cliscale-installer";
/// Where runners listen; part of the address that they tell when they call home.
const PORT: i32 = 7681;
/// The user that runners and commands run as: the image has a passwd entry for it.
const USER: i64 = 10_001;
/// From SIGTERM to SIGKILL: what a runner needs to say goodbye.
const GRACE_SECS: i64 = 10;
const WORKSPACE: &str = "/workspace";
/// Where runners spill output: a volume apart, which a full workspace does not touch.
const SPILL: &str = "/var/spool/cliscale";
/// The volume of what the installer brings, and where it is.
pub(super) const INSTALLED: &str = "cliscale";
const INSTALLED_AT: &str = "/cliscale";
/// Beside all the deadlines that a runner keeps by itself.
const SLACK: Duration = Duration::from_secs(300);
/// What cluster autoscalers ask before they empty a node.
pub(super) const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
pub(super) const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
pub(super) const PULL_POLICY: &str = "IfNotPresent";
/// What a pod gets where neither a setting nor the template says otherwise.
const DEFAULT_RESOURCES: [(&str, &str); 3] = [("cpu", "1"), ("memory", "1Gi"), (EPHEMERAL_STORAGE, "4Gi")];

/// What every runner's pod is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodSettings {
    pub image: String,
    /// Holds the runner program where `image` does not: any image will do then.
    pub installer_image: Option<String>,
    pub folders: Folders,
    pub resources: Resources,
    /// How long a runner keeps the result readable after its session's end.
    pub linger: Duration,
    pub heartbeat: Duration,
    /// How long a runner waits for its session.
    pub max_idle: Duration,
    /// The longest that a session may live.
    pub max_ttl: Duration,
}

/// Where runners have the folders that they and their commands write to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Folders {
    /// Volumes of the pod, while the image cannot be written to.
    #[default]
    Volumes,
    /// The image's own, which its user may write to. A kubelet looks for a pod's volumes every 300 ms, and the first time
    /// too early: a pod without any starts so much sooner.
    Image,
}

/// The word is no such place.
#[derive(Debug, thiserror::Error)]
#[error("volumes and image are possible")]
pub struct UnknownFolders;

impl FromStr for Folders {
    type Err = UnknownFolders;

    fn from_str(text: &str) -> Result<Self, UnknownFolders> {
        match text {
            "volumes" => Ok(Self::Volumes),
            "image" => Ok(Self::Image),
            _ => Err(UnknownFolders),
        }
    }
}

/// Amounts that settings give, as requests and limits at once; `None`: the template's, else a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu: Option<Amount>,
    pub memory: Option<Amount>,
    pub ephemeral_storage: Option<Amount>,
}

impl PodSettings {
    pub const LACKS_FOLDERS: &str =
        "image: only an image that has the runner program has its folders, too, so not with an installer image";

    /// Any image will do where the program is brought into it, also one without the folders.
    pub fn lacks_folders(&self) -> bool {
        self.folders == Folders::Image && self.installer_image.is_some()
    }

    /// No runner has a reason to live longer: the Job's own deadline.
    pub(super) fn outer_deadline(&self) -> Duration {
        self.max_idle + self.max_ttl + self.linger + SLACK
    }
}

/// What every pod must be. What of this a template sets otherwise is refused. `volumes`: the template's.
pub(super) fn required(settings: &PodSettings, instance: &str, volumes: &[Volume]) -> PodTemplateSpec {
    let spec = PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![required_container(settings, volumes)],
        enable_service_links: Some(false),
        host_ipc: Some(false),
        host_network: Some(false),
        host_pid: Some(false),
        init_containers: settings.installer_image.as_deref().map(|image| vec![installer(image)]),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            fs_group: Some(USER),
            run_as_group: Some(USER),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        // The runner obeys signals from outside its PID namespace alone, so that namespace must be its own.
        share_process_namespace: Some(false),
        ..PodSpec::default()
    };
    let labels = job::common_labels(instance);
    PodTemplateSpec { metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }), spec: Some(spec) }
}

fn required_container(settings: &PodSettings, volumes: &[Volume]) -> Container {
    let given = &settings.resources;
    let amounts = [("cpu", &given.cpu), ("memory", &given.memory), (EPHEMERAL_STORAGE, &given.ephemeral_storage)];
    let given = amounts.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount.as_ref()?.into())));
    let seconds = |duration: Duration| duration.as_secs().to_string();
    let in_image = settings.folders == Folders::Image;
    let is_volume = |name: &str| !in_image || volumes.iter().any(|volume| volume.name == name);
    let volumes = FOLDERS.into_iter().filter(|(name, _)| is_volume(name));
    let mut mounts: Vec<_> = volumes.map(|(name, path)| mount(name, path)).collect();
    if settings.installer_image.is_some() {
        mounts.extend(installed_mounts());
    }
    Container {
        command: settings.installer_image.as_ref().map(|_| vec![format!("{INSTALLED_AT}/cliscale-runner")]),
        env: Some(vec![
            pod_address("CLISCALE_ADDRESS"),
            // Commands get what the image and the template set, and a home that is made for them.
            variable("CLISCALE_CONTAINER", "true"),
            variable("CLISCALE_LISTEN", format!("0.0.0.0:{PORT}")),
            variable("CLISCALE_WORKSPACE", format!("{WORKSPACE}/code")),
            variable("CLISCALE_HOME", format!("{WORKSPACE}/home")),
            variable("CLISCALE_SPILL_DIR", SPILL),
            variable("CLISCALE_LINGER_SECS", seconds(settings.linger)),
            variable("CLISCALE_HEARTBEAT_SECS", seconds(settings.heartbeat)),
            variable("CLISCALE_MAX_IDLE_SECS", seconds(settings.max_idle)),
            variable("CLISCALE_LOG_FORMAT", "json"),
        ]),
        image: Some(settings.image.clone()),
        name: RUNNER_CONTAINER.to_owned(),
        resources: Some(amounts_as_resources(given.collect())),
        security_context: Some(SecurityContext { read_only_root_filesystem: Some(!in_image), ..hardened() }),
        volume_mounts: Some(mounts),
        // An image's own may be closed to the user.
        working_dir: Some(WORKSPACE.to_owned()),
        ..Container::default()
    }
}

/// Needs nothing of its image but the program, which is its entrypoint.
fn installer(image: &str) -> Container {
    Container {
        args: Some(vec!["--install-to".to_owned(), INSTALLED_AT.to_owned()]),
        image: Some(image.to_owned()),
        name: INSTALLER_CONTAINER.to_owned(),
        security_context: Some(hardened()),
        // What it says when it fails is told to whoever waits for the session.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![mount(INSTALLED, INSTALLED_AT)]),
        ..Container::default()
    }
}

/// The program, and an entry for the user: an image that was not made for runners has none, and many programs end without.
fn installed_mounts() -> [VolumeMount; 3] {
    let read_only = |mount: VolumeMount| VolumeMount { read_only: Some(true), ..mount };
    let file = |name: &str| VolumeMount {
        sub_path: Some(name.to_owned()),
        ..read_only(mount(INSTALLED, &format!("/etc/{name}")))
    };
    [read_only(mount(INSTALLED, INSTALLED_AT)), file("passwd"), file("group")]
}

/// What one runner's pod has of its own.
pub(super) fn own(launch: &Launch) -> PodTemplateSpec {
    let container = Container {
        name: RUNNER_CONTAINER.to_owned(),
        env: Some(vec![
            variable("CLISCALE_CONTROLLER_URL", launch.internal_url.as_str()),
            variable("CLISCALE_RUNNER_ID", launch.runner.to_string()),
            variable("CLISCALE_BOOT_TOKEN", launch.boot_token.expose()),
        ]),
        ..Container::default()
    };
    let mut labels = own_label(launch.runner);
    if launch.standby {
        labels.insert(job::STANDBY_LABEL.to_owned(), "true".to_owned());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

/// What standbys have besides: an autoscaler may take them away, and they are spread over nodes. Nobody is harmed by a
/// node without room for that.
pub(super) fn standby(template: &str, spread: bool, evictable: bool) -> PodTemplateSpec {
    let same = [(job::TEMPLATE_LABEL, template), (job::STANDBY_LABEL, "true")];
    let same = same.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let over_nodes = TopologySpreadConstraint {
        label_selector: Some(LabelSelector { match_labels: Some(BTreeMap::from(same)), ..LabelSelector::default() }),
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    };
    let annotations = evictable.then(|| BTreeMap::from([(SAFE_TO_EVICT.to_owned(), "true".to_owned())]));
    PodTemplateSpec {
        metadata: Some(ObjectMeta { annotations, ..ObjectMeta::default() }),
        spec: Some(PodSpec { topology_spread_constraints: spread.then(|| vec![over_nodes]), ..PodSpec::default() }),
    }
}

pub(super) fn own_label(runner: RunnerId) -> BTreeMap<String, String> {
    BTreeMap::from([(job::RUNNER_LABEL.to_owned(), runner.to_string())])
}

/// What pods are where the template says nothing of it.
pub(super) fn defaults(template: &PodTemplateSpec) -> PodTemplateSpec {
    let given = template.spec.clone().unwrap_or_default();
    let runner = given.containers.iter().find(|container| container.name == RUNNER_CONTAINER);
    let resources = runner.and_then(|runner| runner.resources.clone()).unwrap_or_default();
    let mentioned = |name: &str| {
        let names = |amounts: &Option<BTreeMap<String, Quantity>>| amounts.iter().any(|map| map.contains_key(name));
        names(&resources.requests) || names(&resources.limits)
    };
    let amounts = DEFAULT_RESOURCES.into_iter().filter(|(name, _)| !mentioned(name));
    let amounts = amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).collect();
    let runner = Container {
        image_pull_policy: Some(PULL_POLICY.to_owned()),
        name: RUNNER_CONTAINER.to_owned(),
        ports: Some(vec![ContainerPort {
            container_port: PORT,
            name: Some("terminal".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(amounts_as_resources(amounts)),
        ..Container::default()
    };
    let sidecar = |container: &Container| Container {
        name: container.name.clone(),
        security_context: Some(unprivileged()),
        ..Container::default()
    };
    let annotation = (SAFE_TO_EVICT.to_owned(), "false".to_owned());
    let spec = PodSpec {
        containers: vec![runner],
        init_containers: given.init_containers.map(|containers| containers.iter().map(sidecar).collect()),
        termination_grace_period_seconds: Some(GRACE_SECS),
        ..PodSpec::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { annotations: Some(BTreeMap::from([annotation])), ..ObjectMeta::default() }),
        spec: Some(spec),
    }
}

/// An empty folder of the pod's own, bounded by what the pod may store.
pub(super) fn folder(name: &str, size: Option<Quantity>) -> Volume {
    let empty_dir = EmptyDirVolumeSource { size_limit: size, ..EmptyDirVolumeSource::default() };
    Volume { name: name.to_owned(), empty_dir: Some(empty_dir), ..Volume::default() }
}

/// The folders that every runner has: the names of their volumes, and where they are.
pub(super) const FOLDERS: [(&str, &str); 3] = [("workspace", WORKSPACE), ("tmp", "/tmp"), ("spill", SPILL)];

/// Kubernetes must not delete the pods of a node that it cannot reach: a kubelet that is down alone harms no session,
/// and whether a runner lives on is found out by asking it.
pub(super) fn patience(settings: &PodSettings) -> [Toleration; 2] {
    let seconds = i64::try_from(settings.outer_deadline().as_secs()).ok();
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(|taint| Toleration {
        effect: Some("NoExecute".to_owned()),
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        toleration_seconds: seconds,
        ..Toleration::default()
    })
}

fn hardened() -> SecurityContext {
    SecurityContext {
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..unprivileged()
    }
}

fn unprivileged() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        ..SecurityContext::default()
    }
}

/// Without what is not shared out in amounts of time and space, such as devices.
pub(super) fn plain_amounts(resources: &ResourceRequirements) -> ResourceRequirements {
    let plain = |amounts: &Option<BTreeMap<String, Quantity>>| {
        let known = |name: &String| DEFAULT_RESOURCES.iter().any(|(known, _)| known == name);
        let amounts = amounts.iter().flatten().filter(|(name, _)| known(name));
        Some(amounts.map(|(name, amount)| (name.clone(), amount.clone())).collect())
    };
    ResourceRequirements {
        limits: plain(&resources.limits),
        requests: plain(&resources.requests),
        ..ResourceRequirements::default()
    }
}

fn amounts_as_resources(amounts: BTreeMap<String, Quantity>) -> ResourceRequirements {
    let amounts = Some(amounts).filter(|amounts| !amounts.is_empty());
    ResourceRequirements { requests: amounts.clone(), limits: amounts, ..ResourceRequirements::default() }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// A variable that holds the pod's address.
fn pod_address(name: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: "status.podIP".to_owned(), ..ObjectFieldSelector::default() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), ..EnvVar::default() }
}
