//! Pools of standbys: filled to what they shall be and never beyond, by any number of controllers; and what is retired.

use std::collections::HashSet;

use session::RunnerId;
use store::{Creation, Hold, NewRunner, PoolTarget, RunnerState};

use super::*;

fn of(min: u32, max: u32) -> PoolTarget {
    PoolTarget { min, max, ..target() }
}

fn offers(count: usize) -> Vec<NewRunner> {
    (0..count).map(|_| new_runner()).collect()
}

async fn living(db: &Database) -> usize {
    db.store.runners().await.unwrap().len()
}

async fn claim(db: &Database, now: Time) -> Option<RunnerId> {
    let creation = db.store.create_session(new_session(), now).await.unwrap();
    let Creation::Created { runner, idle, .. } = creation else { panic!("{creation:?}") };
    idle.map(|_| runner)
}

pub async fn of_many_refills_at_once_no_more_are_added_than_are_missing(db: &Database) {
    db.store.adopt_pool(of(10, 50), start()).await.unwrap();
    let refills =
        at_once(db, 12, |_, store| async move { store.refill_pool(of(10, 50), offers(4), start()).await.unwrap() })
            .await;
    assert_eq!(refills.iter().map(|refill| refill.added).sum::<usize>(), 10);
    assert_eq!(living(db).await, 10);
    let [pool] = &db.other.pools().await.unwrap()[..] else { panic!("one pool") };
    assert_eq!((pool.name.as_str(), pool.booting, pool.idle, pool.claimed), ("default", 10, 0, 0));
}

pub async fn a_pool_never_has_more_than_its_most_however_many_are_claimed(db: &Database) {
    db.store.adopt_pool(of(3, 5), start()).await.unwrap();
    for round in 0..4 {
        let refill = db.store.refill_pool(of(3, 5), offers(9), after(round * 20)).await.unwrap();
        assert!(living(db).await <= 5, "{refill:?}");
        for runner in db.store.runners().await.unwrap() {
            db.store.runner_ready(call_of(runner.id), after(round * 20)).await.unwrap();
        }
        if round == 0 {
            assert_eq!((refill.added, refill.missing, refill.hold), (3, 0, None));
            assert!(claim(db, after(1)).await.is_some() && claim(db, after(1)).await.is_some());
        }
    }
    let refill = db.store.refill_pool(of(4, 5), offers(9), after(99)).await.unwrap();
    assert_eq!((refill.added, refill.hold), (0, Some(Hold::Full)), "{refill:?}");
    // One that is gone makes room for another.
    let claimed = db.store.runners().await.unwrap().into_iter().find(|runner| runner.state == RunnerState::Claimed);
    db.store.runner_gone(claimed.unwrap().id, after(99)).await.unwrap();
    assert_eq!(db.store.refill_pool(of(4, 5), offers(9), after(99)).await.unwrap().added, 1);
}

pub async fn only_standbys_of_the_pools_own_template_are_handed_out(db: &Database) {
    let old = standby(&*db.store, start()).await;
    let changed = PoolTarget { template: "template b".to_owned(), revision: "revision b".to_owned(), ..target() };
    db.store.adopt_pool(changed.clone(), after(1)).await.unwrap();
    assert_eq!(claim(db, after(2)).await, None, "it is of the old template");
    let other = PoolTarget { name: "other".to_owned(), ..target() };
    db.store.adopt_pool(other.clone(), after(2)).await.unwrap();
    let of_another_pool = new_runner();
    db.store.refill_pool(other, vec![of_another_pool.clone()], after(2)).await.unwrap();
    db.store.runner_ready(call_of(of_another_pool.id), after(2)).await.unwrap();
    assert_eq!(claim(db, after(3)).await, None, "it is of another pool");
    let new = new_runner();
    db.store.refill_pool(changed.clone(), vec![new.clone()], after(3)).await.unwrap();
    db.store.runner_ready(call_of(new.id), after(3)).await.unwrap();
    assert_eq!(claim(db, after(4)).await, Some(new.id));
    assert_eq!(db.store.runner(old).await.unwrap().unwrap().state, RunnerState::Idle);
}

