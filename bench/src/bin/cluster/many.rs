//! 10,000 runners on Kubernetes at once: what the launcher takes to know of all of them. Their Jobs and pods are what the
//! launcher makes, copied, and no node has them: the Jobs are suspended, and the pods are said to run. The launcher is
//! a process of its own, and does what a controller does while nothing changes.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::pin::Running;
use bench::proc::Usage;
use bench::{Goal, OURS, Options, Row};
use controller::launcher::kubernetes::{
    INSTANCE_LABEL, KubernetesConfig, KubernetesLauncher, PodSettings, PodTemplate,
};
use controller::launcher::{Launch, Launcher};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use session::{DEFAULT_TEMPLATE, RunnerId, Secret};
use testkit::cluster::Kubernetes;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

const RUNNERS: usize = 10_000;
const AT_ONCE: usize = 32;
/// Twice what lies between two lists.
const WATCHED: Duration = Duration::from_secs(60);
/// Between two looks of a controller's reconciler that has so much to look at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const INSTANCE: &str = "bench-many";
const NAMESPACE: &str = "BENCH_NAMESPACE";

pub async fn measure(options: &Options) -> Result<()> {
    let cluster = Kubernetes::of_environment().await?.context("a cluster")?;
    let kubernetes = cluster.with_namespace("many").await?;
    let measured = measure_in(options, &kubernetes).await;
    kubernetes.delete_namespace().await?;
    measured
}

async fn measure_in(options: &Options, kubernetes: &Kubernetes) -> Result<()> {
    let count = options.size(RUNNERS, 10);
    make(kubernetes, count).await?;
    bench::machine::come_to_rest().await?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--only", "many"]).env(NAMESPACE, &kubernetes.namespace);
    let mut launcher = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let output = pipe::Receiver::from_owned_fd(launcher.0.stdout.take().context("its output")?.into())?;
    let mut looks = BufReader::new(output).lines();
    for _ in 0..2 {
        let found = looks.next_line().await?.context("the launcher ended")?;
        ensure!(found == count.to_string(), "{found} of {count} runners are known");
    }
    let before = Usage::of(launcher.pid())?;
    let watched = options.settle(WATCHED);
    tokio::time::sleep(watched).await;
    let after = Usage::of(launcher.pid())?;
    launcher.stop()?;
    let row = |what: &str, unit| Row::new(format!("{count} runners on Kubernetes: the launcher's {what}"), OURS, unit);
    row("resident memory", "MiB").samples([after.resident_kib / 1024.0]).goal(Goal::at_most(200.0)).print();
    let share = after.since(before).cpu_secs / watched.as_secs_f64() * 100.0;
    row("processor, nothing changing", "% of a core").samples([share]).goal(Goal::at_most(5.0)).print();
    Ok(())
}

/// Whether this process is the launcher that is measured.
pub fn is_launcher() -> bool {
    std::env::var_os(NAMESPACE).is_some()
}

/// Looks for ever, and prints how many runners it found.
pub async fn look() -> Result<()> {
    let kubernetes = Kubernetes::of_environment().await?.context("a cluster")?;
    let launcher = launcher(&kubernetes, std::env::var(NAMESPACE)?).await?;
    loop {
        // Before the database is read, and after; right after the start it may not have listed them yet.
        for _ in 0..2 {
            if let Ok(alive) = launcher.alive().await {
                println!("{}", alive.len());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn launcher(kubernetes: &Kubernetes, namespace: String) -> Result<KubernetesLauncher> {
    let pod = PodSettings { image: kubernetes.runner_image.clone(), ..PodSettings::default() };
    let config = KubernetesConfig {
        namespace: Some(namespace),
        instance: INSTANCE.to_owned(),
        templates: KubernetesConfig::templates_of(pod, PodTemplate::default()),
        ttl_after_finished: Duration::from_secs(60),
        unschedulable_after: Duration::from_secs(3600),
        list_every: Duration::from_secs(30),
        request_timeout: KubernetesConfig::REQUEST_TIMEOUT,
    };
    Ok(KubernetesLauncher::with_cluster(kubernetes.config().await?, config)?)
}

async fn make(kubernetes: &Kubernetes, count: usize) -> Result<()> {
    let launcher = launcher(kubernetes, kubernetes.namespace.clone()).await?;
    let first = RunnerId::new();
    let (template, internal_url) = (DEFAULT_TEMPLATE.to_owned(), "http://127.0.0.1:9".parse()?);
    let boot_token = Secret::new("of-a-bench-and-of-nothing-else");
    launcher.launch(Launch { runner: first, boot_token, internal_url, template, standby: false }).await?;
    let jobs = kubernetes.api::<Job>();
    let name = format!("cliscale-runner-{first}");
    let made = serde_json::to_string(&jobs.get(&name).await?)?;
    jobs.delete(&name, &DeleteParams::background()).await?;
    stream::iter(0..count)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, async |number| {
            let runner = RunnerId::new();
            let job: Value = serde_json::from_str(&made.replace(&first.to_string(), &runner.to_string()))?;
            copy(kubernetes, job, runner, number).await
        })
        .await
}

async fn copy(kubernetes: &Kubernetes, job: Value, runner: RunnerId, number: usize) -> Result<()> {
    let mut spec = job["spec"].clone();
    let mut pod = spec["template"].clone();
    for object in [&mut spec["template"]["metadata"], &mut pod["metadata"]] {
        let labels = object["labels"].as_object_mut().context("labels")?;
        labels.retain(|name, _| !name.contains("controller-uid") && !name.contains("job-name"));
        ensure!(labels.contains_key(INSTANCE_LABEL), "a pod of this instance");
    }
    spec["suspend"] = json!(true);
    spec.as_object_mut().context("a Job")?.remove("selector");
    let name = job["metadata"]["name"].clone();
    kubernetes
        .create::<Job>(json!({"metadata": {"name": name, "labels": job["metadata"]["labels"]}, "spec": spec}))
        .await?;
    let name = format!("cliscale-runner-{runner}-bench");
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["schedulingGates"] = json!([{"name": "cliscale.dev/bench"}]);
    kubernetes.create::<Pod>(pod).await?;
    let address = format!("10.{}.{}.{}", 200 + number / 65_536, number / 256 % 256, number % 256);
    let running = json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let pods = kubernetes.api::<Pod>();
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(running)).await?;
    Ok(())
}
