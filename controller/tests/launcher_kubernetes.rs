//! The Kubernetes launcher on a real cluster: what Kubernetes does to a runner's pod is known here soon after, with
//! the reason. With an account that may do what the documentation asks for, and nothing else.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, body::Bytes};
use controller::launcher::kubernetes::{
    Folders, KubernetesConfig, KubernetesLauncher, PodSettings, PodTemplate, Resources,
};
use controller::launcher::{Condition, Launch, Launcher, Verdict};
use futures_util::{FutureExt, StreamExt, stream};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use session::{EndReason, RunnerId, Secret};
use testkit::cluster::Kubernetes;
use tokio::sync::mpsc;

/// From Kubernetes' knowing to our knowing, with a busy machine's pods to be started first.
const LIMIT: Duration = Duration::from_secs(60);
const TEMPLATE: &str = r#"
spec:
  terminationGracePeriodSeconds: 2
  containers:
    - name: runner
      resources:
        requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 1Mi}
        limits: {cpu: 1, memory: 256Mi, ephemeral-storage: 256Mi}
"#;

struct World {
    kubernetes: Kubernetes,
    launcher: KubernetesLauncher,
    /// What runners said when they called home, with their tokens.
    calls: mpsc::UnboundedReceiver<(RunnerId, String, Value)>,
    internal_url: url::Url,
}

