//! Ending: by report, by decision, by death and by the clock; the first reason stays, and nothing is left over.

mod lifecycle_world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use controller::lifecycle::LifecycleConfig;
use http::StatusCode;
use jiff::SignedDuration;
use lifecycle_world::runner::call;
use lifecycle_world::{Boot, FakeRunner, World, fixed, until};
use serde_json::json;
use session::{EndReason, Ended, RunnerId, SessionId, Stage};
use store::{EndOutcome, RunnerState, Store, Time};

fn exited(code: i32) -> Ended {
    Ended { reason: EndReason::Exited, exit_code: Some(code), signal: None, message: None }
}

/// Seconds where the others have milliseconds: what must not act here does not.
fn patient(config: &mut LifecycleConfig) {
    config.linger = Duration::from_secs(600);
    config.timing.exit_grace = Duration::from_secs(600);
}

#[tokio::test]
async fn a_reported_end_stays_and_the_runner_may_linger_but_not_for_ever() {
    let world = World::new([]).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    assert_eq!(runner.report(Stage::Ended, Some(exited(7))).await, StatusCode::NO_CONTENT);
    assert_eq!(world.session(session.id).await.ended, Some(exited(7)));
    // The report may come twice, and the runner still lives.
    assert_eq!(runner.report(Stage::Ended, Some(exited(7))).await, StatusCode::NO_CONTENT);
    world.until_destroyed(runner.id).await;
    assert_eq!(world.metric("cliscale_sessions_ended_total{reason=\"exited\"}").await, 1.0);
}

#[tokio::test]
async fn the_first_reason_wins_and_the_runner_is_told_it() {
    let world = World::with([], patient).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    let outcome = world.lifecycle.end(session.id, Ended::because(EndReason::Cancelled, "enough")).await.unwrap();
    assert!(matches!(outcome, EndOutcome::Ended(_)));
    assert_eq!(runner.report(Stage::Running, None).await, StatusCode::CONFLICT);
    assert_eq!(runner.report(Stage::Ended, Some(exited(143))).await, StatusCode::NO_CONTENT);
    let outcome = world.lifecycle.end(session.id, Ended::because(EndReason::TimedOut, "late")).await.unwrap();
    assert!(matches!(outcome, EndOutcome::Already(_)));
    assert_eq!(world.session(session.id).await.ended.unwrap().reason, EndReason::Cancelled);
    until("the runner is told", || *runner.seen.ended.lock().unwrap() == Some(EndReason::Cancelled)).await;
    assert!(world.launcher.runner(runner.id).is_some(), "it was destroyed though it had agreed to end");
    let nobody = world.lifecycle.end(SessionId::new(), exited(0)).await.unwrap();
    assert_eq!(nobody, EndOutcome::Unknown);
}

#[tokio::test]
async fn a_session_that_is_cancelled_while_it_boots_leaves_no_runner() {
    let world = World::with([Boot::Silent], patient).await;
    let session = world.create().await;
    world.lifecycle.end(session.id, Ended::because(EndReason::Cancelled, "enough")).await.unwrap();
    let runner = session.runner.unwrap();
    while world.row(runner).await.state != RunnerState::Gone || world.launcher.runner(runner).is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.session(session.id).await.ended.unwrap().reason, EndReason::Cancelled);
}

#[tokio::test]
async fn a_runner_that_dies_loses_its_session() {
    let world = World::new([]).await;
    for noticed in [true, false] {
        let session = world.create().await;
        let runner = world.assigned(session.id).await;
        world.launcher.exit(runner.id, noticed);
        let ended = world.until_ended(session.id).await;
        assert_eq!(ended.reason, EndReason::RunnerLost);
        assert_eq!(ended.message.unwrap(), "the runner ended without saying why");
    }
}

