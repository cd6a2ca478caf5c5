//! What breaks the cluster itself, one after the other: the kubelet, a pod's network, the API server. Only where the
//! cluster is the project's own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::cluster::ending::Seen;
use testkit::cluster::node::{OwnCluster, runner_process};
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::stack::{SOON, is_running, wait_until};
use testkit::terminal_client::TerminalClient;
use tokio::sync::Mutex;

/// One at a time: each needs a cluster that is whole but for what it breaks itself.
static CLUSTER: Mutex<()> = Mutex::const_new(());

/// Runs a test on a stack while nobody else breaks anything, and puts the cluster back whatever comes of it.
async fn alone(test: impl AsyncFnOnce(&ClusterStack, &OwnCluster) -> Result<()>) -> Result<()> {
    alone_with(ClusterOptions::default(), test).await
}

async fn alone_with(
    options: ClusterOptions,
    test: impl AsyncFnOnce(&ClusterStack, &OwnCluster) -> Result<()>,
) -> Result<()> {
    let _alone = CLUSTER.lock().await;
    let cluster = OwnCluster::new(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/cluster"));
    if std::env::var_os("CLISCALE_E2E_KUBECONFIG").is_some() && !cluster.is_whole().await {
        println!("skipped: {}: the cluster is not this project's own", std::thread::current().name().unwrap_or("test"));
        return Ok(());
    }
    options
        .run(async |stack| {
            wait_for_account(stack).await?;
            let tested = test(stack, &cluster).await;
            cluster.restore().await?;
            tested
        })
        .await
}

/// Pods are refused in a new namespace until it has its account, and whoever makes those is slow to come back after an API
/// server that was away.
async fn wait_for_account(stack: &ClusterStack) -> Result<()> {
    let (accounts, deadline) = (stack.kubernetes.api::<ServiceAccount>(), Instant::now() + 2 * SOON);
    while accounts.get_opt("default").await?.is_none() {
        anyhow::ensure!(Instant::now() < deadline, "the namespace never had an account");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A terminal of a session that answers every line, the session's id, and its runner's.
async fn terminal(stack: &ClusterStack) -> Result<(TerminalClient, String, String)> {
    let (entry, id, runner) = stack.running("while read line; do echo got $line; done").await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    // The kubelet tells a moment later what runs; of a pod that it never told of, nobody misses it.
    stack.kubernetes.wait_for_pod(&runner, "known to be ready", is_ready).await?;
    Ok((client, id, runner))
}

/// Types lines and sees each answered, for as long as this takes.
async fn keep_talking(client: &mut TerminalClient, time: Duration) -> Result<()> {
    let (began, mut number) = (Instant::now(), client.typed);
    while began.elapsed() < time {
        number += 1;
        client.type_at_offset(format!("{number}\r").as_bytes()).await?;
        client.wait_for(&format!("got {number}"), SOON).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn readiness(pod: &Pod) -> Option<bool> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some(ready.status == "True")
}

fn is_ready(pod: &Pod) -> bool {
    readiness(pod) == Some(true)
}

fn is_unready(seen: &Seen) -> bool {
    seen.pod.as_ref().and_then(readiness) == Some(false)
}

async fn wait_until_unready(stack: &ClusterStack, runner: &str) -> Result<()> {
    let deadline = Instant::now() + 2 * SOON;
    while !is_unready(&stack.seen(runner).await?) {
        anyhow::ensure!(Instant::now() < deadline, "Kubernetes never missed the kubelet");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_kubelet_killed_alone_harms_no_session() -> Result<()> {
    alone(async |stack, cluster| {
        let (mut client, id, runner) = terminal(stack).await?;
        cluster.run(&["kill", "kubelet"]).await?;
        wait_until_unready(stack, &runner).await?;
        // Longer than it takes to give up a runner that does not answer.
        keep_talking(&mut client, Duration::from_secs(12)).await?;
        assert_eq!(stack.show(&id).await?["state"], "running");
        cluster.run(&["start", "kubelet"]).await?;
        stack.kubernetes.wait_for_pod(&runner, "ready again", is_ready).await?;
        keep_talking(&mut client, Duration::from_secs(2)).await?;
        client.type_at_offset(b"\x04").await?;
        assert_eq!(client.wait_closed(SOON).await?, Some(1000));
        let view: Value = stack.wait_ended(&id).await?;
        assert_eq!(view["endReason"], "exited", "{view}");
        stack.wait_until_freed(&runner).await
    })
    .await
}

#[tokio::test]
async fn a_node_that_is_cut_off_loses_its_session_and_the_zombie_is_fenced() -> Result<()> {
    alone(async |stack, cluster| {
        let (_client, id, runner) = terminal(stack).await?;
        let pod = stack.kubernetes.pod(&runner).await?.context("a pod")?;
        let process = runner_process(&pod)?;
        let address = pod.status.and_then(|status| status.pod_ip).context("an address")?;
        cluster.run(&["kill", "kubelet"]).await?;
        cluster.run(&["cut", &address]).await?;
        stack.ends_promptly("node lost", &id, "node_lost", is_unready).await?;
        assert!(is_running(process), "there is no zombie");
        cluster.run(&["heal", &address]).await?;
        // Without a kubelet nobody else could end it.
        wait_until("the zombie has ended itself", || !is_running(process)).await;
        let view = stack.show(&id).await?;
        assert_eq!(view["endReason"], "node_lost", "{view}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_an_api_server_nothing_starts_what_runs_goes_on_and_its_return_brings_no_storm() -> Result<()> {
    alone(async |stack, cluster| {
        let (mut client, id, _) = terminal(stack).await?;
        cluster.run(&["kill", "kube-apiserver"]).await?;
        let refused = refused_creation(stack).await?;
        assert!(refused.retry_after.is_some(), "no Retry-After: {refused:?}");
        assert_eq!(refused.body["status"], 503, "{refused:?}");
        let detail = refused.body["detail"].as_str().context("a detail")?.to_lowercase();
        assert!(detail.contains("kubernetes") || detail.contains("api server"), "{detail}");
        keep_talking(&mut client, Duration::from_secs(5)).await?;
        assert_eq!(stack.show(&id).await?["state"], "running");

        cluster.run(&["start", "kube-apiserver"]).await?;
        let returned = Instant::now();
        let entry = accepted_creation(stack).await?;
        let view = stack.wait_ended(entry["sessionId"].as_str().context("an id")?).await?;
        assert_eq!(view["exitCode"], 6, "{view}");
        keep_talking(&mut client, Duration::from_secs(5)).await?;
        // Two controllers, each with a re-list for its watches and one or two lists for every look of its reconciler.
        let seconds = returned.elapsed().as_secs();
        for resource in ["jobs", "pods"] {
            let lists = stack.kubernetes.namespaced_lists(resource).await?;
            println!("{lists} lists of {resource} within {seconds} s of the API server's return");
            assert!(lists <= 20 + 4 * seconds, "a storm: {lists} lists of {resource} in {seconds} s");
        }
        for session in all_sessions(stack).await? {
            if session != id {
                stack.wait_ended(&session).await?;
            }
        }
        stack.delete(&id).await
    })
    .await
}

#[tokio::test]
async fn without_an_api_server_standbys_go_on_being_handed_out() -> Result<()> {
    let pools = json!([{"name": "default", "min": 3, "perMinute": 3000}]);
    alone_with(ClusterOptions::default().pools(pools), async |stack, cluster| {
        let idle = async |count: usize| {
            // A kubelet that has lost the API server more than once looks for it ever more seldom.
            let deadline = Instant::now() + 6 * SOON;
            while stack.rows.idle_runners().await?.len() != count {
                anyhow::ensure!(Instant::now() < deadline, "there never were {count} standbys");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        idle(3).await?;
        cluster.run(&["kill", "kube-apiserver"]).await?;
        let mut attempts = 0;
        let refused = loop {
            attempts += 1;
            let answer = stack.try_create(&format!("warm-{attempts}"), &stack.request("exit 6")).await?;
            if answer.status != 201 {
                break answer;
            }
            let view = stack.wait_ended(answer.body["sessionId"].as_str().context("an id")?).await?;
            assert_eq!(view["exitCode"], 6, "{view}");
        };
        // Only when none is left.
        assert_eq!((refused.status, stack.rows.idle_runners().await?.len()), (503, 0), "{refused:?}");
        cluster.run(&["start", "kube-apiserver"]).await?;
        idle(3).await
    })
    .await
}

/// Creates until that is refused, since nobody knows of an outage before it is noticed.
async fn refused_creation(stack: &ClusterStack) -> Result<testkit::api::Answer> {
    let deadline = Instant::now() + SOON;
    for attempt in 0.. {
        let answer = stack.try_create(&format!("away-{attempt}"), &stack.request("exit 6")).await?;
        if answer.status == 503 {
            return Ok(answer);
        }
        anyhow::ensure!(answer.status == 201 && Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("never refused")
}

async fn accepted_creation(stack: &ClusterStack) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    for attempt in 0.. {
        let answer = stack.try_create(&format!("back-{attempt}"), &stack.request("exit 6")).await?;
        if answer.status == 201 {
            return Ok(answer.body);
        }
        anyhow::ensure!(answer.status == 503 && Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("never accepted")
}

async fn all_sessions(stack: &ClusterStack) -> Result<Vec<String>> {
    let (_, list) = stack.call(reqwest::Method::GET, "/api/sessions", None).await?;
    let sessions = list["sessions"].as_array().with_context(|| list.to_string())?;
    Ok(sessions.iter().filter_map(|session| session["sessionId"].as_str().map(str::to_owned)).collect())
}
