//! What is kept of a namespace whose test failed: everything in it, and every log.

use std::path::{Path, PathBuf};

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};
use serde::Serialize;

use super::kubernetes::Kubernetes;

/// Lines of a log that are printed; the files have them all.
const PRINTED: usize = 15;

/// Writes everything to a folder that outlives the test, prints the gist, and answers the folder.
/// `logs`: the folder of the logs on this machine.
pub async fn keep(kubernetes: &Kubernetes, logs: &Path) -> Result<PathBuf> {
    let parent = std::env::var_os("CLISCALE_EVIDENCE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(&kubernetes.namespace);
    std::fs::create_dir_all(&folder)?;
    keep_logs(logs, &folder)?;
    keep_objects(kubernetes, &folder).await?;
    Ok(folder)
}

fn keep_logs(logs: &Path, folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            let below = folder.join(name);
            std::fs::create_dir_all(&below)?;
            keep_logs(&path, &below)?;
            continue;
        }
        std::fs::copy(&path, folder.join(name))?;
        // A picture may be among them.
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let loud = text.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""));
        let loud: Vec<&str> = loud.collect();
        for line in loud.iter().skip(loud.len().saturating_sub(PRINTED)) {
            eprintln!("{}: {line}", name.to_string_lossy());
        }
    }
    Ok(())
}

async fn keep_objects(kubernetes: &Kubernetes, folder: &Path) -> Result<()> {
    let all = ListParams::default();
    let (pods, jobs, events) = (kubernetes.api::<Pod>(), kubernetes.api::<Job>(), kubernetes.api());
    let (listed, jobs) = (pods.list(&all).await?.items, jobs.list(&all).await?.items);
    let events: Vec<Event> = events.list(&all).await?.items;
    write(folder, "pods.json", &listed)?;
    write(folder, "jobs.json", &jobs)?;
    write(folder, "events.json", &events)?;
    for pod in &listed {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("without a phase");
        eprintln!("pod {}: {phase}", pod.name_any());
        keep_pod_logs(kubernetes, pod, folder).await?;
    }
    for event in events.iter().skip(events.len().saturating_sub(PRINTED)) {
        let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
        eprintln!("event {:?}: {} {}", event.involved_object.name, reason.unwrap_or(""), message.unwrap_or(""));
    }
    Ok(())
}

/// The logs of all containers of a pod, and of their lives before.
async fn keep_pod_logs(kubernetes: &Kubernetes, pod: &Pod, folder: &Path) -> Result<()> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for previous in [false, true] {
            let wanted = LogParams { container: Some(container.name.clone()), previous, ..LogParams::default() };
            // A container that never started has none.
            if let Ok(log) = kubernetes.api::<Pod>().logs(&pod.name_any(), &wanted).await {
                let life = if previous { "-previous" } else { "" };
                std::fs::write(folder.join(format!("{}-{}{life}.log", pod.name_any(), container.name)), log)?;
            }
        }
    }
    Ok(())
}

fn write<T: Serialize>(folder: &Path, name: &str, objects: &[T]) -> Result<()> {
    Ok(std::fs::write(folder.join(name), serde_json::to_vec_pretty(objects)?)?)
}
