//! From POST /api/sessions to the first byte of a nonce that the command prints, at a WebSocket client, on Kubernetes.
//! Cold, one session after the other, with folders that are volumes and with folders of the image; beside each, in the
//! same run, a bare Job of the same image whose container calls back with a nonce, without and with a volume: what
//! Kubernetes itself costs. Warm, from a pool of standbys: one after the other, and 20 at once. And what the launcher takes
//! that knows of 10,000 runners.
//!
//! It needs the cluster that `CLISCALE_E2E_KUBECONFIG` names, and the programs beside it.

mod many;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bench::{Goal, OURS, Options, Row, machine, percentile};
use clap::Parser;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;
use session::DEFAULT_TEMPLATE;
use session::frames::TTY_R1;
use testkit::cluster::{ClusterOptions, ClusterStack, hits::Hits};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

/// As the controller has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sessions that start together.
const AT_ONCE: usize = 20;
const COLD: &str = "cold start on the cluster: POST to first byte";
const COLD_IN_IMAGE: &str = "cold start on the cluster, folders in the image: POST to first byte";
const BARE_JOB: &str = "a bare Job's call";
const BARE_JOB_WITH_VOLUME: &str = "a bare Job's call, with a volume";
/// A template whose runners have no volumes.
const IN_IMAGE: &str = "in-image";

#[tokio::main]
async fn main() -> Result<()> {
    if many::is_launcher() {
        return many::look().await;
    }
    let options = Options::parse();
    let runs = options.size(3 * options.runs(), 1);
    if options.wants("cold") {
        cold(runs).await?;
    }
    if options.wants("warm") {
        warm(runs, options.runs()).await?;
    }
    // Only where it is asked for: to make them takes minutes.
    if options.only.as_deref() == Some("many") {
        many::measure(&options).await?;
    }
    Ok(())
}

async fn cold(runs: usize) -> Result<()> {
    ClusterOptions::default()
        .set("CLISCALE_LINGER_SECS", "0")
        .pools(json!([{"name": "default"}, {"name": IN_IMAGE, "folders": "image"}]))
        .run(async |stack| {
            let hits = Hits::start(stack.kubernetes.host).await?;
            let mut took = [const { Vec::new() }; 4];
            for run in 0..=runs {
                let these = [
                    session(stack, DEFAULT_TEMPLATE).await?,
                    session(stack, IN_IMAGE).await?,
                    bare_job(stack, &hits, run, false).await?,
                    bare_job(stack, &hits, run, true).await?,
                ];
                // The first of each pays for connections and caches that a server at work has.
                if run > 0 {
                    took.iter_mut().zip(these).for_each(|(all, this)| all.push(this));
                }
            }
            let [in_volumes, in_image, jobs, jobs_with_volume] = took;
            for (measure, sessions) in [(COLD, in_volumes), (COLD_IN_IMAGE, in_image)] {
                let goal = Goal::at_most_peers(1.25, &[BARE_JOB]);
                Row::new(measure, OURS, "ms").samples(sessions).goal(goal).print();
                Row::new(measure, BARE_JOB, "ms").samples(jobs.clone()).print();
                Row::new(measure, BARE_JOB_WITH_VOLUME, "ms").samples(jobs_with_volume.clone()).print();
            }
            Ok(())
        })
        .await
}

/// Each measurement is of standbys that have waited for a while, and of a machine that makes none meanwhile.
async fn warm(runs: usize, bursts: usize) -> Result<()> {
    let pool = json!([{"name": "default", "min": AT_ONCE, "perMinute": 3000}]);
    ClusterOptions::default()
        .set("CLISCALE_LINGER_SECS", "0")
        .pools(pool)
        .run(async |stack| {
            let (mut serial, mut at_once, mut latest) = (Vec::new(), Vec::new(), Vec::new());
            while serial.len() < runs {
                wait_until_full(stack).await?;
                pause(stack, true).await?;
                for _ in 0..AT_ONCE.min(runs - serial.len()) {
                    serial.push(first_byte(stack).await?);
                }
                pause(stack, false).await?;
            }
            for _ in 0..bursts {
                wait_until_full(stack).await?;
                pause(stack, true).await?;
                let burst = futures_util::future::try_join_all((0..AT_ONCE).map(|_| first_byte(stack))).await?;
                pause(stack, false).await?;
                latest.push(percentile(&burst, 0.95));
                at_once.extend(burst);
            }
            let row = |measure: &str| Row::new(format!("warm start on the cluster{measure}"), OURS, "ms");
            row(": p95").samples([percentile(&serial, 0.95)]).goal(Goal::at_most(50.0)).print();
            row("").samples(serial).goal(Goal::at_most(25.0)).print();
            // Of each time that 20 start.
            row(", 20 at once: p95").samples(latest).goal(Goal::at_most(120.0)).print();
            row(", 20 at once").samples(at_once).print();
            Ok(())
        })
        .await
}

