//! How many sessions may be created, and how many may be active.

use store::{Creation, Filter, Idempotency, NewSession, Rate, Retention, Store, Time};

use super::*;

fn rated(scope: &str, per_minute: u32) -> NewSession {
    NewSession { rate: Some(Rate { scope: scope.to_owned(), per_minute }), ..new_session() }
}

async fn retry_after(store: &dyn Store, new: NewSession, now: Time) -> Option<u64> {
    match store.create_session(new, now).await.unwrap() {
        Creation::Created { .. } => None,
        Creation::RateLimited { retry_after_secs } => Some(retry_after_secs),
        other => panic!("{other:?}"),
    }
}

pub async fn a_rate_is_a_sliding_window_and_says_when_to_come_back(db: &Database) {
    for at in [0, 10, 20] {
        assert_eq!(retry_after(&*db.store, rated("a", 3), after(at)).await, None);
    }
    assert_eq!(retry_after(&*db.store, rated("a", 3), after(21)).await, Some(39));
    assert_eq!(retry_after(&*db.store, rated("a", 3), after_millis(59_999)).await, Some(1));
    // The first one has left the window, the other two have not.
    assert_eq!(retry_after(&*db.store, rated("a", 3), after(60)).await, None);
    assert_eq!(retry_after(&*db.store, rated("a", 3), after(60)).await, Some(10));
    // A rate that was lowered: two more must leave.
    assert_eq!(retry_after(&*db.store, rated("a", 1), after(60)).await, Some(60));
    assert_eq!(retry_after(&*db.store, rated("a", 0), after(60)).await, Some(60));
    // Pruning forgets nothing that still counts.
    db.store.prune(Retention::default(), after(60)).await.unwrap();
    assert_eq!(retry_after(&*db.store, rated("a", 3), after(60)).await, Some(10));
    // A clock that was set back by a day does not lock anybody out.
    assert_eq!(retry_after(&*db.store, rated("a", 1), after(-86_400)).await, None);
}

pub async fn rates_are_apart_by_scope(db: &Database) {
    assert_eq!(retry_after(&*db.store, rated("a", 1), start()).await, None);
    assert_eq!(retry_after(&*db.store, rated("b", 1), start()).await, None);
    assert_eq!(retry_after(&*db.store, rated("a", 1), start()).await, Some(60));
}

pub async fn fifty_simultaneous_creations_stay_within_the_rate(db: &Database) {
    let answers = at_once(db, 50, |_, store| async move { retry_after(&*store, rated("a", 5), start()).await }).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 5);
    assert!(answers.iter().flatten().all(|&seconds| seconds == 60));
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap().len(), 5);
}

pub async fn fifty_simultaneous_creations_stay_within_the_capacity(db: &Database) {
    let creations = at_once(db, 50, |_, store| async move {
        store.create_session(NewSession { max_sessions: Some(8), ..new_session() }, start()).await.unwrap()
    })
    .await;
    assert_eq!(creations.iter().filter(|creation| matches!(creation, Creation::Created { .. })).count(), 8);
    assert_eq!(creations.iter().filter(|creation| matches!(creation, Creation::AtCapacity { active: 8 })).count(), 42);
    assert_eq!(db.store.runners().await.unwrap().len(), 8);
}

pub async fn an_ended_session_makes_room(db: &Database) {
    let limited = || NewSession { max_sessions: Some(1), ..new_session() };
    let session = created(db.store.create_session(limited(), start()).await.unwrap());
    let creation = db.store.create_session(limited(), start()).await.unwrap();
    assert!(matches!(creation, Creation::AtCapacity { active: 1 }), "{creation:?}");
    db.store.end(session.id, None, exited(0), start()).await.unwrap();
    created(db.store.create_session(limited(), start()).await.unwrap());
}

pub async fn a_refused_creation_leaves_nothing_behind(db: &Database) {
    let idle = standby(&*db.store, start()).await;
    let idempotency = Some(Idempotency { key: "k".to_owned(), body: digest("b") });
    let new = NewSession { max_sessions: Some(0), idempotency, ..rated("a", 1) };
    let creation = db.store.create_session(new.clone(), start()).await.unwrap();
    assert!(matches!(creation, Creation::AtCapacity { active: 0 }), "{creation:?}");
    assert!(db.store.sessions(Filter::default()).await.unwrap().is_empty());
    assert!(!db.store.token_waits(&new.token.jti, new.id, start()).await.unwrap());
    // Neither the rate nor the idempotency key nor the runner is used up.
    let creation = db.store.create_session(NewSession { max_sessions: None, ..new }, start()).await.unwrap();
    assert!(matches!(creation, Creation::Created { runner, idle: Some(_), .. } if runner == idle), "{creation:?}");
}

pub async fn a_repeat_is_neither_limited_nor_counted(db: &Database) {
    let idempotency = Some(Idempotency { key: "k".to_owned(), body: digest("b") });
    let first = NewSession { idempotency, max_sessions: Some(2), ..rated("a", 2) };
    created(db.store.create_session(first.clone(), start()).await.unwrap());
    for _ in 0..3 {
        let again = NewSession { token: new_session().token, ..first.clone() };
        let creation = db.store.create_session(again, start()).await.unwrap();
        assert!(matches!(creation, Creation::Repeated(_)), "{creation:?}");
    }
    assert_eq!(retry_after(&*db.store, rated("a", 2), start()).await, None);
    assert_eq!(retry_after(&*db.store, rated("a", 2), start()).await, Some(60));
    // Also when nothing more is allowed.
    let again = NewSession { token: new_session().token, ..first };
    let creation = db.store.create_session(again, start()).await.unwrap();
    assert!(matches!(creation, Creation::Repeated(_)), "{creation:?}");
}
