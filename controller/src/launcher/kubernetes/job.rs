//! The Job of a runner. Nothing of a session is in it; its one secret is the boot token, which is good once, for a call
//! from the pod's own address.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use kube::core::ObjectMeta;
use session::RunnerId;

use super::KubernetesConfig;
use super::layers::Blueprint;
use super::pod::own_label;
use crate::launcher::Launch;

/// What the names of all labels of ours begin with.
pub(super) const OWN_LABELS: &str = "cliscale.dev/";
/// Holds the runner's id on everything that is a runner's.
pub const RUNNER_LABEL: &str = "cliscale.dev/runner";
/// Which template its pod is made of.
pub const TEMPLATE_LABEL: &str = "cliscale.dev/template";
/// On pods of standbys, until a session has them.
pub const STANDBY_LABEL: &str = "cliscale.dev/standby";
/// Which session has a pod that was a standby.
pub const SESSION_LABEL: &str = "cliscale.dev/session";
/// Which installation it belongs to.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const PREFIX: &str = "cliscale-runner-";

pub(super) fn name(runner: RunnerId) -> String {
    format!("{PREFIX}{runner}")
}

/// Whose Job has this name.
pub(super) fn runner_of_name(name: &str) -> Option<RunnerId> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Whose a labelled object is.
pub(super) fn runner_of(metadata: &ObjectMeta) -> Option<RunnerId> {
    metadata.labels.as_ref()?.get(RUNNER_LABEL)?.parse().ok()
}

pub(super) fn instance(job: &Job) -> Option<&String> {
    job.metadata.labels.as_ref()?.get(INSTANCE_LABEL)
}

pub(super) fn common_labels(instance: &str) -> BTreeMap<String, String> {
    let labels =
        [("app.kubernetes.io/name", "cliscale"), ("app.kubernetes.io/component", "runner"), (INSTANCE_LABEL, instance)];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub(super) fn job(config: &KubernetesConfig, blueprint: &Blueprint, launch: &Launch) -> Job {
    let mut labels = common_labels(&config.instance);
    labels.extend(own_label(launch.runner));
    labels.insert(TEMPLATE_LABEL.to_owned(), launch.template.clone());
    Job {
        metadata: ObjectMeta { name: Some(name(launch.runner)), labels: Some(labels), ..ObjectMeta::default() },
        spec: Some(JobSpec {
            active_deadline_seconds: i64::try_from(blueprint.outer_deadline.as_secs()).ok(),
            // A runner serves once: one that failed is never run again.
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            // Nor is one that is still going away replaced.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: blueprint.personal(launch),
            ttl_seconds_after_finished: i32::try_from(config.ttl_after_finished.as_secs()).ok(),
            ..JobSpec::default()
        }),
        status: None,
    }
}
