//! Pods of single containers, in a namespace of the test's own that is removed with it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use serde_json::{Value, json};
use testkit::cluster::Kubernetes;
use testkit::stack::SOON;

/// Runs a test in a new namespace; skipped by name where there is no cluster.
pub async fn in_namespace(test: impl AsyncFnOnce(&Kubernetes) -> Result<()>) -> Result<()> {
    let Some(kubernetes) = Kubernetes::of_environment().await? else { return Ok(()) };
    let kubernetes = kubernetes.with_namespace(std::thread::current().name().unwrap_or("test")).await?;
    let outcome = AssertUnwindSafe(test(&kubernetes)).catch_unwind().await;
    let removed = kubernetes.delete_namespace().await;
    match outcome {
        Ok(result) => result.and(removed),
        Err(panic) => resume_unwind(panic),
    }
}

/// What every one of our containers may: nothing.
pub fn hardened() -> Value {
    json!({
        "runAsNonRoot": true,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// A pod of one container, which is given as far as it differs: `image`, and what else the test is about.
pub async fn create(kubernetes: &Kubernetes, name: &str, mut container: Value) -> Result<()> {
    container["name"] = json!("it");
    container["imagePullPolicy"] = json!("IfNotPresent");
    container["resources"] = json!({ "requests": { "cpu": "10m", "memory": "16Mi" } });
    kubernetes
        .create::<Pod>(json!({
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "containers": [container],
            },
        }))
        .await?;
    Ok(())
}

/// Waits until a pod satisfies `done`.
pub async fn wait_for(kubernetes: &Kubernetes, name: &str, what: &str, done: impl Fn(&Pod) -> bool) -> Result<Pod> {
    let deadline = Instant::now() + 2 * SOON;
    loop {
        let pod = kubernetes.api::<Pod>().get(name).await?;
        if done(&pod) {
            return Ok(pod);
        }
        if Instant::now() > deadline {
            let log = log(kubernetes, name).await.unwrap_or_default();
            bail!("pod {name} is not {what}: {}\n{log}", serde_json::to_string(&pod.status)?);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How a pod's container ended, if it has.
pub fn ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()?.terminated.as_ref()
}

/// Runs a container to its end; answers how it ended and what it said.
pub async fn run(kubernetes: &Kubernetes, name: &str, container: Value) -> Result<(ContainerStateTerminated, String)> {
    create(kubernetes, name, container).await?;
    let pod = wait_for(kubernetes, name, "at its end", |pod| ended(pod).is_some()).await?;
    let end = ended(&pod).context("an end")?.clone();
    // A container that could not be started has no log.
    let said = if end.reason.as_deref() == Some("StartError") { String::new() } else { log(kubernetes, name).await? };
    Ok((end, said))
}

pub async fn log(kubernetes: &Kubernetes, name: &str) -> Result<String> {
    Ok(kubernetes.api::<Pod>().logs(name, &Default::default()).await?)
}
