//! Room for the bundled PostgreSQL where the cluster makes none by itself: a folder of the node, which must be this
//! machine.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::cluster::kubernetes::{Kubernetes, from};

/// Marks the class that claims get which name none.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The class to claim a volume of, and the volume that was made for it, if one had to be.
pub(super) async fn provide(kubernetes: &Kubernetes, folder: &Path) -> Result<(String, Option<String>)> {
    let classes = Api::<StorageClass>::all(kubernetes.client.clone()).list(&ListParams::default()).await?.items;
    if classes.iter().any(|class| class.annotations().get(DEFAULT).is_some_and(|value| value == "true")) {
        return Ok((String::new(), None));
    }
    let nodes = Api::<Node>::all(kubernetes.client.clone()).list(&ListParams::default()).await?.items;
    let node = nodes.first().context("a node")?.name_any();
    // The name is the class's, too: no claim of another test takes it.
    let name = kubernetes.namespace.clone();
    let here = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] });
    let volume = from(json!({
        "metadata": { "name": name, "labels": { "app.kubernetes.io/part-of": "cliscale-e2e" } },
        "spec": {
            "storageClassName": name,
            "capacity": { "storage": "10Gi" },
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": { "path": folder },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [here] }] } },
        },
    }))?;
    Api::<PersistentVolume>::all(kubernetes.client.clone()).create(&PostParams::default(), &volume).await?;
    Ok((name.clone(), Some(name)))
}

pub(super) async fn remove(kubernetes: &Kubernetes, name: &str) -> Result<()> {
    let volumes = Api::<PersistentVolume>::all(kubernetes.client.clone());
    volumes.delete(name, &DeleteParams::background()).await?;
    Ok(())
}