pub async fn a_pool_is_the_one_who_adopted_it_last_until_nobody_confirms_it(db: &Database) {
    let newer = PoolTarget { template: "template b".to_owned(), revision: "revision b".to_owned(), ..of(2, 9) };
    db.store.adopt_pool(of(2, 9), start()).await.unwrap();
    db.other.adopt_pool(newer.clone(), after(1)).await.unwrap();
    for seconds in [2, 30, 59] {
        let refill = db.store.refill_pool(of(2, 9), offers(9), after(seconds)).await.unwrap();
        assert_eq!((refill.added, refill.hold), (0, Some(Hold::Superseded)));
        assert_eq!(db.store.retire_standbys(of(0, 9), after(seconds)).await.unwrap(), []);
        // Confirmed.
        db.other.refill_pool(newer.clone(), offers(9), after(seconds)).await.unwrap();
    }
    assert_eq!(living(db).await, 2);
    // Its controllers are gone for longer than a minute.
    let refill = db.store.refill_pool(of(2, 9), offers(9), after(200)).await.unwrap();
    assert_eq!((refill.added, refill.hold), (2, None));
    assert_eq!(db.store.retire_standbys(of(2, 9), after(200)).await.unwrap().len(), 2, "those of the newer template");
}

pub async fn standbys_of_another_template_too_old_or_too_many_are_retired_unless_claimed(db: &Database) {
    let of_age = |max_idle| PoolTarget { max_idle, ..target() };
    let oldest = standby(&*db.store, start()).await;
    let older = standby(&*db.store, after(5)).await;
    let young = standby(&*db.store, after(15)).await;
    assert_eq!(claim(db, after(16)).await, Some(oldest));
    let retire = async |target: PoolTarget, seconds| {
        let retired = db.store.retire_standbys(target, after(seconds)).await.unwrap();
        retired.into_iter().map(|retired| (retired.runner, retired.idle.as_secs())).collect::<Vec<_>>()
    };
    assert_eq!(retire(of_age(Duration::from_secs(20)), 20).await, []);
    assert_eq!(retire(of_age(Duration::from_secs(15)), 20).await, [(older, 15)]);
    assert_eq!(db.store.runner(older).await.unwrap().unwrap().state, RunnerState::Gone);
    assert!(db.store.ready_runner(older).await.unwrap().is_none());
    let younger = booting(&*db.store, after(21)).await;
    assert_eq!(retire(of(1, 9), 22).await, [(younger, 0)], "the older ones stay");
    let changed = PoolTarget { template: "b".to_owned(), revision: "b".to_owned(), ..of(1, 9) };
    db.store.adopt_pool(changed.clone(), after(23)).await.unwrap();
    assert_eq!(retire(changed.clone(), 25).await, [(young, 10)]);
    assert_eq!(retire(changed, 25).await, []);
    let [pool] = &db.store.pools().await.unwrap()[..] else { panic!("one pool") };
    assert_eq!((pool.failures, pool.claimed), (0, 1), "being retired is no failure");
}

pub async fn a_pool_that_is_not_there_is_made_by_its_first_refill(db: &Database) {
    let refill = db.store.refill_pool(of(2, 9), offers(9), start()).await.unwrap();
    assert_eq!((refill.added, refill.missing), (2, 0));
    // Given up while the database was away, say, and here again.
    for runner in db.store.runners().await.unwrap() {
        db.store.runner_ready(call_of(runner.id), start()).await.unwrap();
    }
    assert_eq!(db.store.retire_abandoned(after(100)).await.unwrap().len(), 2);
    assert_eq!(db.store.refill_pool(of(2, 9), offers(9), after(100)).await.unwrap().added, 2);
}

pub async fn a_refill_that_offers_nothing_keeps_a_pool_from_being_abandoned(db: &Database) {
    let idle = standby(&*db.store, start()).await;
    for seconds in [30, 60, 90, 120] {
        db.other.refill_pool(target(), Vec::new(), after(seconds)).await.unwrap();
        assert_eq!(db.store.retire_abandoned(after(seconds + 1)).await.unwrap(), []);
    }
    assert_eq!(claim(db, after(121)).await, Some(idle));
}