/// Runs a test in a namespace of its own; skipped where there is no cluster.
async fn on_cluster(change: impl FnOnce(&mut KubernetesConfig), test: impl AsyncFnOnce(&mut World)) {
    let Some(kubernetes) = Kubernetes::of_environment().await.unwrap() else { return };
    let name = std::thread::current().name().unwrap_or("launcher").to_owned();
    let kubernetes = kubernetes.with_namespace(&name).await.unwrap();
    let outcome = AssertUnwindSafe(async {
        let mut world = world(kubernetes.clone(), change).await;
        test(&mut world).await;
    });
    let outcome = outcome.catch_unwind().await;
    kubernetes.delete_namespace().await.unwrap();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

async fn world(kubernetes: Kubernetes, change: impl FnOnce(&mut KubernetesConfig)) -> World {
    let folder = tempfile::tempdir().unwrap();
    let account = Kubeconfig::read_from(kubernetes.make_account(folder.path()).await.unwrap()).unwrap();
    let cluster = kube::Config::from_custom_kubeconfig(account, &KubeConfigOptions::default()).await.unwrap();
    // The client reads the token again and again.
    let _ = folder.keep();
    let mut config = KubernetesConfig {
        namespace: None,
        instance: "launcher-test".to_owned(),
        templates: KubernetesConfig::templates_of(
            PodSettings {
                image: kubernetes.runner_image.clone(),
                installer_image: None,
                folders: Folders::default(),
                resources: Resources::default(),
                linger: Duration::from_secs(1),
                heartbeat: Duration::from_secs(1),
                max_idle: Duration::from_secs(300),
                max_ttl: Duration::from_secs(1),
            },
            PodTemplate::parse(TEMPLATE).unwrap(),
        ),
        ttl_after_finished: Duration::from_secs(1),
        unschedulable_after: Duration::from_secs(2),
        list_every: Duration::from_secs(30),
        request_timeout: KubernetesConfig::REQUEST_TIMEOUT,
    };
    change(&mut config);
    let launcher = KubernetesLauncher::with_cluster(cluster, config).unwrap();
    let (told, calls) = mpsc::unbounded_channel();
    let home = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = home.local_addr().unwrap().port();
    let routes = Router::new()
        .route("/internal/runners/{id}/ready", post(ready))
        .route("/internal/runners/{id}/heartbeat", post(|| async { StatusCode::NO_CONTENT }))
        .with_state(told);
    tokio::spawn(async move { axum::serve(home, routes).await });
    let internal_url = format!("http://{}:{port}", kubernetes.host).parse().unwrap();
    World { kubernetes, launcher, calls, internal_url }
}

async fn ready(
    State(told): State<mpsc::UnboundedSender<(RunnerId, String, Value)>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    let token = headers["authorization"].to_str().unwrap().to_owned();
    let _ = told.send((id.parse().unwrap(), token, serde_json::from_slice(&body).unwrap()));
    Json(json!({}))
}

impl World {
    async fn launch(&self) -> RunnerId {
        let runner = RunnerId::new();
        let boot_token = Secret::new(format!("token-of-{runner}"));
        let (internal_url, template) = (self.internal_url.clone(), "default".to_owned());
        let request = Launch { runner, boot_token, internal_url, template, standby: false };
        let handle = self.launcher.launch(request.clone()).await.unwrap();
        assert_eq!(self.launcher.launch(request).await.unwrap(), handle, "again, it is the same");
        runner
    }

    /// Launches a runner and waits until it has called home; answers its address, too.
    async fn launch_and_hear(&mut self) -> (RunnerId, std::net::SocketAddr) {
        let runner = self.launch().await;
        let call = tokio::time::timeout(LIMIT, self.calls.recv()).await.expect("a call home").unwrap();
        assert_eq!((call.0, call.1), (runner, format!("Bearer token-of-{runner}")));
        (runner, call.2["address"].as_str().unwrap().parse().unwrap())
    }

    /// Waits until news make a runner over.
    async fn over(&self, runner: RunnerId) -> Verdict {
        let mut news = self.launcher.news().unwrap();
        let wait = async {
            loop {
                if let Condition::Over(verdict) = self.launcher.condition(runner) {
                    return verdict;
                }
                news.recv().await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("news")
    }

    async fn pod_name(&self, runner: RunnerId) -> String {
        self.kubernetes.pod(&runner.to_string()).await.unwrap().unwrap().metadata.name.unwrap()
    }

    fn pods(&self) -> Api<Pod> {
        self.kubernetes.api()
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never {what}"));
}

#[tokio::test]
async fn a_runner_calls_home_from_its_pod_and_goes_when_it_is_destroyed() {
    on_cluster(
        |_| {},
        async |world| {
            let (runner, address) = world.launch_and_hear().await;
            assert_eq!(address.port(), 7681);
            until("known by its address", async || world.launcher.has_address(runner, address.ip())).await;
            until("listed", async || world.launcher.alive().await.is_ok_and(|alive| alive == [runner])).await;
            assert_eq!(world.launcher.condition(runner), Condition::Fine);
            world.launcher.destroy(runner, None).await.unwrap();
            assert!(world.launcher.alive().await.unwrap().is_empty());
            assert_eq!(world.over(runner).await.reason, EndReason::RunnerLost);
            world.launcher.destroy(runner, None).await.unwrap();
            until("gone", async || world.kubernetes.pod(&runner.to_string()).await.unwrap().is_none()).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_pod_that_is_deleted_is_told_from_one_that_is_evicted() {
    on_cluster(
        |_| {},
        async |world| {
            let (deleted, _) = world.launch_and_hear().await;
            let (evicted, _) = world.launch_and_hear().await;
            world.pods().delete(&world.pod_name(deleted).await, &DeleteParams::default()).await.unwrap();
            world.pods().evict(&world.pod_name(evicted).await, &EvictParams::default()).await.unwrap();
            assert_eq!(world.over(deleted).await.reason, EndReason::RunnerLost);
            assert_eq!(world.over(evicted).await.reason, EndReason::Evicted);
            // The reasons stay when the objects are gone, and no second pod comes.
            until("gone", async || world.pods().list(&Default::default()).await.unwrap().items.is_empty()).await;
            until("over", async || world.launcher.alive().await.is_ok_and(|alive| alive.is_empty())).await;
            assert_eq!(world.over(deleted).await.reason, EndReason::RunnerLost);
            assert_eq!(world.over(evicted).await.reason, EndReason::Evicted);
        },
    )
    .await;
}

#[tokio::test]
async fn a_jobs_deadline_is_told_as_such() {
    on_cluster(
        |_| {},
        async |world| {
            let (runner, _) = world.launch_and_hear().await;
            let jobs: Api<Job> = world.kubernetes.api();
            let sooner = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 1}}));
            jobs.patch(&format!("cliscale-runner-{runner}"), &PatchParams::default(), &sooner).await.unwrap();
            assert_eq!(world.over(runner).await.reason, EndReason::TimedOut);
        },
    )
    .await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named() {
    let image = "localhost/no-such-runner:1";
    // Without trying to pull it, which would be tried for a while.
    let template = TEMPLATE.to_owned() + "      imagePullPolicy: Never\n";
    let change = |config: &mut KubernetesConfig| {
        let default = config.templates.get_mut("default").unwrap();
        default.pod.image = image.to_owned();
        default.template = PodTemplate::parse(&template).unwrap();
    };
    on_cluster(change, async |world| {
        let runner = world.launch().await;
        let verdict = world.over(runner).await;
        assert_eq!(verdict.reason, EndReason::StartFailed);
        assert!(verdict.message.contains(image), "{}", verdict.message);
        world.launcher.destroy(runner, None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_pod_beyond_the_quota_is_told_with_the_quota() {
    on_cluster(
        |_| {},
        async |world| {
            let quota = json!({"metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}});
            world.kubernetes.create::<ResourceQuota>(quota).await.unwrap();
            let quotas: Api<ResourceQuota> = world.kubernetes.api();
            until("counted", async || {
                quotas.get("no-pods").await.unwrap().status.is_some_and(|status| status.hard.is_some())
            })
            .await;
            let runner = world.launch().await;
            let verdict = world.over(runner).await;
            assert_eq!(verdict.reason, EndReason::StartFailed);
            assert!(verdict.message.contains("exceeded quota: no-pods"), "{}", verdict.message);
        },
    )
    .await;
}

#[tokio::test]
async fn a_pod_that_no_node_has_room_for_is_given_up() {
    let template = TEMPLATE.to_owned() + "  nodeSelector: {no: such-node}\n";
    on_cluster(
        |config| config.templates.get_mut("default").unwrap().template = PodTemplate::parse(&template).unwrap(),
        async |world| {
            let runner = world.launch().await;
            let verdict = world.over(runner).await;
            assert_eq!(verdict.reason, EndReason::StartFailed);
            assert!(verdict.message.contains("nodes are available"), "{}", verdict.message);
        },
    )
    .await;
}

#[tokio::test]
async fn the_image_is_kept_on_every_node_by_the_daemonset_that_we_offer() {
    on_cluster(
        |_| {},
        async |world| {
            let mut manifest: Value = serde_saphyr::from_str(include_str!("../../deploy/prepull.yaml")).unwrap();
            let image = &mut manifest["spec"]["template"]["spec"]["containers"][0]["image"];
            *image = json!(world.kubernetes.runner_image);
            world.kubernetes.create::<DaemonSet>(manifest).await.unwrap();
            let sets: Api<DaemonSet> = world.kubernetes.api();
            until("ready on a node", async || {
                let status = sets.get("cliscale-prepull").await.unwrap().status.unwrap_or_default();
                status.number_ready > 0 && status.number_ready == status.desired_number_scheduled
            })
            .await;
            assert!(world.launcher.alive().await.unwrap().is_empty(), "no runner of ours");
        },
    )
    .await;
}

#[tokio::test]
async fn more_jobs_than_one_answer_has_are_all_found() {
    on_cluster(
        |_| {},
        async |world| {
            let made = stream::iter(0..510).map(async |_| {
                let runner = RunnerId::new();
                let labels = json!({ "app.kubernetes.io/instance": "launcher-test", "cliscale.dev/runner": runner });
                let container = json!({ "name": "runner", "image": world.kubernetes.runner_image });
                let pod = json!({ "spec": { "restartPolicy": "Never", "containers": [container] } });
                // Its pod is never made.
                let job = json!({
                    "metadata": { "name": format!("cliscale-runner-{runner}"), "labels": labels },
                    "spec": { "suspend": true, "template": pod },
                });
                world.kubernetes.create::<Job>(job).await.unwrap();
                runner
            });
            let mut made: Vec<RunnerId> = made.buffer_unordered(16).collect().await;
            let mut alive = world.launcher.alive().await.unwrap();
            made.sort();
            alive.sort();
            assert_eq!(alive, made);
        },
    )
    .await;
}
