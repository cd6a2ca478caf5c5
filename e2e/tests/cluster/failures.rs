//! Every way in which Kubernetes ends or never starts a runner: the session ends with the right reason, within ten
//! seconds of Kubernetes' knowing, and nothing stays that costs anything. Each prints its case with the seconds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use serde_json::json;
use testkit::cluster::ending::Seen;
use testkit::cluster::hits::Hits;
use testkit::cluster::node::runner_process;
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::stack::{SOON, signal};

use crate::text;

/// Nobody looks at a terminal here.
fn headless() -> ClusterOptions {
    ClusterOptions::default().gateways(0)
}

async fn pod_name(stack: &ClusterStack, runner: &str) -> Result<String> {
    Ok(stack.kubernetes.pod(runner).await?.context("a pod")?.name_any())
}

#[tokio::test]
async fn a_deleted_pod_is_a_lost_runner() -> Result<()> {
    headless()
        .run(async |stack| {
            let (_, id, runner) = stack.running("sleep 1000").await?;
            let name = pod_name(stack, &runner).await?;
            stack.kubernetes.api::<Pod>().delete(&name, &DeleteParams::default()).await?;
            stack.ends_promptly("pod deleted", &id, "runner_lost", Seen::pod_goes).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_pod_deleted_without_grace_is_a_lost_runner() -> Result<()> {
    headless()
        .run(async |stack| {
            let (_, id, runner) = stack.running("sleep 1000").await?;
            let name = pod_name(stack, &runner).await?;
            stack.kubernetes.api::<Pod>().delete(&name, &DeleteParams::default().grace_period(0)).await?;
            stack.ends_promptly("pod deleted at once", &id, "runner_lost", Seen::pod_goes).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_killed_runner_process_is_a_lost_runner() -> Result<()> {
    headless()
        .run(async |stack| {
            let (_, id, runner) = stack.running("sleep 1000").await?;
            let pod = stack.kubernetes.pod(&runner).await?.context("a pod")?;
            signal(runner_process(&pod)?, "KILL").await?;
            stack.ends_promptly("runner process killed", &id, "runner_lost", Seen::container_ended).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_command_killed_for_want_of_memory_ends_its_session_so() -> Result<()> {
    headless()
        .limit("memory", "64Mi", "16Mi")
        .run(async |stack| {
            let (_, id, _) = stack.running("tail /dev/zero").await?;
            // Kubernetes learns nothing of it: the supervisor survives and says so itself.
            stack.ends_promptly("child killed for want of memory", &id, "oom_killed", |_| false).await?;
            Ok(())
        })
        .await
}

/// On cgroup v2 the kernel may kill all of a container at once; here the supervisor is killed from outside after the
/// kernel has killed one of its children.
#[tokio::test]
async fn a_container_killed_for_want_of_memory_ends_its_session_so() -> Result<()> {
    headless()
        .limit("memory", "64Mi", "16Mi")
        .run(async |stack| {
            let hits = Hits::start(stack.kubernetes.host).await?;
            let command = format!("tail /dev/zero; {}; sleep 1000", hits.call("survived"));
            let entry = stack.run(&command).await?;
            hits.wait_for("survived").await?;
            let id = text(&entry, "sessionId")?;
            let view = stack.wait_for(id, "running", |view| view["state"] == "running").await?;
            let pod = stack.kubernetes.pod(text(&view, "runnerId")?).await?.context("a pod")?;
            signal(runner_process(&pod)?, "KILL").await?;
            stack.ends_promptly("container killed for want of memory", id, "oom_killed", Seen::container_ended).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_pod_that_stores_too_much_is_evicted() -> Result<()> {
    stores_too_much("volumes").await
}

#[tokio::test]
async fn a_pod_that_stores_too_much_in_its_image_is_evicted_as_well() -> Result<()> {
    stores_too_much("image").await
}

async fn stores_too_much(folders: &str) -> Result<()> {
    headless()
        .set("CLISCALE_RUNNER_FOLDERS", folders)
        .limit("ephemeral-storage", "10Mi", "1Mi")
        .run(async |stack| {
            let (_, id, _) = stack.running("head -c 40M /dev/zero > $HOME/big; sleep 1000").await?;
            stack.ends_promptly("evicted for its storage", &id, "evicted", |seen| seen.pod_says("Evicted")).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_pod_evicted_through_the_api_is_evicted() -> Result<()> {
    headless()
        .run(async |stack| {
            let (_, id, runner) = stack.running("sleep 1000").await?;
            let name = pod_name(stack, &runner).await?;
            stack.kubernetes.api::<Pod>().evict(&name, &EvictParams::default()).await?;
            stack.ends_promptly("evicted through the API", &id, "evicted", Seen::pod_goes).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_job_past_its_deadline_is_timed_out() -> Result<()> {
    headless()
        .run(async |stack| {
            let (_, id, runner) = stack.running("sleep 1000").await?;
            let job = stack.kubernetes.job(&runner).await?.context("a Job")?.name_any();
            let sooner = Patch::Merge(json!({ "spec": { "activeDeadlineSeconds": 1 } }));
            stack.kubernetes.api::<Job>().patch(&job, &PatchParams::default(), &sooner).await?;
            let knows = |seen: &Seen| seen.job_says("DeadlineExceeded");
            stack.ends_promptly("past the Job's deadline", &id, "timed_out", knows).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_session_past_its_own_time_is_timed_out() -> Result<()> {
    headless()
        .run(async |stack| {
            let mut request = stack.request("sleep 1000");
            request["ttl_seconds"] = json!(5);
            let entry = stack.create(request).await?;
            let id = text(&entry, "sessionId")?;
            stack.ends_promptly("past the session's time", id, "timed_out", |_| false).await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named() -> Result<()> {
    headless()
        .set("CLISCALE_RUNNER_IMAGE", "localhost/no-such-image:1")
        .run(async |stack| {
            let entry = stack.run("true").await?;
            let id = text(&entry, "sessionId")?;
            // One failed attempt is not the last word; this is.
            let knows = |seen: &Seen| seen.pod_says("ImagePullBackOff");
            let view = stack.ends_promptly("image cannot be pulled", id, "start_failed", knows).await?;
            assert!(text(&view, "endMessage")?.contains("localhost/no-such-image:1"), "{view}");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told() -> Result<()> {
    headless()
        .run(async |stack| {
            let quota = json!({ "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } } });
            stack.kubernetes.create::<ResourceQuota>(quota).await?;
            let deadline = Instant::now() + SOON;
            while stack.kubernetes.api::<ResourceQuota>().get("none").await?.status.and_then(|s| s.used).is_none() {
                assert!(Instant::now() < deadline, "the quota is never in force");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let entry = stack.run("true").await?;
            let id = text(&entry, "sessionId")?;
            let knows = |seen: &Seen| seen.event("FailedCreate");
            let view = stack.ends_promptly("quota exceeded", id, "start_failed", knows).await?;
            assert!(text(&view, "endMessage")?.contains("exceeded quota"), "{view}");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_pod_that_no_node_takes_is_given_up() -> Result<()> {
    headless()
        .pod("nodeSelector", json!({ "cliscale.dev/nowhere": "true" }))
        .set("CLISCALE_UNSCHEDULABLE_SECS", "3")
        .run(async |stack| {
            let entry = stack.run("true").await?;
            let id = text(&entry, "sessionId")?;
            let knows = |seen: &Seen| seen.pod_says("Unschedulable");
            let view = stack.ends_promptly("unschedulable for 3 s", id, "start_failed", knows).await?;
            assert!(text(&view, "endMessage")?.contains("node"), "{view}");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_deleted_session_frees_its_pod() -> Result<()> {
    headless()
        .run(async |stack| {
            let (_, id, _) = stack.running("trap '' TERM HUP; sleep 1000").await?;
            stack.delete(&id).await?;
            stack.ends_promptly("deleted by its owner", &id, "cancelled", |_| false).await?;
            Ok(())
        })
        .await
}
