//! Creating sessions: what is written, which runner is taken, and repeats.

use std::collections::HashSet;

use session::frames::Wire;
use session::{ApiKeyId, RunnerId, SessionId, SessionState, Stage};
use store::{Creation, Filter, Idempotency, NewSession, Placement, Rate, Retention, RunnerState};

use super::*;

pub async fn a_new_session_is_queued_and_has_a_runner_reserved(db: &Database) {
    let new = new_session();
    let Placement::Runner(blank) = new.placement.clone() else { unreachable!() };
    let creation = db.store.create_session(new.clone(), start()).await.unwrap();
    let Creation::Created { session, runner, idle } = creation else { panic!("{creation:?}") };
    assert_eq!((runner, idle.map(|idle| idle.since), session.runner), (blank.id, None, Some(blank.id)));
    assert_eq!((session.stage, session.state(), session.epoch), (Stage::Queued, SessionState::Pending, 1));
    assert_eq!((session.wire, session.ended, session.started_at), (Wire::TtyR1, None, None));
    assert_eq!((session.created_at, session.active_at, session.expires_at), (start(), start(), after(3600)));
    let runner = db.store.runner(blank.id).await.unwrap().unwrap();
    assert_eq!((runner.state, runner.session, runner.address), (RunnerState::Booting, Some(new.id), None));
    assert!(db.store.token_waits(&new.token.jti, new.id, start()).await.unwrap());
}

pub async fn what_is_stored_is_what_was_given(db: &Database) {
    let new = new_session();
    let session = created(db.store.create_session(new.clone(), start()).await.unwrap());
    assert_eq!((session.id, &session.spec, session.api_key), (new.id, &new.spec, new.api_key));
    assert_eq!(db.other.session(new.id).await.unwrap(), Some(session.clone()));
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap(), [session]);
    assert_eq!(db.store.session(SessionId::new()).await.unwrap(), None);
}

pub async fn an_idle_runner_is_claimed_before_a_new_one_is_made(db: &Database) {
    let younger = standby(&*db.store, after(2)).await;
    let older = standby(&*db.store, after(1)).await;
    for expected in [older, younger] {
        let creation = db.store.create_session(new_session(), after(3)).await.unwrap();
        let Creation::Created { session, runner, idle } = creation else { panic!("{creation:?}") };
        assert_eq!((runner, idle.is_some()), (expected, true));
        let runner = db.store.runner(expected).await.unwrap().unwrap();
        assert_eq!((runner.state, runner.session), (RunnerState::Claimed, Some(session.id)));
    }
    let creation = db.store.create_session(new_session(), after(3)).await.unwrap();
    assert!(matches!(creation, Creation::Created { idle: None, .. }), "{creation:?}");
}

pub async fn where_only_an_idle_runner_will_do_nothing_is_created_without_one(db: &Database) {
    let api_key = ApiKeyId::new();
    let wanting = || {
        let rate = Some(Rate { scope: "client".to_owned(), per_minute: 1 });
        NewSession { placement: Placement::IdleRunner, rate, ..keyed(api_key, "k", "body") }
    };
    let creation = db.store.create_session(wanting(), start()).await.unwrap();
    assert!(matches!(creation, Creation::NoIdleRunner), "{creation:?}");
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap(), []);
    assert_eq!(db.store.runners().await.unwrap(), []);
    // Neither the key nor the rate was touched.
    let waiting = standby(&*db.store, start()).await;
    let creation = db.store.create_session(wanting(), after(1)).await.unwrap();
    let Creation::Created { session, runner, idle: Some(idle) } = creation else { panic!("{creation:?}") };
    assert_eq!((runner, idle.since), (waiting, start()));
    assert_eq!((session.runner, session.wire), (Some(waiting), Wire::TtyR1));
    // A repeat needs no runner.
    let creation = db.store.create_session(wanting(), after(2)).await.unwrap();
    let Creation::Repeated(repeated) = creation else { panic!("{creation:?}") };
    assert_eq!(repeated.id, session.id);
}

pub async fn twenty_creations_on_ten_idle_runners_claim_each_once(db: &Database) {
    let mut idle = HashSet::new();
    for _ in 0..10 {
        idle.insert(standby(&*db.store, start()).await);
    }
    let creations =
        at_once(db, 20, |_, store| async move { store.create_session(new_session(), after(1)).await }).await;
    let mut claims: Vec<RunnerId> = Vec::new();
    let mut all = HashSet::new();
    for creation in creations {
        let Creation::Created { runner, idle, .. } = creation.unwrap() else { panic!("not created") };
        assert!(all.insert(runner), "{runner} serves two sessions");
        claims.extend(idle.map(|_| runner));
    }
    assert_eq!(claims.len(), 10);
    assert_eq!(claims.into_iter().collect::<HashSet<_>>(), idle);
}

