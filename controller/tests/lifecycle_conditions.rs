//! What the launcher knows against runners: verdicts end their sessions with the right reason, and doubts are looked
//! into before they do.

mod lifecycle_world;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use controller::launcher::{Condition, Launch, Launcher};
use controller::lifecycle::LifecycleConfig;
use http::StatusCode;
use lifecycle_world::runner::call;
use lifecycle_world::{Answer, Boot, FakeRunner, World, over, until};
use serde_json::json;
use session::{EndReason, Ended, RunnerId, Secret, Stage};
use store::{RunnerState, Store, Time};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Seconds where the others have milliseconds: what must not act here does not.
fn patient(config: &mut LifecycleConfig) {
    config.linger = Duration::from_secs(600);
    config.timing.exit_grace = Duration::from_secs(600);
}

async fn running(world: &World) -> (session::SessionId, Arc<FakeRunner>) {
    let session = world.create().await;
    let runner = world.assigned(session.id).await;
    assert_eq!(runner.report(Stage::Running, None).await, StatusCode::NO_CONTENT);
    (session.id, runner)
}

fn said(ended: Ended) -> (EndReason, String) {
    (ended.reason, ended.message.unwrap_or_default())
}

#[tokio::test]
async fn each_verdict_ends_the_session_at_once_with_its_reason_and_frees_the_runner() {
    use EndReason::*;
    // No last report is waited for: that would take minutes here.
    let world = World::with([], patient).await;
    for (reason, noticed) in
        [(Evicted, true), (OomKilled, false), (TimedOut, true), (NodeLost, false), (StartFailed, true)]
    {
        let (session, runner) = running(&world).await;
        world.launcher.becomes(runner.id, over(reason, "as the engine says"));
        if noticed {
            world.launcher.tell(runner.id);
        }
        assert_eq!(said(world.until_ended(session).await), (reason, "as the engine says".to_owned()));
        world.until_destroyed(runner.id).await;
        while world.row(runner.id).await.state != RunnerState::Gone {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_report_that_came_first_stays_whatever_the_launcher_learns_later() {
    let world = World::with([], patient).await;
    let (session, runner) = running(&world).await;
    let ended = Ended { reason: EndReason::Exited, exit_code: Some(4), signal: None, message: None };
    assert_eq!(runner.report(Stage::Ended, Some(ended.clone())).await, StatusCode::NO_CONTENT);
    world.launcher.becomes(runner.id, over(EndReason::Evicted, "the node had to be emptied"));
    world.launcher.tell(runner.id);
    world.until_destroyed(runner.id).await;
    assert_eq!(world.session(session).await.ended, Some(ended));
}

#[tokio::test]
async fn while_the_last_report_is_waited_for_a_better_reason_still_counts() {
    let world = World::with([], patient).await;
    let (session, runner) = running(&world).await;
    world.launcher.exit(runner.id, true);
    world.launcher.becomes(runner.id, over(EndReason::OomKilled, "the container ran out of memory"));
    assert_eq!(world.until_ended(session).await.reason, EndReason::OomKilled);
}

#[tokio::test]
async fn a_runner_that_cannot_be_started_ends_its_session_with_the_engines_words_and_is_not_replaced() {
    for noticed in [true, false] {
        let world = World::with([Boot::Silent], patient).await;
        let session = world.create().await;
        let runner = session.runner.unwrap();
        until("it is launched", || world.launcher.runner(runner).is_some()).await;
        world.launcher.becomes(runner, over(EndReason::StartFailed, "the image nowhere/x cannot be pulled"));
        if noticed {
            world.launcher.tell(runner);
        }
        let ended = said(world.until_ended(session.id).await);
        assert_eq!(ended, (EndReason::StartFailed, "the image nowhere/x cannot be pulled".to_owned()));
        world.until_destroyed(runner).await;
        assert_eq!(world.launcher.launches(), 1);
    }
}

#[tokio::test]
async fn a_runner_that_dies_while_it_boots_says_what_the_launcher_knows_of_it() {
    let world = World::with([Boot::Silent], patient).await;
    let session = world.create().await;
    let runner = session.runner.unwrap();
    until("it is launched", || world.launcher.runner(runner).is_some()).await;
    world.launcher.becomes(runner, over(EndReason::RunnerLost, "its pod was deleted"));
    world.launcher.tell(runner);
    let ended = said(world.until_ended(session.id).await);
    let message = "the runner ended before it was ready: its pod was deleted".to_owned();
    assert_eq!(ended, (EndReason::StartFailed, message));
}

#[tokio::test]
async fn a_session_whose_runner_was_evicted_before_it_took_it_gets_another() {
    for boot in [Boot::Silent, Boot::Ready(vec![Answer::Silence; 50])] {
        let world = World::with([boot], patient).await;
        let session = world.create().await;
        let first = session.runner.unwrap();
        until("it is launched", || world.launcher.runner(first).is_some()).await;
        world.launcher.becomes(first, over(EndReason::Evicted, "the node had to be emptied"));
        world.launcher.tell(first);
        let second = world.assigned(session.id).await;
        assert_ne!(second.id, first);
        assert_eq!(second.seen.held.lock().unwrap().as_ref().unwrap().epoch, 2);
        world.until_destroyed(first).await;
    }
}

/// Collects the messages of the reconciler, from the level that is shown by default.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Said {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message<'a>(&'a Said);
        impl Visit for Message<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0.0.lock().unwrap().push(format!("{value:?}"));
                }
            }
        }
        if event.metadata().target().ends_with("reconcile") && *event.metadata().level() <= tracing::Level::INFO {
            event.record(&mut Message(self));
        }
    }
}

