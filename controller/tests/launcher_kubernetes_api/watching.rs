//! Watches: what they tell, what they lose, and how it is found all the same.

use std::time::Duration;

use controller::launcher::{Condition, KubernetesLauncher, Launcher};
use serde_json::{Value, json};
use session::{EndReason, RunnerId};

use super::script::{Answer, ApiServer, LIMIT, Route, job, list, pod, status};

/// Waits for news of a runner that make it over, and answers why.
async fn over(launcher: &KubernetesLauncher, runner: RunnerId) -> (EndReason, String) {
    let mut news = launcher.news().unwrap();
    let wait = async {
        loop {
            if let Condition::Over(verdict) = launcher.condition(runner) {
                return (verdict.reason, verdict.message);
            }
            assert_eq!(news.recv().await.unwrap(), runner);
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("news")
}

fn running() -> Value {
    json!({"phase": "Running", "podIP": "10.88.0.7", "podIPs": [{"ip": "10.88.0.7"}]})
}

fn evicted() -> Value {
    json!({"phase": "Failed", "reason": "Evicted", "message": "low on disk"})
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

#[tokio::test]
async fn a_watch_tells_at_once_what_became_of_a_pod() {
    let server = ApiServer::start().await;
    let runner = RunnerId::new();
    server.expect(Route::ListJobs, Answer::Json(200, list(vec![job(runner, "blue", json!([]))])));
    server.expect(Route::ListPods, Answer::Json(200, list(vec![pod(runner, running())])));
    server.expect(Route::WatchPods, Answer::Lines(vec![event("MODIFIED", pod(runner, evicted()))]));
    let launcher = server.launcher(|_| {});
    assert_eq!(over(&launcher, runner).await, (EndReason::Evicted, "Evicted: low on disk".to_owned()));
    for route in [Route::ListJobs, Route::ListPods] {
        let query = &server.calls(route)[0].query;
        assert!(query.contains("instance%3Dblue"), "only our own: {query}");
    }
    server.called(Route::ListEvents, 1).await;
    let query = &server.calls(Route::ListEvents)[0].query;
    assert!(query.contains("fieldSelector=involvedObject.kind%3DJob%2Creason%3DFailedCreate"), "{query}");
    server.finish();
}

#[tokio::test]
async fn a_watch_that_is_too_old_begins_with_a_new_list() {
    let server = ApiServer::start().await;
    let runner = RunnerId::new();
    server.expect(Route::ListPods, Answer::Json(200, list(vec![pod(runner, running())])));
    let gone = status(410, "Expired", "too old resource version");
    server.expect(Route::WatchPods, Answer::Lines(vec![event("ERROR", gone)]));
    server.expect(Route::ListPods, Answer::Json(200, list(vec![pod(runner, evicted())])));
    let launcher = server.launcher(|_| {});
    assert_eq!(over(&launcher, runner).await.0, EndReason::Evicted);
    assert_eq!(server.calls(Route::ListPods).len(), 2);
    assert!(launcher.available().is_ok(), "an answer is an answer");
    server.finish();
}

#[tokio::test]
async fn what_a_silent_watch_would_have_told_is_found_by_the_next_list() {
    let server = ApiServer::start().await;
    let runner = RunnerId::new();
    server.expect(Route::ListPods, Answer::Json(200, list(vec![pod(runner, running())])));
    // Open, and dead.
    server.expect(Route::WatchPods, Answer::Lines(vec![]));
    let launcher = server.launcher(|config| config.list_every = Duration::from_millis(300));
    assert_eq!(over(&launcher, runner).await.0, EndReason::RunnerLost);
    assert!(server.calls(Route::ListPods).len() >= 2);
    server.finish();
}

#[tokio::test]
async fn a_list_that_never_comes_means_that_the_server_is_away() {
    let server = ApiServer::start().await;
    server.expect(Route::ListPods, Answer::Silence);
    let launcher = server.launcher(|config| config.request_timeout = Duration::from_millis(200));
    let noticed = async {
        while launcher.available().is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, noticed).await.unwrap();
    // It answers the probe, and the list is asked for again.
    server.called(Route::ListPods, 2).await;
    server.finish();
}

#[tokio::test]
async fn the_return_of_the_server_brings_one_list_of_each_kind() {
    let server = ApiServer::start().await;
    server.set_down(Some(503));
    let launchers: Vec<_> = (0..3).map(|_| server.launcher(|_| {})).collect();
    for route in [Route::ListJobs, Route::ListPods, Route::ListEvents] {
        server.called(route, 1).await;
    }
    let away = async {
        while launchers.iter().any(|launcher| launcher.available().is_ok()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, away).await.unwrap();
    server.called(Route::Ready, 6).await;
    server.forget_calls();
    server.set_down(None);
    for route in [Route::WatchJobs, Route::WatchPods, Route::WatchEvents] {
        server.called(route, launchers.len()).await;
    }
    for route in [Route::ListJobs, Route::ListPods, Route::ListEvents] {
        assert_eq!(server.calls(route).len(), launchers.len(), "{route:?}");
    }
    server.finish();
}

#[tokio::test]
async fn a_pod_that_the_cluster_refuses_is_told_with_the_reason() {
    let server = ApiServer::start().await;
    let runner = RunnerId::new();
    server.expect(Route::ListJobs, Answer::Json(200, list(vec![job(runner, "blue", json!([]))])));
    let message = format!("Error creating: pods \"cliscale-runner-{runner}-x\" is forbidden: exceeded quota: pods=0");
    let event = |runner: RunnerId, message: &str| {
        json!({
            "type": "ADDED",
            "object": {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": "e", "resourceVersion": "7"},
                "involvedObject": {"kind": "Job", "name": format!("cliscale-runner-{runner}")},
                "reason": "FailedCreate",
                "message": message,
            },
        })
    };
    let passing = event(runner, "Error creating: Internal error occurred: a webhook is away");
    server.expect(
        Route::WatchEvents,
        Answer::Lines(vec![passing, event(RunnerId::new(), &message), event(runner, &message)]),
    );
    let launcher = server.launcher(|_| {});
    let (reason, message) = over(&launcher, runner).await;
    assert_eq!(reason, EndReason::StartFailed);
    assert!(message.contains("exceeded quota: pods=0"), "{message}");
    server.finish();
}

#[tokio::test]
async fn a_runner_has_its_pods_address() {
    let server = ApiServer::start().await;
    let runner = RunnerId::new();
    server.expect(Route::WatchPods, Answer::Lines(vec![event("ADDED", pod(runner, running()))]));
    let launcher = server.launcher(|_| {});
    let own = "10.88.0.7".parse().unwrap();
    let known = async {
        while !launcher.has_address(runner, own) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, known).await.unwrap();
    assert!(!launcher.has_address(runner, "10.88.0.8".parse().unwrap()));
    assert!(!launcher.has_address(RunnerId::new(), own));
    server.finish();
}
