//! From POST /api/sessions to the first byte of a nonce that the command prints, at a WebSocket client, on Kubernetes:
//! cold starts, one session after the other. Beside each, in the same run, a bare Job of the same image whose container
//! calls back with a nonce: what Kubernetes itself costs.
//!
//!     export CLISCALE_E2E_KUBECONFIG=$(e2e/cluster/cluster up)
//!     cargo build --release --bins && cargo bench -p e2e --bench cluster-first-byte [-- RUNS]
//!
//! RUNS: 30. Prints minimum, p50, p95 and maximum in milliseconds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;
use session::frames::TTY_R1;
use testkit::cluster::{ClusterOptions, ClusterStack, hits::Hits};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

#[tokio::main]
async fn main() -> Result<()> {
    // cargo bench adds --bench.
    let runs = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(30);
    ClusterOptions::default()
        .set("CLISCALE_LINGER_SECS", "0")
        .run(async |stack| {
            let hits = Hits::start(stack.kubernetes.host).await?;
            // The first of each pays for connections and caches that a server at work has.
            session(stack).await?;
            bare_job(stack, &hits, runs).await?;
            let (mut sessions, mut jobs) = (Vec::new(), Vec::new());
            for run in 0..runs {
                sessions.push(session(stack).await?);
                jobs.push(bare_job(stack, &hits, run).await?);
            }
            report("POST to first byte", sessions);
            report("a bare Job's call", jobs);
            Ok(())
        })
        .await
}

async fn session(stack: &ClusterStack) -> Result<Duration> {
    let nonce = uuid();
    // In two halves, so that no echo of the command itself is taken for what it prints.
    let (head, tail) = nonce.split_at(16);
    let began = Instant::now();
    let entry = stack.run(&format!("printf %s%s {head} {tail}")).await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    client.wait_for(&nonce, SOON).await?;
    let took = began.elapsed();
    let view = stack.wait_ended(entry["sessionId"].as_str().context("an id")?).await?;
    // So that one run's end is not another's beginning.
    stack.wait_until_freed(view["runnerId"].as_str().context("a runner")?).await?;
    Ok(took)
}

async fn bare_job(stack: &ClusterStack, hits: &Hits, run: usize) -> Result<Duration> {
    let name = format!("bare-{run}");
    let container = json!({
        "name": "bare", "image": stack.kubernetes.runner_image, "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", hits.call(&name)],
    });
    let job = json!({
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [container],
        } } },
    });
    let began = Instant::now();
    stack.kubernetes.create::<Job>(job).await?;
    hits.wait_for(&name).await?;
    let took = began.elapsed();
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

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        let rank = (share * times.len() as f64).ceil() as usize;
        times[rank.clamp(1, times.len()) - 1].as_secs_f64() * 1000.0
    };
    let runs = times.len();
    println!("{what}, {runs} runs: min {:.0} p50 {:.0} p95 {:.0} max {:.0} ms", at(0.0), at(0.5), at(0.95), at(1.0));
}