#[tokio::test]
async fn an_engine_that_is_away_harms_no_session_and_is_logged_once() {
    let world = World::stopped([], patient).await;
    let (session, runner) = running(&world).await;
    let said = Said::default();
    // With a single subscriber, what another test's thread logs first would ask that thread's alone whether anybody
    // listens, and be heard here no more.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(said.clone()));
    let look = async |blind: bool| {
        world.launcher.blind.store(blind, Ordering::SeqCst);
        for _ in 0..3 {
            world.lifecycle.reconcile().await.unwrap();
        }
        std::mem::take(&mut *said.0.lock().unwrap())
    };
    for _ in 0..2 {
        assert_eq!(look(true).await, ["the launcher cannot say which runners exist"]);
        assert_eq!(look(false).await, ["the launcher says again which runners exist"]);
    }
    // Nothing is concluded from what nobody can say.
    world.launcher.exit(runner.id, false);
    look(true).await;
    assert!(world.session(session).await.ended.is_none());
}

#[tokio::test]
async fn a_doubtful_runner_that_answers_keeps_its_session_and_is_asked_on() {
    let world = World::with([], patient).await;
    let (session, runner) = running(&world).await;
    world.launcher.becomes(runner.id, Condition::Doubtful);
    world.launcher.tell(runner.id);
    until("it is asked again and again", || runner.seen.asked.load(Ordering::SeqCst) > 4).await;
    assert!(world.session(session).await.ended.is_none());
    // Its machine is back: nobody asks any more.
    world.launcher.becomes(runner.id, Condition::Fine);
    let asked = || runner.seen.asked.load(Ordering::SeqCst);
    let mut before = asked();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = asked();
        if now == before {
            break;
        }
        assert!(Instant::now() < deadline, "it is asked for ever");
        before = now;
    }
    assert!(world.session(session).await.ended.is_none());
}

