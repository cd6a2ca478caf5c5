//! Pods and Jobs as Kubernetes writes them, and what is made of them.

use serde_json::{Value, json};

use super::*;

fn standing_of(pod: Value) -> Standing {
    facts(pod).standing
}

fn facts(pod: Value) -> PodFacts {
    PodFacts::read(&serde_json::from_value(pod).unwrap())
}

/// A pod whose runner runs.
fn running() -> Value {
    json!({
        "metadata": {"uid": "u"},
        "status": {
            "phase": "Running",
            "podIP": "10.88.0.7",
            "podIPs": [{"ip": "10.88.0.7"}, {"ip": "fd00::7"}],
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "ContainersReady", "status": "True"},
                {"type": "Ready", "status": "True"},
            ],
            "containerStatuses": [status(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}))],
        },
    })
}

fn status(state: Value) -> Value {
    json!({"name": "runner", "image": "runner:1", "imageID": "", "ready": true, "restartCount": 0, "state": state})
}

fn with(mut pod: Value, path: &str, value: Value) -> Value {
    *pod.pointer_mut(path).unwrap() = value;
    pod
}

fn ended(exit_code: i32, reason: &str) -> Value {
    let state = json!({"terminated": {"exitCode": exit_code, "reason": reason}});
    let pod = with(running(), "/status/containerStatuses/0", status(state));
    with(pod, "/status/phase", json!("Failed"))
}

fn waiting_for(reason: &str, message: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    let pod = with(running(), "/status/containerStatuses/0", status(state));
    with(pod, "/status/phase", json!("Pending"))
}

fn disrupted(reason: &str, message: &str) -> Value {
    let mut pod = running();
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message});
    pod["status"]["conditions"].as_array_mut().unwrap().push(condition);
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:10Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(10);
    pod
}

fn reason_of(pod: Value) -> EndReason {
    verdict_of(pod).reason
}

