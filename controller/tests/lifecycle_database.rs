//! The database goes away under sessions that run, and comes back: no end is lost, and nobody is ended for it.

mod lifecycle_world;

use std::time::Duration;

use controller::lifecycle::LifecycleConfig;
use http::StatusCode;
use lifecycle_world::{Boot, World, until};
use serde_json::json;
use session::{EndReason, Ended, Stage};
use std::sync::atomic::Ordering;

/// The database is tried for so short that what tries it gives up while it is away.
fn gives_up_soon(config: &mut LifecycleConfig) {
    config.timing.persist_for = Duration::from_millis(100);
}

#[tokio::test]
async fn a_report_that_cannot_be_stored_is_not_taken_and_so_it_comes_again() {
    let world = World::with([], gives_up_soon).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    world.database_is_there(false);
    let ended = Ended { reason: EndReason::Exited, exit_code: Some(5), signal: None, message: None };
    assert_eq!(runner.report(Stage::Running, None).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(runner.report(Stage::Ended, Some(ended.clone())).await, StatusCode::SERVICE_UNAVAILABLE);
    let beat = json!({"session": session.id, "epoch": 1, "operators": 1, "quiet_ms": 0});
    assert_eq!(runner.post("heartbeat", beat).await, StatusCode::SERVICE_UNAVAILABLE);
    world.database_is_there(true);
    assert_eq!(runner.report(Stage::Ended, Some(ended.clone())).await, StatusCode::NO_CONTENT);
    assert_eq!(world.session(session.id).await.ended, Some(ended));
}

#[tokio::test]
async fn a_runner_that_dies_while_the_database_is_away_loses_its_session_when_it_is_back() {
    let world = World::with([], gives_up_soon).await;
    for noticed in [true, false] {
        let session = world.create().await;
        let runner = world.assigned(session.id).await;
        world.database_is_there(false);
        world.launcher.exit(runner.id, noticed);
        // Longer than the conclusion is tried for.
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.database_is_there(true);
        assert_eq!(world.until_ended(session.id).await.reason, EndReason::RunnerLost);
    }
}

#[tokio::test]
async fn a_launch_that_could_not_be_noted_is_not_made_again() {
    let world = World::with([Boot::Silent], |config| {
        gives_up_soon(config);
        config.timing.launch_grace = Duration::ZERO;
    })
    .await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, store::Time::now(), 600).await;
    world.database_is_there(false);
    world.lifecycle.begin(&session, session.runner.unwrap(), None, plan);
    until("it is launched", || world.launcher.attempts.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.database_is_there(true);
    // The reconciler finds it alive.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let now = world.session(session.id).await;
    assert_eq!((now.epoch, now.ended, now.runner), (1, None, session.runner));
    assert_eq!(world.launcher.launches(), 1);
}

#[tokio::test]
async fn nobody_is_called_idle_for_heartbeats_that_the_database_could_not_take() {
    let margin = Duration::from_millis(1500);
    let world = World::with([], |config| config.timing.idle_margin = margin).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    runner.report(Stage::Running, None).await;
    let beat = json!({"session": session.id, "epoch": 1, "operators": 1, "quiet_ms": 0});
    assert_eq!(runner.post("heartbeat", beat.clone()).await, StatusCode::NO_CONTENT);
    world.database_is_there(false);
    // Longer than the session may be idle, with the margin.
    tokio::time::sleep(Duration::from_secs(1) + margin + Duration::from_millis(500)).await;
    world.database_is_there(true);
    // The reconciler looks many times before the next heartbeat comes.
    tokio::time::sleep(margin / 2).await;
    assert!(world.session(session.id).await.ended.is_none());
    assert_eq!(runner.post("heartbeat", beat).await, StatusCode::NO_CONTENT);
    // And then they stop, and it is idle indeed.
    assert_eq!(world.until_ended(session.id).await.reason, EndReason::Idle);
}
