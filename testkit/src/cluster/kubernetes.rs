//! A namespace on the cluster under test, with an account that may do what a controller may and nothing else.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, NamedAuthInfo};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::stack::SOON;

const ACCOUNT: &str = "controller";
/// The label by which a runner's Job and pod are found.
pub const RUNNER_LABEL: &str = "cliscale.dev/runner";

/// A client of the cluster, with all rights, and the namespace that it works in.
#[derive(Clone)]
pub struct Kubernetes {
    pub client: Client,
    pub namespace: String,
    /// Where pods reach this machine.
    pub host: IpAddr,
    pub runner_image: String,
    kubeconfig: Kubeconfig,
}

impl Kubernetes {
    /// The cluster that the environment names. `None`: there is none, and the test is skipped by name.
    pub async fn of_environment() -> Result<Option<Self>> {
        let Some(path) = std::env::var_os("CLISCALE_E2E_KUBECONFIG").map(PathBuf::from) else {
            anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "CLISCALE_E2E_KUBECONFIG is unset under CI");
            println!("skipped: {}: CLISCALE_E2E_KUBECONFIG is unset", super::test_name());
            return Ok(None);
        };
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(&path).with_context(|| path.display().to_string())?;
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default()).await?;
        let host = variable("CLISCALE_E2E_HOST_ADDRESS", "10.89.0.1").parse()?;
        let runner_image = variable("CLISCALE_E2E_RUNNER_IMAGE", "localhost/cliscale-runner:e2e");
        let (client, namespace) = (Client::try_from(config)?, "default".to_owned());
        Ok(Some(Self { client, namespace, host, runner_image, kubeconfig }))
    }

    /// How the cluster is reached, for another client with all rights.
    pub async fn config(&self) -> Result<Config> {
        Ok(Config::from_custom_kubeconfig(self.kubeconfig.clone(), &KubeConfigOptions::default()).await?)
    }

    /// The same cluster with a new namespace.
    pub async fn with_namespace(&self, test: &str) -> Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let namespace = format!("cliscale-e2e-{}", &id[..8]);
        let label: String = test.rsplit("::").next().unwrap_or(test).chars().take(63).collect();
        let made = from(json!({
            "metadata": {
                "name": namespace,
                "labels": { "app.kubernetes.io/part-of": "cliscale-e2e", "cliscale.dev/test": label.trim_end_matches('_') },
            }
        }))?;
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &made).await?;
        Ok(Self { namespace, ..self.clone() })
    }

    /// Begins to remove the namespace and all that is in it, without waiting for that.
    pub async fn delete_namespace(&self) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::background()).await?;
        Ok(())
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object that is given as JSON.
    pub async fn create<K>(&self, object: serde_json::Value) -> Result<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        Ok(self.api::<K>().create(&PostParams::default(), &from(object)?).await?)
    }

    /// Makes the account that controllers use, with the rights of the chart's role, and writes a kubeconfig of it.
    pub async fn make_account(&self, folder: &Path) -> Result<PathBuf> {
        use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
        self.create::<ServiceAccount>(json!({ "metadata": { "name": ACCOUNT } })).await?;
        let rules = json!([
            { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "delete"] },
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"] },
            { "apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"] },
        ]);
        self.create::<Role>(json!({ "metadata": { "name": ACCOUNT }, "rules": rules })).await?;
        self.create::<RoleBinding>(json!({
            "metadata": { "name": ACCOUNT },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT },
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace }],
        }))
        .await?;
        self.wait_until_allowed().await?;
        let request = from(json!({ "spec": { "audiences": [], "expirationSeconds": 7200 } }))?;
        let accounts = self.api::<ServiceAccount>();
        let answer = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await?;
        let token = answer.status.context("a token request without an answer")?.token;
        self.write_kubeconfig(folder, &token)
    }

    /// The API server hears of a binding a moment after it was made.
    async fn wait_until_allowed(&self) -> Result<()> {
        let review: SubjectAccessReview = from(json!({ "spec": {
            "user": format!("system:serviceaccount:{}:{ACCOUNT}", self.namespace),
            "resourceAttributes": { "namespace": self.namespace, "verb": "create", "group": "batch", "resource": "jobs" },
        } }))?;
        let (reviews, deadline) = (Api::<SubjectAccessReview>::all(self.client.clone()), Instant::now() + SOON);
        while !reviews.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed) {
            if Instant::now() > deadline {
                bail!("the account {ACCOUNT} was given no rights");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn write_kubeconfig(&self, folder: &Path, token: &str) -> Result<PathBuf> {
        let token_file = folder.join("account-token");
        std::fs::write(&token_file, token)?;
        let mut config = self.kubeconfig.clone();
        let token_file = Some(token_file.to_str().context("a UTF-8 path")?.to_owned());
        let account = AuthInfo { token_file, ..AuthInfo::default() };
        for context in config.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
            context.user = Some(ACCOUNT.to_owned());
            context.namespace = Some(self.namespace.clone());
        }
        config.auth_infos =
            vec![NamedAuthInfo { name: ACCOUNT.to_owned(), auth_info: Some(account), ..NamedAuthInfo::default() }];
        let path = folder.join("kubeconfig.json");
        std::fs::write(&path, serde_json::to_vec(&config)?)?;
        Ok(path)
    }

    /// The Job of a runner, if it is there.
    pub async fn job(&self, runner: &str) -> Result<Option<Job>> {
        Ok(self.labelled::<Job>(runner).await?.into_iter().next())
    }

    /// The pod of a runner, if it is there.
    pub async fn pod(&self, runner: &str) -> Result<Option<Pod>> {
        Ok(self.labelled::<Pod>(runner).await?.into_iter().next())
    }

    async fn labelled<K>(&self, runner: &str) -> Result<Vec<K>>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let labels = ListParams::default().labels(&format!("{RUNNER_LABEL}={runner}"));
        Ok(self.api::<K>().list(&labels).await?.items)
    }

    /// Waits until a runner's pod satisfies `done`.
    pub async fn wait_for_pod(&self, runner: &str, what: &str, done: impl Fn(&Pod) -> bool) -> Result<Pod> {
        let deadline = Instant::now() + SOON;
        loop {
            let pod = self.pod(runner).await?;
            if let Some(pod) = pod.as_ref().filter(|pod| done(pod)) {
                return Ok(pod.clone());
            }
            if Instant::now() > deadline {
                bail!("the pod of runner {runner} is not {what}: {}", serde_json::to_string(&pod)?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn events(&self) -> Result<Vec<Event>> {
        Ok(self.api::<Event>().list(&ListParams::default()).await?.items)
    }
}

/// An object from its JSON.
pub fn from<T: DeserializeOwned>(object: serde_json::Value) -> Result<T> {
    serde_json::from_value(object).context("an object that the API does not know")
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}