#[tokio::test]
async fn a_doubtful_runner_that_does_not_answer_is_lost_with_its_node_and_fenced_when_it_comes_back() {
    let world = World::with([], patient).await;
    for noticed in [true, false] {
        let (session, runner) = running(&world).await;
        // Its network is cut: it runs on, and nobody reaches it.
        runner.stop();
        world.launcher.becomes(runner.id, Condition::Doubtful);
        if noticed {
            world.launcher.tell(runner.id);
        }
        let ended = said(world.until_ended(session).await);
        let message = "the runner's machine does not answer, and neither does the runner".to_owned();
        assert_eq!(ended, (EndReason::NodeLost, message));
        world.until_destroyed(runner.id).await;
        while world.row(runner.id).await.state != RunnerState::Gone {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let late = Ended { reason: EndReason::Exited, exit_code: Some(0), signal: None, message: None };
        assert_eq!(runner.report(Stage::Ended, Some(late)).await, StatusCode::UNAUTHORIZED);
        assert_eq!(world.session(session).await.ended.unwrap().reason, EndReason::NodeLost);
    }
}

#[tokio::test]
async fn a_doubtful_runner_that_still_sends_heartbeats_keeps_its_session_though_it_cannot_be_reached() {
    let world = World::with([], patient).await;
    let (session, runner) = running(&world).await;
    runner.stop();
    let beat = json!({"session": session, "epoch": 1, "operators": 1, "quiet_ms": 0});
    let beating = async {
        loop {
            assert_eq!(runner.post("heartbeat", beat.clone()).await, StatusCode::NO_CONTENT);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    world.launcher.becomes(runner.id, Condition::Doubtful);
    world.launcher.tell(runner.id);
    // Many times as long as its silence would take to count.
    tokio::time::timeout(Duration::from_secs(2), beating).await.expect_err("it never ends");
    assert!(world.session(session).await.ended.is_none());
    // And then they stop as well.
    assert_eq!(world.until_ended(session).await.reason, EndReason::NodeLost);
}

#[tokio::test]
async fn another_runner_at_the_same_address_does_not_answer_for_a_lost_one() {
    let world = World::stopped([], patient).await;
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now(), 600).await;
    let store::Placement::Runner(store::NewRunner { id, boot_token }) = plan.placement() else { panic!("a runner") };
    let (other, address) = FakeRunner::listening(RunnerId::new(), Vec::new()).await;
    let call = store::RunnerCall { id, boot_token, secret: Secret::new("5".repeat(64)), address };
    world.launcher.add(FakeRunner::silent(id));
    world.store.set_runner_handle(id, "fake".to_owned()).await.unwrap();
    world.store.runner_ready(call, Time::now()).await.unwrap();
    world.store.advance(session.id, 1, Stage::Running, Time::now()).await.unwrap();
    world.launcher.becomes(id, Condition::Doubtful);
    world.lifecycle.reconcile().await.unwrap();
    assert_eq!(world.until_ended(session.id).await.reason, EndReason::NodeLost);
    assert!(other.seen.asked.load(Ordering::SeqCst) >= 3);
}

#[tokio::test]
async fn a_standby_on_a_machine_that_is_lost_is_discarded() {
    let world = World::with([], patient).await;
    let (id, token) = (RunnerId::new(), Secret::new("standby's token"));
    let digest = store::Digest::of(token.expose().as_bytes());
    testkit::standby::add(&*world.store, store::NewRunner { id, boot_token: digest }).await;
    let internal_url = format!("http://{}", world.internal).parse().unwrap();
    world
        .launcher
        .launch(Launch { runner: id, boot_token: token, internal_url, template: "default".to_owned(), standby: true })
        .await
        .unwrap();
    while world.row(id).await.state != RunnerState::Idle {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.launcher.runner(id).unwrap().stop();
    world.launcher.becomes(id, Condition::Doubtful);
    while world.row(id).await.state != RunnerState::Gone {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.launcher.runner(id).is_none());
}

#[tokio::test]
async fn a_runner_that_was_told_to_stop_is_recorded_with_the_reason_that_the_launcher_learns_a_moment_later() {
    // Without its reconciler, which would come to the same end by itself.
    let world = World::stopped([], |config| {
        config.timing.verdict_patience = Duration::from_secs(600);
        config.timing.stop_patience = Duration::from_secs(600);
    })
    .await;
    world.launcher.watches();
    let (session, runner) = running(&world).await;
    let told = Ended {
        reason: EndReason::RunnerLost,
        exit_code: Some(143),
        signal: None,
        message: Some("The runner was told to stop.".to_owned()),
    };
    // Answered at once: the engine may say why only when the runner has gone.
    assert_eq!(runner.report(Stage::Ended, Some(told)).await, StatusCode::NO_CONTENT);
    // A plain deletion may turn out to be more than that.
    world.launcher.becomes(runner.id, over(EndReason::RunnerLost, "its pod was deleted"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.session(session).await.ended.is_none());
    world.launcher.becomes(runner.id, over(EndReason::Evicted, "the node had to be emptied"));
    let ended = world.until_ended(session).await;
    assert_eq!((ended.reason, ended.exit_code), (EndReason::Evicted, Some(143)));
}

#[tokio::test]
async fn what_a_runner_says_of_its_stop_is_recorded_where_the_launcher_knows_no_better() {
    let world = World::with([], |config| {
        patient(config);
        config.timing.verdict_patience = Duration::from_millis(100);
        config.timing.stop_patience = Duration::from_millis(100);
    })
    .await;
    world.launcher.watches();
    for known in [None, Some("its pod was deleted")] {
        let (session, runner) = running(&world).await;
        if let Some(message) = known {
            world.launcher.becomes(runner.id, over(EndReason::RunnerLost, message));
        }
        let told = Ended::because(EndReason::RunnerLost, "The runner was told to stop.");
        assert_eq!(runner.report(Stage::Ended, Some(told)).await, StatusCode::NO_CONTENT);
        let ended = said(world.until_ended(session).await);
        let message = known.unwrap_or("The runner was told to stop.").to_owned();
        assert_eq!(ended, (EndReason::RunnerLost, message));
    }
}

#[tokio::test]
async fn a_call_home_may_name_the_address_that_the_launcher_knows_or_soon_learns() {
    let world = World::with([Boot::Silent], |config| {
        patient(config);
        config.timing.address_patience = Duration::from_millis(200);
    })
    .await;
    world.launcher.watches();
    let home: url::Url = format!("http://{}/", world.internal).parse().unwrap();
    let standby = RunnerId::new();
    let digest = store::Digest::of(b"token");
    // In this order: a runner without a row is nobody's.
    testkit::standby::add(&*world.store, store::NewRunner { id: standby, boot_token: digest }).await;
    world.launcher.add(FakeRunner::silent(standby));
    let ready = |address: &str| {
        let body = json!({"protocol": 1, "address": address, "secret": "ab".repeat(32)});
        call(&home, standby, "ready", "token".to_owned(), body)
    };
    world.launcher.learns_address(RunnerId::new(), "10.1.2.3");
    assert_eq!(ready("10.1.2.3:7681").await, StatusCode::CONFLICT, "another runner's");
    let calling = tokio::spawn(ready("10.1.2.3:7681"));
    world.launcher.learns_address(standby, "10.1.2.3");
    assert_eq!(calling.await.unwrap(), StatusCode::OK);
    assert_eq!(world.row(standby).await.address.unwrap(), "10.1.2.3:7681");
}
