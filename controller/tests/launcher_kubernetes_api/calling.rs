//! Calls: making Jobs, asking which exist, deleting them.

use std::time::Duration;

use controller::launcher::{Launch, LaunchError, Launcher};
use serde_json::json;
use session::{RunnerId, Secret};

use super::script::{Answer, ApiServer, Call, Route, job, list, status};

fn launch() -> Launch {
    Launch {
        runner: RunnerId::new(),
        boot_token: Secret::new("token"),
        internal_url: "http://controller:8081".parse().unwrap(),
        template: "default".to_owned(),
        standby: false,
    }
}

#[tokio::test]
async fn a_runner_is_one_job_however_often_it_is_asked_for() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|_| {});
    let request = launch();
    let name = format!("cliscale-runner-{}", request.runner);
    server.expect(Route::CreateJob, Answer::Json(201, json!({})));
    server.expect(Route::CreateJob, Answer::Json(409, status(409, "AlreadyExists", "there is one")));
    assert_eq!(launcher.launch(request.clone()).await.unwrap(), name);
    assert_eq!(launcher.launch(request).await.unwrap(), name);
    let Call { body, .. } = &server.calls(Route::CreateJob)[0];
    assert_eq!(body["metadata"]["name"], name);
    assert_eq!(body["spec"]["template"]["spec"]["containers"][0]["image"], "runner:1");
    server.finish();
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_when_it_said() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|_| {});
    server.expect(Route::CreateJob, Answer::RetryAfter(429, 1));
    server.expect(Route::CreateJob, Answer::Json(409, status(409, "Conflict", "the quota was changed meanwhile")));
    server.expect(Route::CreateJob, Answer::Json(201, json!({})));
    launcher.launch(launch()).await.unwrap();
    let calls = server.calls(Route::CreateJob);
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1));
    assert!(launcher.available().is_ok());
    server.finish();
}

#[tokio::test]
async fn who_asks_for_a_long_wait_is_not_waited_for() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|_| {});
    server.expect(Route::CreateJob, Answer::RetryAfter(429, 600));
    assert!(matches!(launcher.launch(launch()).await, Err(LaunchError::Away(_))));
    server.finish();
}

#[tokio::test]
async fn a_refusal_is_told_in_kubernetes_words_and_not_asked_again() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|_| {});
    let words = "jobs.batch is forbidden: exceeded quota: runners".to_owned() + &"x".repeat(10_000);
    server.expect(Route::CreateJob, Answer::Json(403, status(403, "Forbidden", &words)));
    let Err(LaunchError::Refused(why)) = launcher.launch(launch()).await else { panic!() };
    assert!(why.contains("exceeded quota: runners") && why.len() < 1000, "{why}");
    assert!(launcher.available().is_ok());
    server.finish();
}

#[tokio::test]
async fn while_the_server_is_away_only_a_probe_asks_for_it() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|_| {});
    server.called(Route::WatchJobs, 1).await;
    server.called(Route::WatchPods, 1).await;
    server.called(Route::WatchEvents, 1).await;
    server.set_down(Some(503));
    assert!(matches!(launcher.launch(launch()).await, Err(LaunchError::Away(_))));
    assert!(server.calls(Route::CreateJob).len() > 1);
    let away = launcher.available().unwrap_err();
    assert!(away.reason.contains("Kubernetes") && !away.retry_after.is_zero());
    server.forget_calls();
    assert!(launcher.alive().await.is_err());
    server.called(Route::Ready, 2).await;
    assert!(server.calls(Route::ExistingJobs).is_empty());
    server.set_down(None);
    let recovered = async {
        while launcher.available().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(super::script::LIMIT, recovered).await.unwrap();
    server.expect(Route::ExistingJobs, Answer::Json(200, list(vec![])));
    assert!(launcher.alive().await.unwrap().is_empty());
    server.finish();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_away() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|config| config.request_timeout = Duration::from_millis(100));
    server.expect(Route::CreateJob, Answer::Silence);
    let Err(LaunchError::Away(why)) = launcher.launch(launch()).await else { panic!() };
    assert!(why.contains("did not answer in 100ms"), "{why}");
    server.finish();
}

#[tokio::test]
async fn alive_is_what_the_server_has_now_without_what_ended_or_goes() {
    let server = ApiServer::start().await;
    let [finished, going, fresh] = [RunnerId::new(), RunnerId::new(), RunnerId::new()];
    let complete = job(finished, "blue", json!([{"type": "Complete", "status": "True"}]));
    server.expect(Route::ListJobs, Answer::Json(200, list(vec![complete.clone()])));
    let launcher = server.launcher(|_| {});
    server.called(Route::WatchJobs, 1).await;
    server.called(Route::WatchPods, 1).await;
    let mut deleted = job(going, "blue", json!([]));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    // One that another controller made a moment ago, which no watch has told of yet.
    let known = list(vec![complete, deleted, job(fresh, "blue", json!([]))]);
    server.expect(Route::ExistingJobs, Answer::Json(200, known));
    assert_eq!(launcher.alive().await.unwrap(), [fresh]);
    let query = &server.calls(Route::ExistingJobs)[0].query;
    assert!(query.contains("labelSelector=app.kubernetes.io%2Finstance%3Dblue"), "{query}");
    assert!(!query.contains("resourceVersion"), "a version would allow an old list: {query}");
    server.finish();
}

#[tokio::test]
async fn nothing_is_said_before_the_first_lists() {
    let server = ApiServer::start().await;
    server.expect(Route::ListPods, Answer::Silence);
    let launcher = server.launcher(|_| {});
    server.called(Route::WatchJobs, 1).await;
    assert!(matches!(launcher.alive().await, Err(LaunchError::Away(_))));
    server.finish();
}

#[tokio::test]
async fn destroying_deletes_that_very_job_and_leaves_finished_ones_to_their_ttl() {
    let server = ApiServer::start().await;
    let launcher = server.launcher(|_| {});
    let runner = RunnerId::new();
    server.expect(Route::GetJob, Answer::Json(200, job(runner, "blue", json!([]))));
    server.expect(Route::DeleteJob, Answer::Json(200, json!({"kind": "Status", "status": "Success"})));
    launcher.destroy(runner, None).await.unwrap();
    let Call { body, .. } = &server.calls(Route::DeleteJob)[0];
    assert_eq!(body["propagationPolicy"], "Background");
    assert_eq!(body["preconditions"]["uid"], "job-uid");

    let failed = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
    server.expect(Route::GetJob, Answer::Json(200, job(runner, "blue", failed)));
    launcher.destroy(runner, None).await.unwrap();
    server.expect(Route::GetJob, Answer::Json(200, job(runner, "green", json!([]))));
    launcher.destroy(runner, None).await.unwrap();
    server.expect(Route::GetJob, Answer::Json(404, status(404, "NotFound", "no such Job")));
    launcher.destroy(runner, None).await.unwrap();
    assert_eq!(server.calls(Route::DeleteJob).len(), 1);
    server.finish();
}
