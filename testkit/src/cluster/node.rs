//! The node as somebody with the machine has it: the processes of pods, and the cluster's own programs, which a test
//! may stop and start where the cluster is the project's own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use tokio::process::Command;

use super::kubernetes::Kubernetes;
use crate::stack::SOON;

/// The supervisor of a runner's pod as a process of this machine, which must be the pod's node.
pub fn runner_process(pod: &Pod) -> Result<u32> {
    let uid = pod.metadata.uid.as_deref().context("a pod with an id")?;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        if is_runner(&path, uid) {
            return Ok(pid);
        }
    }
    bail!("no runner of pod {uid} is among this machine's processes: is this machine its node?")
}

/// In the pod's control group, the first process of its own PID namespace, and not the pause container's.
fn is_runner(process: &Path, pod: &str) -> bool {
    let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
    let status = read("status");
    let inner =
        status.lines().find_map(|line| line.strip_prefix("NSpid:")).and_then(|ids| ids.split_whitespace().last());
    read("cgroup").contains(pod) && inner == Some("1") && read("cmdline").contains("cliscale-runner")
}

/// The project's own cluster on this machine.
pub struct OwnCluster {
    program: PathBuf,
}

impl OwnCluster {
    /// `program`: the project's `e2e/cluster/cluster`.
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned() }
    }

    pub async fn run(&self, args: &[&str]) -> Result<()> {
        let output = Command::new(&self.program).args(args).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "cluster {args:?} failed: {said}");
        Ok(())
    }

    /// Whether all of it runs; a test that breaks it starts from there.
    pub async fn is_whole(&self) -> bool {
        self.run(&["status"]).await.is_ok()
    }

    /// Puts everything back, whatever a test has left broken.
    pub async fn restore(&self) -> Result<()> {
        self.run(&["heal"]).await?;
        for name in ["kube-apiserver", "kubelet"] {
            self.run(&["start", name]).await?;
        }
        let deadline = Instant::now() + 2 * SOON;
        while !self.is_whole().await {
            anyhow::ensure!(Instant::now() < deadline, "the cluster does not come back");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

impl Kubernetes {
    /// Whether every node says that it is ready, as the API server has it.
    pub async fn nodes_are_ready(&self) -> Result<bool> {
        let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await?.items;
        let ready = |node: &Node| {
            let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        Ok(nodes.iter().all(ready))
    }

    /// How many lists of objects in namespaces the API server has answered since it started, by its own metrics.
    pub async fn namespaced_lists(&self, resource: &str) -> Result<u64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = self.client.request_text(request).await?;
        let has = |line: &str, label: &str, value: &str| line.contains(&format!("{label}=\"{value}\""));
        let counted = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && has(line, "verb", "LIST")
                && has(line, "scope", "namespace")
                && has(line, "resource", resource)
        });
        let counts = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(counts.sum::<f64>() as u64)
    }
}
