//! How a pod comes about: defaults, over them the operator's template, over that what every pod must be, over that what
//! is one runner's own. A template that would be overruled, or that loosens the sandbox, is refused at the start.

use std::time::Duration;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements, SecurityContext};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use session::{RunnerId, Secret};
use url::Url;

use super::pod::{self, EPHEMERAL_STORAGE, Folders, INSTALLER_CONTAINER, PodSettings, RUNNER_CONTAINER};
use super::template::TemplateError;
use super::{RunnerTemplate, job};
use crate::launcher::Launch;

/// What pods of one template are made of, but for what is a runner's own.
pub(super) struct Blueprint {
    name: String,
    pod: PodTemplateSpec,
    spread: bool,
    /// Whether standbys may be taken away by an autoscaler: an operator's own word on that stays.
    evictable: bool,
    pub outer_deadline: Duration,
}

impl Blueprint {
    pub fn new(template: &RunnerTemplate, instance: &str, name: &str) -> Result<Self, TemplateError> {
        let mut pod = merged(template, instance)?;
        let labels = pod.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(job::TEMPLATE_LABEL.to_owned(), name.to_owned());
        for (key, value) in &template.labels {
            // By these we tell whose a pod is and what may be done with it, also those that come later.
            if key.starts_with(job::OWN_LABELS)
                || labels.insert(key.clone(), value.clone()).is_some_and(|earlier| earlier != *value)
            {
                return Err(TemplateError::field(format!("labels.{key}"), "the launcher sets this"));
            }
        }
        let given = &template.template.spec.metadata;
        let annotations = given.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        let blueprint = Self {
            name: name.to_owned(),
            pod,
            spread: template.spread,
            evictable: !annotations.is_some_and(|given| given.contains_key(pod::SAFE_TO_EVICT)),
            outer_deadline: template.pod.outer_deadline(),
        };
        // A template must not set what is a runner's own, either; which runner does not matter.
        let some_runner = Launch {
            runner: RunnerId::default(),
            boot_token: Secret::new("TOKEN"),
            internal_url: Url::parse("http://controller").map_err(|error| TemplateError::Syntax(error.to_string()))?,
            template: name.to_owned(),
            standby: true,
        };
        template.template.survives_in(&blueprint.personal(&some_runner), "the launcher does not let this be set")?;
        Ok(blueprint)
    }

    /// One runner's pod.
    pub fn personal(&self, launch: &Launch) -> PodTemplateSpec {
        let mut pod = self.pod.clone();
        pod.merge_from(pod::own(launch));
        if launch.standby {
            pod.merge_from(pod::standby(&self.name, self.spread, self.evictable));
        }
        pod
    }

    /// Another text for pods that differ.
    pub fn digest(&self) -> String {
        // Fields come in the order of their names.
        let pod = serde_json::to_string(&self.pod).unwrap_or_default();
        format!("{pod} {} {} {:?}", self.spread, self.evictable, self.outer_deadline)
    }
}

fn merged(template: &RunnerTemplate, instance: &str) -> Result<PodTemplateSpec, TemplateError> {
    let (settings, given) = (&template.pod, &template.template.spec);
    refuse_containers(given)?;
    let mut merged = pod::defaults(given);
    merged.merge_from(given.clone());
    let volumes = given.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    merged.merge_from(pod::required(settings, instance, volumes));
    let spec = merged.spec.get_or_insert_default();
    add_tolerations(spec, settings);
    if settings.folders == Folders::Volumes {
        add_folders(spec);
    }
    if settings.installer_image.is_some() {
        complete_installer(spec)?;
    }
    refuse_powers(spec)?;
    Ok(merged)
}

fn add_tolerations(spec: &mut PodSpec, settings: &PodSettings) {
    let tolerations = spec.tolerations.get_or_insert_default();
    for toleration in pod::patience(settings) {
        if !tolerations.iter().any(|given| given.key == toleration.key) {
            tolerations.push(toleration);
        }
    }
}

