//! Recordings of pods that are killed, in an S3-compatible bucket: what somebody saw of them until the end is there, but for
//! the last moment. Each prints its seconds.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use testkit::cluster::node::runner_process;
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::s3::{BUCKET, S3Server};
use testkit::stack::{SOON, signal};
use testkit::terminal_client::TerminalClient;

use crate::{open, text};

/// Prints the time, to the nanosecond, a hundred times a second.
const CLOCK: &str = "while :; do date +at-%s.%N; sleep 0.01; done";
/// A chunk is sent every half second, and has its way to go; the machine may be busy.
const LOST: f64 = 2.0;

/// The last time that an output tells whole.
fn last_time(output: &str) -> Option<f64> {
    let (whole, _) = output.rsplit_once('\n')?;
    whole.lines().rev().find_map(|line| line.trim().strip_prefix("at-")?.parse().ok())
}

/// Sees what the terminal shows until its runner is gone.
async fn watch(mut client: TerminalClient) -> Result<String> {
    client.wait_closed(SOON * 2).await?;
    Ok(client.text())
}

async fn log_of(stack: &ClusterStack, id: &str) -> Result<String> {
    let url = format!("{}/api/sessions/{id}/log", stack.api_url);
    let answer = reqwest::Client::new().get(url).bearer_auth(&stack.key).send().await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    Ok(answer.text().await?)
}

async fn loses_little(how: &str, kill: impl AsyncFnOnce(&ClusterStack, Pod) -> Result<()>) -> Result<()> {
    if testkit::cluster::Kubernetes::of_environment().await?.is_none() {
        return Ok(());
    }
    let bucket = S3Server::start().await?;
    ClusterOptions::default()
        .set("CLISCALE_RECORDINGS", &format!("s3://{BUCKET}/cluster"))
        .set("AWS_ENDPOINT", &bucket.endpoint())
        .set("AWS_ACCESS_KEY_ID", "a-key")
        .set("AWS_SECRET_ACCESS_KEY", "a-secret")
        .run(async |stack| {
            let (entry, id, runner) = stack.running(CLOCK).await?;
            let pod = stack.kubernetes.pod(&runner).await?.context("a pod")?;
            let mut client = open(&entry).await?;
            // It records, and has for a while.
            client.wait_until(SOON, "300 lines", |client| client.text().matches("at-").count() > 300).await?;
            let watching = tokio::spawn(watch(client));
            kill(stack, pod).await?;
            let view = stack.wait_ended(&id).await?;
            ensure!(view["endReason"] == "runner_lost", "{view}");
            let seen = last_time(&watching.await??).context("what was seen has no time")?;
            let recorded = log_of(stack, &id).await?;
            let kept = last_time(&recorded).with_context(|| recorded.clone())?;
            let lost = (seen - kept).max(0.0);
            println!("{how}: {lost:.3} s of the recording were lost");
            ensure!(lost < LOST, "{lost} s lost");
            // From the beginning, and without a gap: every line says later than the one before.
            let times: Vec<f64> = recorded.lines().filter_map(|line| line.strip_prefix("at-")?.parse().ok()).collect();
            ensure!(times.len() > 100 && times.is_sorted(), "{} lines", times.len());
            ensure!(times.windows(2).all(|pair| pair[1] - pair[0] < LOST), "there is a gap");
            ensure!(text(&view, "runnerId")? == runner, "another runner");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_pod_deleted_by_force_loses_at_most_the_last_moment_of_its_recording() -> Result<()> {
    loses_little("a pod deleted by force", async |stack, pod| {
        stack.kubernetes.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_runner_loses_at_most_the_last_moment_of_its_recording() -> Result<()> {
    loses_little("a killed runner", async |_, pod| signal(runner_process(&pod)?, "KILL").await).await
}
