//! What is kept of a stack whose test failed: everything in the namespace, and every log.

use std::path::{Path, PathBuf};

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};
use serde::Serialize;

use super::stack::ClusterStack;

/// Lines of a log that are printed; the files have them all.
const PRINTED: usize = 15;

/// Writes everything to a folder that outlives the test, prints the gist, and answers the folder.
pub async fn keep(stack: &ClusterStack) -> Result<PathBuf> {
    let parent = std::env::var_os("CLISCALE_EVIDENCE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(&stack.kubernetes.namespace);
    std::fs::create_dir_all(&folder)?;
    keep_logs(stack, &folder)?;
    keep_objects(stack, &folder).await?;
    Ok(folder)
}

fn keep_logs(stack: &ClusterStack, folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(stack.logs_dir())? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        std::fs::copy(&path, folder.join(name))?;
        let text = std::fs::read_to_string(&path)?;
        let loud = text.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""));
        let loud: Vec<&str> = loud.collect();
        for line in loud.iter().skip(loud.len().saturating_sub(PRINTED)) {
            eprintln!("{}: {line}", name.to_string_lossy());
        }
    }
    Ok(())
}

async fn keep_objects(stack: &ClusterStack, folder: &Path) -> Result<()> {
    let all = ListParams::default();
    let (pods, jobs, events) = (stack.kubernetes.api::<Pod>(), stack.kubernetes.api::<Job>(), stack.kubernetes.api());
    let (listed, jobs) = (pods.list(&all).await?.items, jobs.list(&all).await?.items);
    let events: Vec<Event> = events.list(&all).await?.items;
    write(folder, "pods.json", &listed)?;
    write(folder, "jobs.json", &jobs)?;
    write(folder, "events.json", &events)?;
    for pod in &listed {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("without a phase");
        eprintln!("pod {}: {phase}", pod.name_any());
        // A container that never started has none.
        if let Ok(log) = pods.logs(&pod.name_any(), &LogParams::default()).await {
            std::fs::write(folder.join(format!("{}.log", pod.name_any())), log)?;
        }
    }
    for event in events.iter().skip(events.len().saturating_sub(PRINTED)) {
        let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
        eprintln!("event {:?}: {} {}", event.involved_object.name, reason.unwrap_or(""), message.unwrap_or(""));
    }
    Ok(())
}

fn write<T: Serialize>(folder: &Path, name: &str, objects: &[T]) -> Result<()> {
    Ok(std::fs::write(folder.join(name), serde_json::to_vec_pretty(objects)?)?)
}
