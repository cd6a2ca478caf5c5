//! Pools of standbys as controllers keep them: filled, handed out, replaced, and left alone when nothing can be done.

mod lifecycle_world;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use controller::lifecycle::{LifecycleConfig, PoolConfig};
use jiff::SignedDuration;
use lifecycle_world::{Answer, Boot, World, until};
use session::{EndReason, RunnerId, Stage};
use store::{Idle, PoolRecord, RunnerState, SessionRecord, Store, Time};

const HOUR: Duration = Duration::from_secs(3600);

fn keeping(min: u32) -> impl Fn(&mut LifecycleConfig) {
    move |config| config.pools = vec![pool(min)]
}

fn pool(min: u32) -> PoolConfig {
    PoolConfig { per_minute: 6000, ..PoolConfig::keeping("default", min, HOUR) }
}

/// Waits for the pool to become what is asked for.
async fn until_pool(world: &World, what: &str, is: impl Fn(&PoolRecord) -> bool) -> PoolRecord {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let pools = world.store.pools().await.unwrap();
        if let Some(pool) = pools.iter().find(|pool| is(pool)) {
            return pool.clone();
        }
        assert!(Instant::now() < deadline, "in vain: {what}: {pools:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The idle ones, oldest first.
async fn idle(world: &World) -> Vec<RunnerId> {
    let runners = world.store.runners().await.unwrap();
    runners.into_iter().filter(|runner| runner.state == RunnerState::Idle).map(|runner| runner.id).collect()
}

/// Creates a session as the API does, on a standby if there is one.
async fn start(world: &World) -> (SessionRecord, bool) {
    let plan = world.lifecycle.plan().unwrap();
    let session = world.commit(&plan, Time::now(), 600).await;
    let standby = world.row(session.runner.unwrap()).await.pool.is_some();
    world.lifecycle.begin(
        &session,
        session.runner.unwrap(),
        standby.then(|| Idle { since: Time::now() - SignedDuration::from_secs(1), assignment: None }),
        plan,
    );
    (session, standby)
}

#[tokio::test]
async fn a_pool_is_filled_and_what_is_claimed_is_replaced() {
    let world = World::with([], keeping(3)).await;
    until_pool(&world, "three idle ones", |pool| pool.idle == 3 && pool.booting == 0).await;
    let oldest = idle(&world).await[0];
    let (session, warm) = start(&world).await;
    assert!(warm);
    assert_eq!(world.assigned(session.id).await.id, oldest);
    until_pool(&world, "three idle ones beside the session's", |pool| (pool.idle, pool.claimed) == (3, 1)).await;
    assert_eq!(world.launcher.launches(), 4);
    assert_eq!(world.metric("cliscale_warm_starts_total{template=\"default\"}").await, 1.0);
    assert!(world.metric("cliscale_standby_idle_seconds_total{template=\"default\"}").await > 0.0);
}

#[tokio::test]
async fn two_controllers_keep_one_pool_and_start_each_session_once() {
    let first = World::with([], keeping(6)).await;
    let address = first.internal;
    let second = first
        .twin_with(|config| {
            keeping(6)(config);
            // As replicas behind one address are.
            config.internal_url = format!("http://{address}").parse().unwrap();
        })
        .await;
    second.lifecycle.run();
    until_pool(&first, "six idle ones", |pool| pool.idle == 6).await;
    let mut warm = 0;
    let mut sessions = Vec::new();
    for turn in 0..12 {
        let (session, standby) = start(if turn % 2 == 0 { &first } else { &second }).await;
        warm += usize::from(standby);
        sessions.push(session);
    }
    assert!(warm >= 6, "{warm}");
    for session in &sessions {
        let runner = first.assigned(session.id).await;
        // The other one's reconciler may have asked the same of it.
        assert!(runner.seen.assigns.lock().unwrap().iter().all(|asked| *asked == (session.id, 1)));
    }
    let pool = until_pool(&first, "six idle ones again", |pool| pool.idle == 6 && pool.booting == 0).await;
    assert_eq!(pool.claimed as usize, warm);
    assert_eq!(first.launcher.launches(), 6 + 12, "each that was claimed was replaced once");
}

#[tokio::test]
async fn standbys_that_fail_are_tried_ever_more_seldom() {
    let world = World::with([Boot::Fails, Boot::Fails, Boot::Fails], keeping(1)).await;
    let pool = until_pool(&world, "a failure", |pool| pool.failures > 0).await;
    assert!(pool.retry_at.unwrap() > Time::now(), "{pool:?}");
    // As often as its reconciler comes by meanwhile.
    until("some more looks", || world.launcher.attempts.load(Ordering::SeqCst) >= 2).await;
    assert!(pool.retry_at.unwrap() <= Time::now(), "it was tried again too early");
    assert_eq!(until_pool(&world, "a second failure", |pool| pool.failures == 2).await.idle, 0);
}

#[tokio::test]
async fn while_nothing_can_be_launched_warm_starts_go_on_and_no_rows_pile_up() {
    let world = World::with([], keeping(2)).await;
    until_pool(&world, "two idle ones", |pool| pool.idle == 2).await;
    world.launcher.away.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let (session, warm) = start(&world).await;
        assert!(warm);
        world.assigned(session.id).await;
    }
    let pool = until_pool(&world, "both claimed", |pool| pool.claimed == 2).await;
    assert_eq!((pool.idle, pool.booting, pool.failures), (0, 0, 0));
    assert_eq!(world.launcher.attempts.load(Ordering::SeqCst), 2);
    world.launcher.away.store(false, Ordering::SeqCst);
    until_pool(&world, "two idle ones again", |pool| pool.idle == 2).await;
}

/// As if nobody had confirmed the pool for two minutes: the database, or the controllers, were away.
async fn forsake(world: &World, name: &str) {
    let long_ago = Time::now() - SignedDuration::from_secs(120);
    let stranger = store::PoolTarget { name: name.to_owned(), ..testkit::standby::target() };
    world.store.adopt_pool(stranger, long_ago).await.unwrap();
}

#[tokio::test]
async fn standbys_outlive_a_database_and_an_engine_that_were_long_away() {
    let world = World::with([], keeping(2)).await;
    let template = until_pool(&world, "two idle ones", |pool| pool.idle == 2).await.template;
    let standbys = idle(&world).await;
    for away in [false, true] {
        world.launcher.away.store(away, Ordering::SeqCst);
        forsake(&world, "default").await;
        until_pool(&world, "confirmed again", |pool| pool.template == template).await;
        // And what is abandoned is looked for behind that.
        world.lifecycle.reconcile().await.unwrap();
        assert_eq!(idle(&world).await, standbys);
    }
    assert!(start(&world).await.1, "warm, although nothing can be launched");
}

#[tokio::test]
async fn a_pool_that_waits_for_a_more_important_one_keeps_its_standbys() {
    // One in ten seconds, and five are missing.
    let important = PoolConfig { priority: 1, per_minute: 6, ..PoolConfig::keeping("important", 5, HOUR) };
    let world = World::with([], |config| config.pools = vec![pool(2), important.clone()]).await;
    until_pool(&world, "one of the important", |pool| pool.name == "important" && pool.idle == 1).await;
    let of_default = |pool: &PoolRecord| pool.name == "default";
    let waiting = until_pool(&world, "there", of_default).await;
    assert_eq!((waiting.idle, waiting.booting), (0, 0), "it waits for the other");
    forsake(&world, "default").await;
    until_pool(&world, "confirmed again", |pool| of_default(pool) && pool.template == waiting.template).await;
}

#[tokio::test]
async fn a_standby_that_is_dead_when_it_is_claimed_is_replaced_by_another() {
    let world = World::with([Boot::Deaf, Boot::Ready(Vec::new())], keeping(2)).await;
    until_pool(&world, "two idle ones", |pool| pool.idle == 2).await;
    let deaf = world.launcher.launched.lock().unwrap()[0];
    let (session, warm) = start(&world).await;
    assert!(warm);
    let took = world.assigned(session.id).await;
    let session = world.session(session.id).await;
    match session.runner == Some(deaf) {
        true => panic!("nobody can have taken it"),
        false => assert_eq!((session.runner, session.ended), (Some(took.id), None)),
    }
    assert!(world.row(took.id).await.pool.is_some(), "nothing had to be launched for it");
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_start_a_second_one() {
    let world = World::with([Boot::Ready(vec![Answer::AcceptInSilence])], keeping(1)).await;
    until_pool(&world, "an idle one", |pool| pool.idle == 1).await;
    let (session, _) = start(&world).await;
    let runner = world.assigned(session.id).await;
    world.until(session.id, "it is known to be assigned", |session| session.stage != Stage::Queued).await;
    assert_eq!(Some(runner.id), session.runner);
    assert_eq!(world.session(session.id).await.epoch, 1);
}

#[tokio::test]
async fn a_controller_that_is_configured_anew_replaces_the_standbys() {
    let first = World::with([], keeping(2)).await;
    until_pool(&first, "two idle ones", |pool| pool.idle == 2).await;
    let old = idle(&first).await;
    // Another address to call home to.
    let second = first.twin_with(keeping(3)).await;
    second.lifecycle.run();
    until_pool(&first, "three idle ones", |pool| pool.idle == 3 && pool.booting == 0).await;
    for runner in old {
        first.until_destroyed(runner).await;
    }
    // The older controller neither fills nor empties it now.
    let settled = idle(&first).await;
    first.lifecycle.reconcile().await.unwrap();
    assert_eq!(idle(&first).await, settled);
    assert_eq!(first.launcher.launches(), 5);
}

#[tokio::test]
async fn a_server_that_stops_leaves_no_standby_and_makes_none() {
    let world = World::with([], keeping(2)).await;
    until_pool(&world, "two idle ones", |pool| pool.idle == 2).await;
    world.lifecycle.end_all(EndReason::Cancelled, Duration::from_secs(5)).await;
    let pools = world.store.pools().await.unwrap();
    assert_eq!((pools[0].idle, pools[0].booting, pools[0].claimed), (0, 0, 0));
    assert_eq!(world.launcher.launches(), 2);
}
