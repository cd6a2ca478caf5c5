//! The controllers' internal address as runners see it in production: a Service, whose endpoints are the controllers
//! that are there. It has no selector, since they run outside the cluster.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinHandle;

use super::kubernetes::Kubernetes;
use super::routes::{ControllerPorts, Routes};

/// Between two attempts while the API server is away.
const AGAIN: Duration = Duration::from_millis(500);

/// Who answers at a Service.
#[derive(Debug, Clone, Copy)]
pub enum Members {
    /// Every controller that runs, in turn.
    All,
    /// The first while it runs, and then the other.
    First(usize, usize),
}

impl Members {
    fn answers(self, index: usize, running: &[Option<ControllerPorts>]) -> bool {
        let runs = |index: usize| running.get(index).copied().flatten().is_some();
        match self {
            Self::All => runs(index),
            Self::First(first, other) => index == if runs(first) { first } else { other } && runs(index),
        }
    }
}

/// Creates the Service and answers the URL at which runners reach it.
pub async fn create(kubernetes: &Kubernetes, name: &str) -> Result<String> {
    let made: Service = kubernetes
        .create(json!({
            "metadata": { "name": name },
            "spec": { "ports": [{ "name": "internal", "port": 80, "protocol": "TCP" }] },
        }))
        .await?;
    let address = made.spec.and_then(|spec| spec.cluster_ip).context("a Service without an address")?;
    Ok(format!("http://{address}"))
}

/// Lets a Service's endpoints follow the controllers for as long as the task lives.
pub fn follow(kubernetes: Kubernetes, name: String, members: Members, routes: &Arc<Routes>) -> JoinHandle<()> {
    let mut controllers = routes.watch_controllers();
    tokio::spawn(async move {
        loop {
            let running = controllers.borrow_and_update().clone();
            while let Err(error) = write(&kubernetes, &name, members, &running).await {
                tracing::debug!(%error, "endpoints could not be written; trying again");
                tokio::time::sleep(AGAIN).await;
            }
            if controllers.changed().await.is_err() {
                return;
            }
        }
    })
}

/// A slice per controller, since each listens on a port of its own.
async fn write(
    kubernetes: &Kubernetes,
    name: &str,
    members: Members,
    running: &[Option<ControllerPorts>],
) -> Result<()> {
    let slices = kubernetes.api::<EndpointSlice>();
    for (index, ports) in running.iter().enumerate() {
        let answers = members.answers(index, running);
        if matches!(members, Members::First(first, other) if index != first && index != other) {
            continue;
        }
        let slice = slice(kubernetes.host, name, index, ports.filter(|_| answers));
        let applied = PatchParams::apply("cliscale-e2e").force();
        let slice_name = format!("{name}-{index}");
        slices.patch(&slice_name, &applied, &Patch::Apply(slice)).await?;
    }
    Ok(())
}

fn slice(host: IpAddr, name: &str, index: usize, ports: Option<ControllerPorts>) -> serde_json::Value {
    let endpoints = match ports {
        Some(_) => json!([{ "addresses": [host], "conditions": { "ready": true } }]),
        None => json!([]),
    };
    let port = ports.map_or(1, |ports| ports.internal.port());
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-{index}"),
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "cliscale-e2e",
            },
        },
        "addressType": if host.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": endpoints,
        "ports": [{ "name": "internal", "port": port, "protocol": "TCP" }],
    })
}