#[tokio::test]
async fn a_last_report_that_arrives_after_the_exit_still_counts() {
    let world = World::with([], patient).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    world.launcher.exit(runner.id, true);
    assert_eq!(runner.report(Stage::Ended, Some(exited(3))).await, StatusCode::NO_CONTENT);
    assert_eq!(world.until_ended(session.id).await, exited(3));
    while world.row(runner.id).await.state != RunnerState::Gone {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // From then on it is nobody.
    assert_eq!(runner.report(Stage::Ended, Some(exited(3))).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_past_its_time_is_ended_though_its_runner_does_nothing() {
    let world = World::new([]).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now() - SignedDuration::from_secs(9), 10).await;
    world.lifecycle.begin(&session, session.runner.unwrap(), None, plan);
    let runner = world.assigned(session.id).await;
    assert_eq!(world.until_ended(session.id).await.reason, EndReason::TimedOut);
    until("the runner is told", || *runner.seen.ended.lock().unwrap() == Some(EndReason::TimedOut)).await;
}

#[tokio::test]
async fn a_moved_deadline_holds_though_the_runner_could_not_be_told_and_it_is_told_until_it_was() {
    let world = World::new([]).await;
    let plan = world.lifecycle.plan().unwrap();
    // Its own time is a fifth of what it was extended to.
    let session = world.commit(&plan, Time::now(), 600).await;
    let expires_at = Time::now() + SignedDuration::from_secs(3000);
    world.store.extend(session.id, expires_at).await.unwrap();
    world.lifecycle.begin(&session, session.runner.unwrap(), None, plan);
    let runner = world.assigned(session.id).await;
    let told = runner.seen.held.lock().unwrap().as_ref().unwrap().deadline_ms;
    assert!((2_000_000..=3_000_000).contains(&told), "assigned with {told} ms");
    runner.report(Stage::Running, None).await;
    runner.seen.fails.store(true, Ordering::SeqCst);
    world.store.extend(session.id, expires_at + SignedDuration::from_secs(2000)).await.unwrap();
    world.lifecycle.tell_deadline(session.id);
    for _ in 0..3 {
        world.lifecycle.reconcile().await.unwrap();
    }
    assert_eq!(world.session(session.id).await.ended, None);
    runner.seen.fails.store(false, Ordering::SeqCst);
    until("the runner is told", || !runner.seen.deadlines.lock().unwrap().is_empty()).await;
    let moved = runner.seen.deadlines.lock().unwrap()[0];
    assert!(moved.deadline_ms > 4_000_000 && moved.max_deadline_ms > 80_000_000, "{moved:?}");
    // Whoever extended it may have died before it told anybody.
    let beat = json!({"session": session.id, "epoch": 1, "operators": 1, "quiet_ms": 0});
    assert_eq!(runner.post("heartbeat", beat).await, StatusCode::NO_CONTENT);
    until("the runner is told again", || runner.seen.deadlines.lock().unwrap().len() > 1).await;
}

#[tokio::test]
async fn a_quiet_session_is_ended_and_one_that_somebody_watches_is_not() {
    let world = World::with([], |config| config.timing.idle_margin = Duration::from_millis(200)).await;
    let (quiet, watched) = (world.create().await, world.create().await);
    let quiet_runner = world.assigned(quiet.id).await;
    let watched_runner = world.assigned(watched.id).await;
    quiet_runner.report(Stage::Running, None).await;
    watched_runner.report(Stage::Running, None).await;
    let beat = json!({"session": watched.id, "epoch": 1, "operators": 1, "quiet_ms": 100_000});
    let ended = loop {
        assert_eq!(watched_runner.post("heartbeat", beat.clone()).await, StatusCode::NO_CONTENT);
        if let Some(ended) = world.session(quiet.id).await.ended {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended.reason, EndReason::Idle);
    assert_eq!(world.session(watched.id).await.stage, Stage::Running);
}

#[tokio::test]
async fn a_runner_speaks_only_of_its_own_session_and_epoch() {
    let world = World::with([], patient).await;
    let (mine, other) = (world.create().await, world.create().await);
    let runner = world.assigned(mine.id).await;
    world.assigned(other.id).await;
    for (session, epoch) in [(other.id, 1), (mine.id, 2), (SessionId::new(), 1)] {
        let report = json!({"session": session, "epoch": epoch, "stage": "ended", "ended": exited(0)});
        assert_eq!(runner.post("stage", report).await, StatusCode::CONFLICT);
        let beat = json!({"session": session, "epoch": epoch, "operators": 1, "quiet_ms": 0});
        assert_eq!(runner.post("heartbeat", beat).await, StatusCode::CONFLICT);
    }
    assert!(world.session(other.id).await.ended.is_none());
}

#[tokio::test]
async fn heartbeats_that_come_together_are_each_answered_for_themselves() {
    let world = World::with([], |config| config.timing.heartbeat_flush = Duration::from_millis(500)).await;
    let (one, other) = (world.create().await, world.create().await);
    let (runner, second) = (world.assigned(one.id).await, world.assigned(other.id).await);
    let beat = |session: SessionId, epoch| json!({"session": session, "epoch": epoch, "operators": 1, "quiet_ms": 0});
    let home = format!("http://{}/", world.internal).parse().unwrap();
    let seen = world.row(runner.id).await.seen_at;
    let answers = tokio::join!(
        runner.post("heartbeat", beat(one.id, 1)),
        call(&home, runner.id, "heartbeat", second.secret.clone(), beat(one.id, 1)),
        call(&home, RunnerId::new(), "heartbeat", runner.secret.clone(), beat(one.id, 1)),
        second.post("heartbeat", beat(other.id, 2)),
        second.post("heartbeat", json!({"operators": "many"})),
        call(&home, second.id, "heartbeat", "0".repeat(64), json!({"operators": "many"})),
        runner.post("heartbeat", beat(one.id, 1)),
    );
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::CONFLICT, StatusCode::BAD_REQUEST];
    let [unauthorized, conflict, bad] = refused;
    let fine = StatusCode::NO_CONTENT;
    assert_eq!(answers, (fine, unauthorized, unauthorized, conflict, bad, unauthorized, fine));
    // What is answered is noted.
    assert!(world.row(runner.id).await.seen_at > seen);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_not_the_trouble_of_those_who_come_with_it() {
    let world = World::with([], |config| config.timing.heartbeat_flush = Duration::from_millis(500)).await;
    let (one, other) = (world.create().await, world.create().await);
    let (runner, spoilt) = (world.assigned(one.id).await, world.assigned(other.id).await);
    world.tamper(&format!("UPDATE runners SET secret = X'00' WHERE id = '{}'", spoilt.id));
    let beat = |session: SessionId| json!({"session": session, "epoch": 1, "operators": 1, "quiet_ms": 0});
    let seen = world.row(runner.id).await.seen_at;
    let answers = tokio::join!(spoilt.post("heartbeat", beat(other.id)), runner.post("heartbeat", beat(one.id)));
    assert_eq!(answers, (StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NO_CONTENT));
    assert!(world.row(runner.id).await.seen_at > seen);
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_what_is_unauthorised_is_not_even_read() {
    let world = World::with([], patient).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    let own = |stage: &str, ended: serde_json::Value| json!({"session": session.id, "epoch": 1, "stage": stage, "ended": ended});
    let bad = [
        json!(null),
        json!([]),
        json!({"session": "x"}),
        own("flying", json!(null)),
        own("ended", json!(null)),
        own("running", serde_json::to_value(exited(0)).unwrap()),
        own("ended", serde_json::to_value(exited(256)).unwrap()),
        own("ended", serde_json::to_value(exited(-1)).unwrap()),
    ];
    for body in bad {
        assert_eq!(runner.post("stage", body.clone()).await, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(runner.post("heartbeat", json!({"operators": -1})).await, StatusCode::BAD_REQUEST);
    let mut liar = FakeRunner::silent(runner.id);
    liar.secret = "0".repeat(64);
    let home = format!("http://{}/", world.internal).parse().unwrap();
    for secret in [liar.secret.clone(), "short".to_owned(), runner.secret.to_uppercase() + "0"] {
        let status = call(&home, runner.id, "stage", secret, json!(null)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let nobody = call(&home, RunnerId::new(), "stage", runner.secret.clone(), json!(null)).await;
    assert_eq!(nobody, StatusCode::UNAUTHORIZED);
    assert!(world.session(session.id).await.ended.is_none());
}

#[tokio::test]
async fn only_the_launched_runner_gets_in_and_only_from_its_own_address() {
    let world = World::with([Boot::Silent], patient).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now(), 600).await;
    let runner = session.runner.unwrap();
    let home = format!("http://{}/", world.internal).parse().unwrap();
    let ready = |token: &str, address: &str, secret: &str, protocol: u32| {
        let body = json!({"protocol": protocol, "address": address, "secret": secret});
        call(&home, runner, "ready", token.to_owned(), body)
    };
    let secret = "ab".repeat(32);
    // The boot token is the launcher's alone: the database keeps its digest. A known one is registered for a standby.
    let standby = RunnerId::new();
    let digest = store::Digest::of(b"known token");
    testkit::standby::add(&*world.store, store::NewRunner { id: standby, boot_token: digest }).await;
    // The launcher has it, or the reconciler would find it missing.
    world.launcher.add(FakeRunner::silent(standby));
    assert_eq!(ready("wrong", "127.0.0.1:5", &secret, 1).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ready("known token", "127.0.0.1:5", &secret, 1).await, StatusCode::UNAUTHORIZED);
    let ready = |address: &str, secret: &str, protocol: u32| {
        let body = json!({"protocol": protocol, "address": address, "secret": secret});
        call(&home, standby, "ready", "known token".to_owned(), body)
    };
    assert_eq!(ready("10.0.0.1:5", &secret, 1).await, StatusCode::CONFLICT);
    assert_eq!(ready("127.0.0.1:0", &secret, 1).await, StatusCode::CONFLICT);
    assert_eq!(ready("127.0.0.1:5", &secret, 2).await, StatusCode::CONFLICT);
    assert_eq!(ready("127.0.0.1:5", "short", 1).await, StatusCode::BAD_REQUEST);
    assert_eq!(ready("localhost:5", &secret, 1).await, StatusCode::BAD_REQUEST);
    assert_eq!(world.row(standby).await.state, RunnerState::Booting);
    assert_eq!(ready("127.0.0.1:5", &secret, 1).await, StatusCode::OK);
    assert_eq!(ready("127.0.0.1:5", &secret, 1).await, StatusCode::OK);
    assert_eq!(ready("[::ffff:127.0.0.1]:5", &secret, 1).await, StatusCode::OK);
    assert_eq!(ready("127.0.0.1:5", &"cd".repeat(32), 1).await, StatusCode::CONFLICT);
    assert_eq!(ready("127.0.0.1:6", &secret, 1).await, StatusCode::CONFLICT);
    assert_eq!(world.row(standby).await.address.unwrap(), "127.0.0.1:5");
}

#[tokio::test]
async fn a_runner_that_the_database_does_not_know_is_destroyed() {
    let world = World::with([], patient).await;
    let stranger = RunnerId::new();
    world.launcher.add(FakeRunner::silent(stranger));
    world.until_destroyed(stranger).await;
}

#[tokio::test]
async fn after_a_restart_no_session_of_the_dead_run_goes_on() {
    let world = World::stopped([], patient).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = world.create().await;
        let runner = world.assigned(session.id).await;
        runner.report(Stage::Running, None).await;
        sessions.push(session);
        world.launcher.exit(runner.id, false);
    }
    world.lifecycle.recover().await.unwrap();
    // Not some time later: when recovery is over.
    for session in &sessions {
        assert_eq!(world.session(session.id).await.ended.unwrap().reason, EndReason::RunnerLost);
    }
}

#[tokio::test]
async fn stopping_ends_every_session_and_every_runner_within_its_time() {
    let world = World::with([Boot::Ready(vec![]), Boot::Silent], patient).await;
    let running = world.create().await;
    let runner = world.assigned(running.id).await;
    let booting = world.create().await;
    until("the second is launched", || world.launcher.launches() == 2).await;
    world.lifecycle.end_all(EndReason::Cancelled, Duration::from_secs(5)).await;
    for session in [&running, &booting] {
        assert_eq!(world.session(session.id).await.ended.unwrap().reason, EndReason::Cancelled);
        assert!(world.launcher.runner(session.runner.unwrap()).is_none());
        assert_eq!(world.row(session.runner.unwrap()).await.state, RunnerState::Gone);
    }
    assert_eq!(*runner.seen.ended.lock().unwrap(), Some(EndReason::Cancelled));
}

#[tokio::test]
async fn a_session_at_a_fixed_server_runs_at_once_until_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, lifecycle, shutdown) = fixed(dir.path()).await;
    let plan = lifecycle.plan().unwrap();
    let session =
        lifecycle_world::commit(&store, plan.placement(), Time::now() - SignedDuration::from_secs(9), 10).await;
    lifecycle.begin(&session, session.runner.unwrap(), None, plan);
    let stage = async |wanted: Stage| {
        while store.session(session.id).await.unwrap().unwrap().stage != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    stage(Stage::Running).await;
    let route = store.route(session.id).await.unwrap().unwrap();
    assert_eq!((route.address.as_deref(), route.wire), (Some("127.0.0.1:7681"), session::frames::Wire::Tty));
    // It is quiet for longer than its idle time, which nobody can tell here.
    stage(Stage::Ended).await;
    let ended = store.session(session.id).await.unwrap().unwrap().ended.unwrap();
    assert_eq!(ended.reason, EndReason::TimedOut);
    while store.runner(session.runner.unwrap()).await.unwrap().unwrap().state != RunnerState::Gone {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.begin();
}