fn add_folders(spec: &mut PodSpec) {
    let size = storage_limit(spec);
    let volumes = spec.volumes.get_or_insert_default();
    for (name, _) in pod::FOLDERS {
        if !volumes.iter().any(|volume| volume.name == name) {
            volumes.push(pod::folder(name, size.clone()));
        }
    }
}

/// How much a runner may store.
fn storage_limit(spec: &PodSpec) -> Option<Quantity> {
    let limits = runner_resources(spec)?.limits.as_ref()?;
    limits.get(EPHEMERAL_STORAGE).cloned()
}

fn runner_resources(spec: &PodSpec) -> Option<&ResourceRequirements> {
    spec.containers.iter().find(|container| container.name == RUNNER_CONTAINER)?.resources.as_ref()
}

/// The installer's volume, and what of its container follows the runner's. A pod asks for the most that any of its init
/// containers asks for or else for all that its containers do, so an installer with the runner's amounts costs nothing.
fn complete_installer(spec: &mut PodSpec) -> Result<(), TemplateError> {
    let size = storage_limit(spec);
    let amounts = runner_resources(spec).map(pod::plain_amounts);
    let volumes = spec.volumes.get_or_insert_default();
    if volumes.iter().any(|volume| volume.name == pod::INSTALLED) {
        let why = "the runner program is brought in a volume of this name";
        return Err(TemplateError::field(format_args!("spec.volumes[{}]", pod::INSTALLED), why));
    }
    volumes.push(pod::folder(pod::INSTALLED, size));
    let mut containers = spec.init_containers.iter_mut().flatten();
    if let Some(installer) = containers.find(|container| container.name == INSTALLER_CONTAINER) {
        installer.image_pull_policy.get_or_insert_with(|| pod::PULL_POLICY.to_owned());
        if installer.resources.is_none() {
            installer.resources = amounts;
        }
    }
    Ok(())
}

/// A container that does not end would keep the pod, and with it the Job, from ending.
fn refuse_containers(template: &PodTemplateSpec) -> Result<(), TemplateError> {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    for (index, container) in containers.enumerate() {
        if container.name != RUNNER_CONTAINER {
            let why = format!(
                "only {RUNNER_CONTAINER:?} can be here; a sidecar goes into initContainers, with restartPolicy Always"
            );
            return Err(TemplateError::field(format_args!("spec.containers[{index}].name"), why));
        }
    }
    Ok(())
}

/// What would let a command out of its sandbox. Fields that the launcher sets are not looked at here.
fn refuse_powers(spec: &PodSpec) -> Result<(), TemplateError> {
    let containers = spec.containers.iter().map(|container| ("containers", container));
    let sidecars = spec.init_containers.iter().flatten().map(|container| ("initContainers", container));
    for (list, container) in containers.chain(sidecars) {
        refuse_loose_container(list, container)?;
    }
    for volume in spec.volumes.iter().flatten() {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        if sources.into_iter().any(|source| source.service_account_token.is_some()) {
            let field = format!("spec.volumes[{}].projected.sources", volume.name);
            return Err(TemplateError::field(field, "runners get no service account token"));
        }
    }
    Ok(())
}

fn refuse_loose_container(list: &str, container: &Container) -> Result<(), TemplateError> {
    let Some(context) = &container.security_context else { return Ok(()) };
    match loose_field(context) {
        None => Ok(()),
        Some(field) => {
            let field = format!("spec.{list}[{}].securityContext.{field}", container.name);
            Err(TemplateError::field(field, "this would loosen the sandbox"))
        }
    }
}

fn loose_field(context: &SecurityContext) -> Option<&'static str> {
    let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
    let profile = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
    let loose = [
        ("privileged", context.privileged == Some(true)),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation == Some(true)),
        ("capabilities.add", added.is_some_and(|added| !added.is_empty())),
        ("seccompProfile", profile == Some("Unconfined")),
        ("procMount", context.proc_mount.as_deref().is_some_and(|mount| mount != "Default")),
        ("runAsNonRoot", context.run_as_non_root == Some(false)),
        ("runAsUser", context.run_as_user == Some(0)),
    ];
    loose.into_iter().find_map(|(field, loose)| loose.then_some(field))
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