pub async fn a_fixed_backend_is_there_at_once_and_has_no_secret(db: &Database) {
    standby(&*db.store, start()).await;
    let runner = RunnerId::new();
    let placement = Placement::Fixed { runner, address: "ttyd.example:7681".to_owned() };
    let session = created(db.store.create_session(NewSession { placement, ..new_session() }, start()).await.unwrap());
    assert_eq!((session.wire, session.runner), (Wire::Tty, Some(runner)));
    assert_eq!(db.store.runner(runner).await.unwrap().unwrap().state, RunnerState::Claimed);
    let route = db.store.route(session.id).await.unwrap().unwrap();
    assert_eq!((route.address.as_deref(), route.secret), (Some("ttyd.example:7681"), None));
    assert!(db.store.assignment(runner).await.unwrap().is_none());
    let outcome = db.store.runner_ready(call_of(runner), start()).await.unwrap();
    assert_eq!(outcome, ReadyOutcome::Refused);
}

fn keyed(api_key: ApiKeyId, key: &str, body: &str) -> NewSession {
    let idempotency = Some(Idempotency { key: key.to_owned(), body: digest(body) });
    NewSession { api_key, idempotency, ..new_session() }
}

pub async fn the_same_key_and_body_give_the_same_session_and_one_more_token(db: &Database) {
    let api_key = ApiKeyId::new();
    let first = keyed(api_key, "k", "body");
    let session = created(db.store.create_session(first.clone(), start()).await.unwrap());
    let again = keyed(api_key, "k", "body");
    let creation = db.other.create_session(again.clone(), after(1)).await.unwrap();
    let Creation::Repeated(repeated) = creation else { panic!("{creation:?}") };
    assert_eq!(repeated, session);
    for token in [first.token, again.token] {
        assert!(db.store.token_waits(&token.jti, session.id, after(1)).await.unwrap());
    }
    assert_eq!(db.store.session(again.id).await.unwrap(), None);
    assert_eq!(db.store.runners().await.unwrap().len(), 1);
}

pub async fn the_same_key_with_another_body_is_a_mismatch(db: &Database) {
    let api_key = ApiKeyId::new();
    created(db.store.create_session(keyed(api_key, "k", "body"), start()).await.unwrap());
    let other = keyed(api_key, "k", "other body");
    let creation = db.store.create_session(other.clone(), start()).await.unwrap();
    assert!(matches!(creation, Creation::IdempotencyMismatch), "{creation:?}");
    assert_eq!(db.store.session(other.id).await.unwrap(), None);
}

pub async fn idempotency_keys_of_two_api_keys_are_apart(db: &Database) {
    created(db.store.create_session(keyed(ApiKeyId::new(), "k", "body"), start()).await.unwrap());
    created(db.store.create_session(keyed(ApiKeyId::new(), "k", "other body"), start()).await.unwrap());
}

pub async fn twenty_simultaneous_repeats_make_one_session(db: &Database) {
    let api_key = ApiKeyId::new();
    let creations = at_once(db, 20, move |_, store| async move {
        store.create_session(keyed(api_key, "k", "body"), start()).await.unwrap()
    })
    .await;
    let fresh = creations.iter().filter(|creation| matches!(creation, Creation::Created { .. })).count();
    let repeated = creations.iter().filter(|creation| matches!(creation, Creation::Repeated(_))).count();
    assert_eq!((fresh, repeated), (1, 19));
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap().len(), 1);
}

pub async fn a_repeat_of_a_pruned_session_is_a_new_session(db: &Database) {
    let api_key = ApiKeyId::new();
    let session = created(db.store.create_session(keyed(api_key, "k", "body"), start()).await.unwrap());
    db.store.end(session.id, None, exited(0), start()).await.unwrap();
    let retention = Retention { sessions: HOUR, idempotency: 48 * HOUR, ..Retention::default() };
    assert_eq!(db.store.prune(retention, after(3600)).await.unwrap().sessions, 1);
    let again = created(db.store.create_session(keyed(api_key, "k", "other body"), after(3600)).await.unwrap());
    assert_ne!(again.id, session.id);
}
