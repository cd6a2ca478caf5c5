//! Starting: from the transaction to a runner that has the session, with answers lost, runners dead and controllers
//! dying in between.

mod lifecycle_world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use controller::lifecycle::Lifecycle;
use http::StatusCode;
use jiff::SignedDuration;
use lifecycle_world::{Answer, Boot, FakeRunner, World, until};
use session::{EndReason, Secret, Stage};
use store::{Idle, NewRunner, Placement, RunnerCall, RunnerState, Store, Time};

#[tokio::test]
async fn a_session_is_launched_called_for_and_assigned_once() {
    let world = World::new([]).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    let held = runner.seen.held.lock().unwrap().clone().unwrap();
    assert_eq!((held.session, held.epoch), (session.id, 1));
    assert_eq!(held.secrets.env["KEY"], Secret::new("value"));
    assert!(held.deadline_ms > 590_000 && held.deadline_ms <= 600_000, "{}", held.deadline_ms);
    assert_eq!(runner.assigns(), 1);
    assert_eq!(world.row(runner.id).await.handle, Some(format!("fake/{}", runner.id)));
    for stage in [Stage::Assigned, Stage::Fetching, Stage::Running, Stage::Running] {
        assert_eq!(runner.report(stage, None).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(world.session(session.id).await.stage, Stage::Running);
    assert_eq!(world.metric("cliscale_session_start_seconds_count").await, 1.0);
}

#[tokio::test]
async fn an_assignment_whose_answer_is_lost_is_sent_again_to_the_same_runner() {
    let answers = vec![Answer::Silence, Answer::AcceptInSilence, Answer::Refuse(StatusCode::BAD_GATEWAY)];
    let world = World::new([Boot::Ready(answers)]).await;
    let session = world.create().await;
    let id = session.runner.unwrap();
    // It has it after the second, and whoever assigns does not know.
    until("it is asked again", || world.launcher.runner(id).is_some_and(|runner| runner.assigns() >= 4)).await;
    let runner = world.assigned(session.id).await;
    assert_eq!(runner.id, id);
    assert_eq!(runner.seen.held.lock().unwrap().as_ref().unwrap().epoch, 1);
    assert_eq!(world.launcher.launches(), 1);
    assert!(world.metric("cliscale_assign_retries_total").await >= 3.0);
}

#[tokio::test]
async fn a_runner_that_reports_is_not_asked_again_though_its_answer_was_lost() {
    let world = World::with([Boot::Ready(vec![Answer::AcceptInSilence])], |config| {
        config.timing.assign_timeout = Duration::from_secs(1);
    })
    .await;
    let session = world.create().await;
    until("the runner is asked", || {
        world.launcher.runner(session.runner.unwrap()).is_some_and(|runner| runner.assigns() == 1)
    })
    .await;
    let runner = world.launcher.runner(session.runner.unwrap()).unwrap();
    assert_eq!(runner.report(Stage::Assigned, None).await, StatusCode::NO_CONTENT);
    // The reconciler looks many times within the time that the first answer is waited for.
    tokio::time::timeout(Duration::from_millis(1500), until("it is asked again", || runner.assigns() > 1))
        .await
        .expect_err("it was asked again");
    assert_eq!(world.session(session.id).await.stage, Stage::Assigned);
}

#[tokio::test]
async fn a_runner_that_refuses_or_cannot_be_reached_is_replaced() {
    let world = World::new([Boot::Ready(vec![Answer::Refuse(StatusCode::CONFLICT)]), Boot::Deaf]).await;
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    assert_ne!(Some(runner.id), session.runner);
    assert_eq!(runner.seen.held.lock().unwrap().as_ref().unwrap().epoch, 3);
    let launched = world.launcher.launched.lock().unwrap().clone();
    assert_eq!(launched.len(), 3);
    for old in &launched[..2] {
        world.until_destroyed(*old).await;
        assert_eq!(world.row(*old).await.state, RunnerState::Gone);
    }
}

#[tokio::test]
async fn a_session_that_no_runner_takes_ends_as_a_failed_start() {
    let refuses = || Boot::Ready(vec![Answer::Refuse(StatusCode::UNAUTHORIZED)]);
    let world = World::new([refuses(), refuses(), refuses()]).await;
    let session = world.create().await;
    let ended = world.until_ended(session.id).await;
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert_eq!(world.launcher.launches(), 3);
    let launched = world.launcher.launched.lock().unwrap().clone();
    for id in launched {
        world.until_destroyed(id).await;
    }
}

#[tokio::test]
async fn a_launch_that_fails_ends_the_session_with_words_for_its_owner() {
    let world = World::new([Boot::Fails]).await;
    let session = world.create().await;
    let ended = world.until_ended(session.id).await;
    assert_eq!(ended.reason, EndReason::StartFailed);
    assert_eq!(ended.message.unwrap(), "the runner could not be started; the server's log has the reason");
    let row = session.runner.unwrap();
    while world.row(row).await.state != RunnerState::Gone {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_launch_that_the_engine_refuses_ends_the_session_with_the_engines_words() {
    let world = World::new([Boot::Refused("exceeded quota: sessions, used: count/jobs.batch=5")]).await;
    let session = world.create().await;
    let ended = world.until_ended(session.id).await;
    let message = "the cluster refused to start a runner: exceeded quota: sessions, used: count/jobs.batch=5";
    assert_eq!((ended.reason, &*ended.message.unwrap()), (EndReason::StartFailed, message));
    assert_eq!(world.launcher.attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_the_engine_is_away_the_session_waits_and_no_other_controller_interferes() {
    // Longer than any pause between two attempts by far, and shorter than all of them together.
    let grace = Duration::from_millis(1500);
    let world = World::with(vec![Boot::Away; 60], |config| {
        config.timing.launch_grace = grace;
        config.timing.launch_retry.1 = Duration::from_millis(50);
    })
    .await;
    // Another one, which takes a runner that nobody launches for so long for its own to replace.
    let other = world.twin_with(|config| config.timing.launch_grace = grace).await;
    other.lifecycle.run();
    let (session, began) = (world.create().await, Instant::now());
    until("it is tried", || world.launcher.attempts.load(Ordering::SeqCst) > 55).await;
    assert!(began.elapsed() > grace, "the engine was not away for long enough");
    let waiting = world.session(session.id).await;
    assert_eq!((waiting.stage, waiting.epoch, waiting.runner), (Stage::Queued, 1, session.runner));
    let runner = world.assigned(session.id).await;
    assert_eq!(Some(runner.id), session.runner);
    assert_eq!(world.launcher.launches(), 1);
    assert!(world.metric("cliscale_launch_retries_total").await >= 60.0);
}

#[tokio::test]
async fn an_engine_that_stays_away_ends_the_session_at_the_boot_deadline() {
    let world = World::with(vec![Boot::Away; 1000], |config| config.boot_deadline = Duration::from_millis(1500)).await;
    let session = world.create().await;
    let ended = world.until_ended(session.id).await;
    assert_eq!(
        (ended.reason, &*ended.message.unwrap()),
        (EndReason::StartFailed, "the cluster that runs sessions did not answer")
    );
    let attempts = world.launcher.attempts.load(Ordering::SeqCst);
    assert!((3..100).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn a_session_that_is_ended_while_the_engine_is_away_is_launched_no_more() {
    let world = World::new(vec![Boot::Away; 6]).await;
    let session = world.create().await;
    until("it is tried", || world.launcher.attempts.load(Ordering::SeqCst) > 1).await;
    world.lifecycle.end(session.id, session::Ended::because(EndReason::Cancelled, "enough")).await.unwrap();
    let runner = session.runner.unwrap();
    while world.row(runner).await.state != RunnerState::Gone {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.stop().await);
    assert_eq!(world.launcher.launches(), 0);
    assert!(world.launcher.attempts.load(Ordering::SeqCst) <= 6);
}

#[tokio::test]
async fn a_stop_leaves_a_session_whose_engine_is_away_to_the_next_controller() {
    let world = World::with(vec![Boot::Away; 3], |config| {
        config.timing.launch_retry = (Duration::from_secs(600), Duration::from_secs(600));
        config.boot_deadline = Duration::from_secs(6000);
    })
    .await;
    let session = world.create().await;
    until("it is tried", || world.launcher.attempts.load(Ordering::SeqCst) == 1).await;
    assert!(world.stop().await);
    let left = world.session(session.id).await;
    assert_eq!((left.stage, left.ended, left.runner), (Stage::Queued, None, session.runner));
    assert_ne!(world.row(session.runner.unwrap()).await.state, RunnerState::Gone);
    let next = world.twin_with(|config| config.timing.launch_grace = Duration::ZERO).await;
    next.lifecycle.run();
    next.assigned(session.id).await;
}

#[tokio::test]
async fn a_stop_ends_no_session() {
    let world = World::new([]).await;
    let session = world.create().await;
    world.assigned(session.id).await;
    assert!(world.stop().await);
    let record = world.session(session.id).await;
    assert_eq!((record.stage, record.ended), (Stage::Assigned, None));
    assert!(world.launcher.runner(session.runner.unwrap()).is_some());
}

#[tokio::test]
async fn a_runner_that_was_launched_and_not_noted_is_recognised_and_not_launched_twice() {
    let world = World::stopped([], |config| config.timing.launch_grace = Duration::ZERO).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now() - SignedDuration::from_secs(11), 600).await;
    // Its controller died right after the launch; it has not called home yet.
    world.launcher.add(FakeRunner::silent(session.runner.unwrap()));
    for _ in 0..3 {
        world.lifecycle.reconcile().await.unwrap();
    }
    assert_eq!(world.session(session.id).await.epoch, 1);
    assert!(world.launcher.runner(session.runner.unwrap()).is_some());
    assert_eq!(world.launcher.launches(), 0);
}

#[tokio::test]
async fn a_runner_that_never_calls_home_ends_the_session_and_is_destroyed() {
    let world = World::with([Boot::Silent], |config| config.boot_deadline = Duration::from_millis(200)).await;
    let session = world.create().await;
    let ended = world.until_ended(session.id).await;
    assert_eq!((ended.reason, &*ended.message.unwrap()), (EndReason::StartFailed, "the runner never called home"));
    world.until_destroyed(session.runner.unwrap()).await;
}

#[tokio::test]
async fn a_runner_that_dies_before_it_calls_home_ends_the_session() {
    let world = World::new([Boot::Silent]).await;
    let session = world.create().await;
    let runner = session.runner.unwrap();
    until("it is launched", || world.launcher.runner(runner).is_some()).await;
    world.launcher.exit(runner, true);
    let ended = world.until_ended(session.id).await;
    assert_eq!(
        (ended.reason, &*ended.message.unwrap()),
        (EndReason::StartFailed, "the runner ended before it was ready")
    );
}

#[tokio::test]
async fn a_session_whose_controller_died_before_the_launch_is_launched_after_all() {
    let world = World::new([]).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now() - SignedDuration::from_secs(11), 600).await;
    let runner = world.assigned(session.id).await;
    assert_ne!(Some(runner.id), session.runner);
    assert_eq!(runner.seen.held.lock().unwrap().as_ref().unwrap().secrets.env["KEY"], Secret::new("value"));
    assert_eq!(world.row(session.runner.unwrap()).await.state, RunnerState::Gone);
}

#[tokio::test]
async fn a_session_that_was_created_just_now_is_not_taken_for_one_that_nobody_launched() {
    let world = World::stopped([], |_| {}).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now(), 600).await;
    for _ in 0..5 {
        world.lifecycle.reconcile().await.unwrap();
    }
    assert_eq!(world.session(session.id).await, session);
    assert_eq!(world.launcher.launches(), 0);
}

#[tokio::test]
async fn a_ready_runner_whose_controller_died_before_assigning_is_assigned_by_the_next() {
    let world = World::stopped([], |_| {}).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now(), 600).await;
    let Placement::Runner(NewRunner { id, boot_token }) = plan.placement() else { panic!("a runner") };
    let (mut runner, address) = FakeRunner::listening(id, Vec::new()).await;
    runner.reports_to(world.internal);
    let call = RunnerCall { id, boot_token, secret: Secret::new(runner.secret.clone()), address };
    world.launcher.add(runner);
    world.store.set_runner_handle(id, "fake".to_owned()).await.unwrap();
    world.store.runner_ready(call, Time::now()).await.unwrap();
    world.lifecycle.reconcile().await.unwrap();
    assert_eq!(world.assigned(session.id).await.id, id);
}

#[tokio::test]
async fn a_claimed_standby_is_assigned_at_once() {
    let world = World::new([]).await;
    // With what to send it, or without.
    for (is_known, launches) in [(false, 1), (true, 2)] {
        // A standby: launched without a session, ready and idle.
        let standby = standby(&world).await;
        let plan = world.lifecycle.plan().unwrap();
        let session = world.commit(&plan, Time::now(), 600).await;
        assert_eq!(session.runner, Some(standby));
        let asked = world.store.assignment(standby).await.unwrap().map(Box::new);
        let idle = Idle { since: Time::now(), assignment: asked.filter(|_| is_known) };
        world.lifecycle.begin(&session, standby, Some(idle), plan);
        let runner = world.assigned(session.id).await;
        assert_eq!(runner.id, standby);
        assert_eq!(world.launcher.launches(), launches);
    }
}

async fn standby(world: &World) -> session::RunnerId {
    use controller::launcher::{Launch, Launcher};
    let (id, token) = (session::RunnerId::new(), Secret::new("standby's token"));
    let digest = store::Digest::of(token.expose().as_bytes());
    testkit::standby::add(&*world.store, store::NewRunner { id, boot_token: digest }).await;
    let internal_url = format!("http://{}", world.internal).parse().unwrap();
    let (template, standby) = ("default".to_owned(), true);
    let launch = Launch { runner: id, boot_token: token, internal_url, template, standby };
    let handle = world.launcher.launch(launch).await.unwrap();
    world.store.set_runner_handle(id, handle).await.unwrap();
    while world.row(id).await.state != RunnerState::Idle {
        tokio::task::yield_now().await;
    }
    id
}

#[tokio::test]
async fn two_controllers_on_one_database_start_and_end_every_session_once() {
    let first = World::new([]).await;
    let second = first.twin().await;
    second.lifecycle.run();
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(first.create().await);
        sessions.push(second.create().await);
    }
    for session in &sessions {
        let runner = first.assigned(session.id).await;
        assert_eq!(Some(runner.id), session.runner);
        assert_eq!(runner.seen.held.lock().unwrap().as_ref().unwrap().epoch, 1);
    }
    assert_eq!(first.launcher.launches(), sessions.len());
    // Each is ended through the other one.
    for (index, session) in sessions.iter().enumerate() {
        let through: &std::sync::Arc<Lifecycle> = if index % 2 == 0 { &second.lifecycle } else { &first.lifecycle };
        through.end(session.id, session::Ended::because(EndReason::Cancelled, "done")).await.unwrap();
    }
    for session in &sessions {
        first.until_destroyed(session.runner.unwrap()).await;
        assert_eq!(first.session(session.id).await.ended.unwrap().reason, EndReason::Cancelled);
    }
}
