//! What of a release is in its namespace, and whether it has changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::ListParams;
use testkit::cluster::chart::Installation;
use testkit::stack::SOON;

/// Everything that a release may make, as `kubectl get` knows it.
const KINDS: &str = "deployments,statefulsets,daemonsets,replicasets,pods,jobs,cronjobs,services,ingresses,\
                     networkpolicies,secrets,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,\
                     horizontalpodautoscalers,persistentvolumeclaims";
/// What every namespace has.
const OF_KUBERNETES: &[&str] = &["configmap/kube-root-ca.crt", "serviceaccount/default"];

/// Every Secret of the release with all that is in it, Helm's own records left out.
pub async fn secrets(installation: &Installation) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
    let secrets = installation.kubernetes.api::<Secret>().list(&ListParams::default()).await?.items;
    let own = secrets.into_iter().filter(|secret| secret.type_.as_deref() != Some("helm.sh/release.v1"));
    Ok(own
        .map(|secret| {
            let data = secret.data.clone().unwrap_or_default();
            (secret.name_any(), data.into_iter().map(|(name, value)| (name, value.0)).collect())
        })
        .collect())
}

/// The pods of a component that are not about to go, by name.
pub async fn pods(installation: &Installation, component: &str) -> Result<Vec<Pod>> {
    let labels = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    let mut pods = installation.kubernetes.api::<Pod>().list(&labels).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    pods.sort_by_key(ResourceExt::name_any);
    Ok(pods)
}

/// The names of the pods that serve.
pub async fn serving(installation: &Installation) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for component in ["controller", "gateway"] {
        names.extend(pods(installation, component).await?.iter().map(ResourceExt::name_any));
    }
    Ok(names)
}

/// Waits until those that were replaced are gone, and with them the connections that they still held.
pub async fn wait_until_settled(installation: &Installation) -> Result<()> {
    let deadline = Instant::now() + SOON;
    let servers = ListParams::default().labels("app.kubernetes.io/component in (controller, gateway)");
    loop {
        let listed = installation.kubernetes.api::<Pod>().list(&servers).await?.items;
        let going = listed.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
        let going: Vec<String> = going.map(|pod| pod.name_any()).collect();
        if going.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "still there: {going:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The newest migration's pod: whether it succeeded, and its log.
pub async fn migration(installation: &Installation) -> Result<(bool, String)> {
    let mut pods = pods(installation, "migration").await?;
    pods.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
    let pod = pods.pop().context("no pod of a migration was kept")?;
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let log = installation.kubernetes.api::<Pod>().logs(&pod.name_any(), &Default::default()).await?;
    Ok((phase.as_deref() == Some("Succeeded"), log))
}

/// What is in the namespace that is not Kubernetes' own, as `kind/name`.
pub async fn left(installation: &Installation) -> Result<Vec<String>> {
    let listed = installation.kubectl(&["get", KINDS, "--output", "name"]).await?.succeeded()?;
    let short = |line: &str| {
        let (kind, name) = line.split_once('/').unwrap_or((line, ""));
        format!("{}/{name}", kind.split('.').next().unwrap_or(kind))
    };
    Ok(listed.lines().map(short).filter(|name| !OF_KUBERNETES.contains(&name.as_str())).collect())
}

/// Waits until what is left is as it should be: much goes a moment after those that owned it.
pub async fn wait_until_left(installation: &Installation, wanted: impl Fn(&[String]) -> bool) -> Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        let left = left(installation).await?;
        if wanted(&left) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "left over: {left:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