pub async fn standbys_of_a_pool_that_nobody_has_are_retired(db: &Database) {
    let idle = standby(&*db.store, start()).await;
    assert_eq!(db.store.retire_abandoned(after(59)).await.unwrap(), []);
    let retired = db.store.retire_abandoned(after(61)).await.unwrap();
    assert_eq!(retired.iter().map(|retired| retired.runner).collect::<Vec<_>>(), [idle]);
    assert_eq!(db.store.pools().await.unwrap(), []);
}

pub async fn a_standby_that_dies_early_makes_its_pool_wait_ever_longer(db: &Database) {
    let mut now = 0;
    for (failures, pause) in [(1, 2), (2, 4), (3, 8), (4, 16)] {
        let id = booting(&*db.store, after(now)).await;
        db.store.runner_gone(id, after(now)).await.unwrap();
        // Told again, it is no second one.
        db.other.runner_gone(id, after(now)).await.unwrap();
        let refill = db.store.refill_pool(target(), offers(1), after(now + pause - 1)).await.unwrap();
        assert_eq!(refill.hold, Some(Hold::BackingOff { until: after(now + pause) }));
        assert_eq!(db.store.pools().await.unwrap()[0].failures, failures);
        now += pause;
    }
    // Ready, and dead a moment later.
    let id = standby(&*db.store, after(now)).await;
    db.store.runner_gone(id, after(now + 29)).await.unwrap();
    let until = after(now + 29 + 32);
    let refill = db.store.refill_pool(target(), offers(1), after(now + 30)).await.unwrap();
    assert_eq!(refill.hold, Some(Hold::BackingOff { until }));
    // One that has stood for a while is no failure, and what is long ago is forgotten.
    now += 100;
    let id = standby(&*db.store, after(now)).await;
    db.store.runner_gone(id, after(now + 31)).await.unwrap();
    assert_eq!(db.store.pools().await.unwrap()[0].failures, 5);
    db.store.refill_pool(target(), offers(1), after(now + 700)).await.unwrap();
    assert_eq!(db.store.pools().await.unwrap()[0].failures, 0);
}

pub async fn standbys_that_fail_together_count_once(db: &Database) {
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(booting(&*db.store, start()).await);
    }
    for id in all {
        db.store.runner_gone(id, after(1)).await.unwrap();
    }
    assert_eq!(db.store.pools().await.unwrap()[0].failures, 1);
}

pub async fn a_pool_is_paused_and_resumed(db: &Database) {
    let idle = standby(&*db.store, start()).await;
    assert!(db.other.pause_pool("default".to_owned(), true).await.unwrap());
    let refill = db.store.refill_pool(target(), offers(1), after(1)).await.unwrap();
    assert_eq!((refill.added, refill.hold), (0, Some(Hold::Paused)));
    // A controller that starts leaves it paused, and what stands is handed out.
    db.store.adopt_pool(target(), after(2)).await.unwrap();
    assert!(db.store.pools().await.unwrap()[0].paused);
    assert_eq!(claim(db, after(2)).await, Some(idle));
    assert!(db.store.pause_pool("default".to_owned(), false).await.unwrap());
    assert_eq!(db.store.refill_pool(target(), offers(1), after(20)).await.unwrap().added, 1);
    assert!(!db.store.pause_pool("unknown".to_owned(), true).await.unwrap());
}

pub async fn of_claims_and_retirements_at_once_each_standby_goes_one_way(db: &Database) {
    let mut all = HashSet::new();
    for _ in 0..20 {
        all.insert(standby(&*db.store, start()).await);
    }
    let outcomes = at_once(db, 24, |n, store| async move {
        if n % 6 == 5 {
            let retired = store.retire_standbys(PoolTarget { min: 8, ..target() }, after(1)).await.unwrap();
            return retired.into_iter().map(|retired| (retired.runner, false)).collect();
        }
        match store.create_session(new_session(), after(1)).await.unwrap() {
            Creation::Created { runner, idle: Some(_), .. } => vec![(runner, true)],
            _ => Vec::new(),
        }
    })
    .await;
    let mut seen = HashSet::new();
    for (runner, _) in outcomes.into_iter().flatten() {
        assert!(all.contains(&runner) && seen.insert(runner), "{runner} was handed out and retired, or twice");
    }
    assert!(!seen.is_empty());
}