async fn pause(stack: &ClusterStack, paused: bool) -> Result<()> {
    let body = json!({ "paused": paused });
    let (status, answer) = stack.call(reqwest::Method::PATCH, "/api/pools/default", Some(body)).await?;
    anyhow::ensure!(status == 200, "{status}: {answer}");
    Ok(())
}

/// And until nothing is left to do of earlier sessions.
async fn wait_until_full(stack: &ClusterStack) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let (_, answer) = stack.call(reqwest::Method::GET, "/api/pools", None).await?;
        let pool = &answer["pools"][0];
        if (pool["idle"].as_u64(), pool["claimed"].as_u64()) == (Some(AT_ONCE as u64), Some(0)) {
            // What made the last of them, and cleared away those before, goes on for a while.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return machine::come_to_rest().await;
        }
        anyhow::ensure!(Instant::now() < deadline, "the pool is not full: {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One session, which ends by itself.
async fn session(stack: &ClusterStack, template: &str) -> Result<f64> {
    let (took, id) = timed(stack, template, "").await?;
    let view = stack.wait_ended(&id).await?;
    // So that one run's end is not another's beginning.
    stack.wait_until_freed(view["runnerId"].as_str().context("a runner")?).await?;
    Ok(took)
}

/// One whose command goes on, as those in terminals do: its end is not in the way of others' starts.
async fn first_byte(stack: &ClusterStack) -> Result<f64> {
    Ok(timed(stack, DEFAULT_TEMPLATE, "; read -t 2").await?.0)
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

/// How long a session took whose command prints a nonce, and then does more; and its id.
async fn timed(stack: &ClusterStack, template: &str, more: &str) -> Result<(f64, String)> {
    let nonce = uuid();
    // In two halves, so that no echo of the command itself is taken for what it prints.
    let (head, tail) = nonce.split_at(16);
    let began = Instant::now();
    let mut request = stack.request(&format!("printf %s%s {head} {tail}{more}"));
    request["template"] = json!(template);
    let entry = stack.create(request).await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    client.wait_for(&nonce, SOON).await?;
    Ok((millis(began), entry["sessionId"].as_str().context("an id")?.to_owned()))
}

async fn bare_job(stack: &ClusterStack, hits: &Hits, run: usize, volume: bool) -> Result<f64> {
    let name = format!("bare-{run}-{volume}");
    let mut container = json!({
        "name": "bare", "image": stack.kubernetes.runner_image, "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", hits.call(&name)],
    });
    let mut volumes = json!([]);
    if volume {
        container["volumeMounts"] = json!([{"name": "empty", "mountPath": "/empty"}]);
        volumes = json!([{"name": "empty", "emptyDir": {}}]);
    }
    let job = json!({
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [container], "volumes": volumes,
        } } },
    });
    let began = Instant::now();
    stack.kubernetes.create::<Job>(job).await?;
    hits.wait_for(&name).await?;
    let took = millis(began);
    let all = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    stack.kubernetes.api::<Job>().delete(&name, &all).await?;
    let deadline = Instant::now() + SOON;
    while stack.kubernetes.api::<Job>().get_opt(&name).await?.is_some() {
        anyhow::ensure!(Instant::now() < deadline, "a bare Job stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(took)
}

fn uuid() -> String {
    session::SessionId::new().to_string().replace('-', "")
}