fn verdict_of(pod: Value) -> Verdict {
    match standing_of(pod) {
        Standing::Over(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_pod_is_fine_and_has_its_addresses() {
    let facts = facts(running());
    assert_eq!(facts.standing, Standing::Fine);
    assert_eq!(facts.addresses, ["10.88.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    assert_eq!(standing_of(json!({"metadata": {}, "status": {"phase": "Pending"}})), Standing::Fine);
    assert_eq!(standing_of(waiting_for("ContainerCreating", "")), Standing::Fine);
    assert_eq!(standing_of(waiting_for("ErrImagePull", "once more")), Standing::Fine);
}

#[test]
fn a_pod_that_is_deleted_loses_its_runner() {
    let mut pod = running();
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:10Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(10);
    assert_eq!(reason_of(pod.clone()), EndReason::RunnerLost);
    assert_eq!(facts(pod).told_to_go, Some("2026-01-01T00:01:00Z".parse().unwrap()));
}

#[test]
fn evictions_are_told_apart_from_deletions() {
    let verdict = verdict_of(disrupted("EvictionByEvictionAPI", "Eviction API: evicting"));
    assert_eq!(
        (verdict.reason, verdict.message.as_str()),
        (EndReason::Evicted, "EvictionByEvictionAPI: Eviction API: evicting")
    );
    assert_eq!(reason_of(disrupted("PreemptionByScheduler", "")), EndReason::Evicted);
    let by_kubelet = json!({"metadata": {}, "status": {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
    }});
    assert!(verdict_of(by_kubelet.clone()).message.contains("ephemeral local storage"));
    assert_eq!(reason_of(by_kubelet), EndReason::Evicted);
}

#[test]
fn memory_counts_where_the_runner_itself_was_killed() {
    assert_eq!(reason_of(ended(137, "OOMKilled")), EndReason::OomKilled);
    // The runner lived on, reported, and left with the command's code.
    assert_eq!(reason_of(ended(3, "OOMKilled")), EndReason::RunnerLost);
    assert_eq!(reason_of(ended(137, "Error")), EndReason::RunnerLost);
    assert_eq!(reason_of(ended(0, "Completed")), EndReason::RunnerLost);
}

#[test]
fn a_container_that_cannot_start_names_image_and_cause() {
    for reason in ["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"] {
        let verdict = verdict_of(waiting_for(reason, "pull access denied"));
        assert_eq!(verdict.reason, EndReason::StartFailed);
        assert_eq!(verdict.message, format!("the image runner:1 cannot be run: {reason}: pull access denied"));
    }
    assert_eq!(reason_of(ended(128, "StartError")), EndReason::StartFailed);
    let turned_away = json!({"metadata": {}, "status": {"phase": "Failed", "reason": "OutOfcpu", "message": "full"}});
    assert_eq!(verdict_of(turned_away), Verdict::new(EndReason::StartFailed, "OutOfcpu: full"));
    let endless = verdict_of(waiting_for("ImagePullBackOff", &"x\n".repeat(5000)));
    assert!(endless.message.chars().count() <= MAX_WORDS && !endless.message.contains('\n'));
}

/// A pod whose init containers ended so, and whose runner never started.
fn unprepared(ends: &[(&str, i32)]) -> Value {
    let ended = |(name, code): &(&str, i32)| {
        let state = json!({"terminated": {"exitCode": code, "reason": "Error", "message": "no room\n"}});
        with(with(status(state), "/name", json!(name)), "/image", json!(format!("{name}:1")))
    };
    let mut pod = waiting_for("PodInitializing", "");
    pod["status"]["phase"] = json!("Failed");
    pod["status"]["initContainerStatuses"] = ends.iter().map(ended).collect();
    pod
}

#[test]
fn an_installer_that_fails_is_named_with_its_words() {
    let verdict = verdict_of(unprepared(&[("cliscale-installer", 69), ("proxy", 143)]));
    let said = "the image cliscale-installer:1 did not bring the runner program: exit code 69 (Error): no room";
    assert_eq!(verdict, Verdict::new(EndReason::StartFailed, said));
    let verdict = verdict_of(unprepared(&[("proxy", 143), ("other", 1)]));
    let said = "the image other:1 did not prepare the pod: exit code 1 (Error): no room";
    assert_eq!(verdict, Verdict::new(EndReason::StartFailed, said));
    // Whoever deletes a pod ends all that is in it.
    let mut deleted = unprepared(&[("cliscale-installer", 137)]);
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:10Z");
    assert_eq!(reason_of(deleted), EndReason::RunnerLost);
    // A sidecar that a runner which has ended took along is to blame for nothing.
    let mut ended = ended(3, "Error");
    ended["status"]["initContainerStatuses"] = unprepared(&[("proxy", 143)])["status"]["initContainerStatuses"].clone();
    assert_eq!(reason_of(ended), EndReason::RunnerLost);
}

#[test]
fn an_installer_that_cannot_be_pulled_is_named() {
    let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "denied"}});
    let mut pod = waiting_for("PodInitializing", "");
    pod["status"]["initContainerStatuses"] = json!([with(status(state), "/image", json!("installer:1"))]);
    let said = "the image installer:1 cannot be run: ImagePullBackOff: denied";
    assert_eq!(verdict_of(pod), Verdict::new(EndReason::StartFailed, said));
}

#[test]
fn a_node_that_does_not_report_makes_doubtful_and_nothing_more() {
    let pod = with(running(), "/status/conditions/2/status", json!("False"));
    assert_eq!(standing_of(pod.clone()), Standing::Doubtful);
    // A container that is not ready is the kubelet's word: the node is there.
    let not_ready = with(pod, "/status/conditions/1/status", json!("False"));
    assert_eq!(standing_of(not_ready), Standing::Fine);
    assert_eq!(standing_of(disrupted("DeletionByTaintManager", "")), Standing::Doubtful);
    assert_eq!(standing_of(disrupted("DeletionByPodGC", "")), Standing::NodeGivenUp);
    assert_eq!(standing_of(with(running(), "/status/phase", json!("Unknown"))), Standing::Fine);
}

#[test]
fn the_scheduler_is_quoted() {
    let pod = json!({"metadata": {}, "status": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
    ]}});
    assert_eq!(standing_of(pod), Standing::Unplaced("Unschedulable: 0/1 nodes are available".to_owned()));
}

fn job(conditions: Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {},
        "spec": {"activeDeadlineSeconds": 60, "template": {}},
        "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": conditions},
    }))
    .unwrap()
}

#[test]
fn a_job_past_its_deadline_is_told_from_one_that_failed() {
    let over =
        json!([{"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}]);
    let facts = JobFacts::read(&job(over));
    assert!(!facts.finished && facts.failed.as_ref().unwrap().past_deadline);
    assert!(facts.was_over_at("2026-01-01T00:00:59Z".parse().unwrap()), "clocks differ a little");
    assert!(!facts.was_over_at("2026-01-01T00:00:30Z".parse().unwrap()));
    let failed = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}]);
    let facts = JobFacts::read(&job(failed));
    assert!(facts.finished && !facts.failed.as_ref().unwrap().past_deadline);
    assert!(!JobFacts::read(&job(json!([{"type": "Failed", "status": "False"}]))).finished);
    assert!(JobFacts::read(&job(json!([{"type": "Complete", "status": "True"}]))).finished);
}
