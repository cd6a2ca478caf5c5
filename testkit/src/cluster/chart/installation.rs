//! One installation of the chart: its release, what is around it, and who comes in.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::proxy::IngressProxy;
use super::tools::{Ran, Tools};
use super::volume;
use crate::api::Api;
use crate::cluster::code::Code;
use crate::cluster::kubernetes::Kubernetes;
use crate::connector::Connector;
use crate::postgres::{Server, TestDatabase};

pub const RELEASE: &str = "cliscale";
/// How long anything that should happen soon may take, with other tests' pods on the same node.
const PATIENCE: Duration = Duration::from_secs(60);
/// For Helm's `--timeout`.
const HELM_PATIENCE: &str = "150s";

pub struct Installation {
    pub kubernetes: Kubernetes,
    pub code: Code,
    tools: Tools,
    folder: TempDir,
    proxies: AtomicUsize,
    values: AtomicUsize,
    database_server: OnceCell<Server>,
    /// The volume that was made, if one had to be.
    volume: OnceCell<(String, Option<String>)>,
}

/// A database outside of the cluster, on this machine. Its server is the installation's, so that a failure leaves it
/// until what there is to look at was kept.
pub struct ExternalDatabase {
    /// As pods reach it, with TLS.
    pub url: String,
    pub database: TestDatabase,
}

impl Installation {
    pub(super) async fn new(kubernetes: Kubernetes, tools: Tools) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cliscale-chart-").tempdir()?;
        std::fs::create_dir(folder.path().join("logs"))?;
        let code = Code::start(kubernetes.host).await?;
        let (proxies, values) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (database_server, volume) = (OnceCell::new(), OnceCell::new());
        Ok(Self { kubernetes, code, tools, folder, proxies, values, database_server, volume })
    }

    pub(super) async fn remove(self) -> Result<()> {
        let removed = self.kubernetes.delete_namespace().await;
        if let Some((_, Some(volume))) = self.volume.get() {
            volume::remove(&self.kubernetes, volume).await?;
        }
        removed
    }

    pub fn logs_dir(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// The chart's folder.
    pub fn chart(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../chart")
    }

    /// What every installation of the tests has: their images, little room, and code from this machine.
    pub fn base_values(&self) -> Value {
        let resources = json!({
            "requests": { "cpu": "10m", "memory": "32Mi" },
            "limits": { "cpu": "2", "memory": "256Mi" },
        });
        let runner = json!({
            "requests": { "cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Mi" },
            "limits": { "cpu": "2", "memory": "256Mi", "ephemeral-storage": "256Mi" },
        });
        json!({
            "images": { "registry": registry(), "tag": "e2e" },
            "controller": { "resources": resources },
            "gateway": { "resources": resources },
            "migration": { "resources": resources, "backoffLimit": 0 },
            "postgresql": { "resources": resources },
            "runner": {
                // The template's.
                "cpu": "", "memory": "", "ephemeralStorage": "",
                "podTemplate": { "spec": { "containers": [{ "name": "runner", "resources": runner }] } },
                "jobTtlSeconds": 2,
            },
            "sessions": { "createRate": "10000/min", "allowPrivateCodeHosts": true, "lingerSeconds": 1 },
        })
    }

    /// Values for the bundled PostgreSQL, with a volume to keep its data.
    pub async fn bundled_database(&self) -> Result<Value> {
        let provide = async || {
            let data = self.folder.path().join("volume");
            std::fs::create_dir(&data)?;
            volume::provide(&self.kubernetes, &data).await
        };
        let (class, _) = self.volume.get_or_try_init(provide).await?;
        let image = json!({ "repository": format!("{}/cliscale-postgres", registry()), "tag": "e2e" });
        Ok(json!({
            "postgresql": { "enabled": true, "image": image, "storage": { "size": "1Gi", "className": class } },
        }))
    }

    pub async fn external_database(&self) -> Result<ExternalDatabase> {
        let host: IpAddr = self.kubernetes.host;
        let server = self.database_server.get_or_try_init(|| Server::start_on(host)).await?;
        let database = server.empty_database().await?;
        let url = server.url_at(&format!("{host}:{}", server.port()), &database.name, "sslmode=require");
        Ok(ExternalDatabase { url, database })
    }

    /// `helm VERB cliscale ...`, in the test's namespace.
    pub async fn helm(&self, args: &[&str]) -> Result<Ran> {
        self.tools.run("helm", &self.kubernetes.namespace, args, &self.logs_dir()).await
    }

    pub async fn kubectl(&self, args: &[&str]) -> Result<Ran> {
        self.tools.run("kubectl", &self.kubernetes.namespace, args, &self.logs_dir()).await
    }

    /// `helm install --wait`, or the same with `upgrade`, of the chart with these values on top of the base.
    pub async fn deploy(&self, verb: &[&str], values: &[&Value]) -> Result<Ran> {
        let mut all = self.base_values();
        for more in values {
            merge(&mut all, more);
        }
        let file = self.folder.path().join(format!("values-{}.json", self.values.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&file, serde_json::to_vec(&all)?)?;
        let (chart, file) = (self.chart().display().to_string(), file.display().to_string());
        let args = [verb, &[RELEASE, &chart, "--values", &file, "--wait", "--timeout", HELM_PATIENCE]].concat();
        self.helm(&args).await
    }

    /// One entry of a Secret.
    pub async fn secret(&self, name: &str, entry: &str) -> Result<String> {
        let secret = self.kubernetes.api::<Secret>().get(name).await?;
        let data = secret.data.unwrap_or_default();
        let value = data.get(entry).with_context(|| format!("{name} has no {entry}"))?;
        Ok(String::from_utf8(value.0.clone())?)
    }

    /// A proxy made from the release's Ingress as it is now.
    pub async fn proxy(&self) -> Result<IngressProxy> {
        let folder = self.logs_dir().join(format!("proxy-{}", self.proxies.fetch_add(1, Ordering::Relaxed)));
        IngressProxy::start(&self.kubernetes, &format!("{RELEASE}-ingress"), &folder).await
    }

    /// A client of the API with the release's own key.
    pub async fn api(&self, connector: &Connector, url: &str) -> Result<Api> {
        let key = self.secret(&format!("{RELEASE}-api-key"), "API_KEY").await?;
        Api::by(connector, url, &key, PATIENCE)
    }

    /// A request for a session that runs a command, with next to no code and nothing to install.
    pub fn request(&self, command: &str) -> Value {
        json!({ "code_url": self.code.empty, "command": command, "install_cmd": "" })
    }
}

/// Objects become one, and of anything else the newer stays: as Helm does it.
fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// Where the tests' images are.
fn registry() -> String {
    std::env::var("CLISCALE_E2E_REGISTRY").unwrap_or_else(|_| "localhost".to_owned())
}
