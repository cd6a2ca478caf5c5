//! What many do at once, on two stores, and what these tell each other.

use std::time::Duration;

use session::{SessionId, Stage};
use store::{Creation, Filter, NewSession, Rate, Store};

use crate::contract::{after, at_once, create, created, exited, new_runner, new_session, standby, start, target};
use crate::{SOON, database, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_simultaneous_creations_on_two_stores_stay_exact() {
    let Some(db) = database().await else { return };
    for n in 0..20 {
        standby(&*db.replica(n), start()).await;
    }
    let creations = at_once(&db, 200, |_, store| async move {
        let rate = Some(Rate { scope: "a".to_owned(), per_minute: 60 });
        store.create_session(NewSession { rate, max_sessions: Some(40), ..new_session() }, start()).await.unwrap()
    })
    .await;
    let made: Vec<_> =
        creations.into_iter().filter(|creation| !matches!(creation, Creation::AtCapacity { .. })).collect();
    let claims = made.iter().filter(|creation| matches!(creation, Creation::Created { idle: Some(_), .. })).count();
    assert_eq!((made.len(), claims), (40, 20));
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_simultaneous_claims_of_fifty_runners_are_of_each_once() {
    let Some(db) = database().await else { return };
    for n in 0..50 {
        standby(&*db.replica(n), start()).await;
    }
    let creations =
        at_once(&db, 200, |_, store| async move { store.create_session(new_session(), start()).await.unwrap() }).await;
    let mut runners: Vec<_> = creations.into_iter().map(|creation| created(creation).runner.unwrap()).collect();
    runners.sort();
    runners.dedup();
    assert_eq!(runners.len(), 200);
    assert_eq!(db.store.runners().await.unwrap().len(), 200, "every idle one was claimed");
}

/// Batches that lock the same rows in other orders would wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_ends_replacements_and_pruning_at_once_deadlock_nobody() {
    let Some(db) = database().await else { return };
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(create(&*db.store).await);
    }
    let failures = at_once(&db, 60, |n, store| {
        let mut sessions = sessions.clone();
        async move {
            if n % 3 == 0 {
                sessions.reverse();
            }
            let beats = sessions.iter().map(|session| session.runner.unwrap());
            let beats = beats.map(|runner| store::Beat { runner, operators: 1, quiet_ms: 0 }).collect();
            store.beat(beats, after(n as i64)).await?;
            let session = &sessions[n % 20];
            store.replace_runner(session.id, session.runner.unwrap(), new_runner(), after(1)).await?;
            store.end(session.id, None, exited(0), after(1)).await?;
            let retention = store::Retention { sessions: Duration::ZERO, ..store::Retention::default() };
            store.prune(retention, after(100)).await.map(drop)
        }
    })
    .await;
    for failure in failures {
        failure.unwrap();
    }
    assert_eq!(db.store.sessions(Filter::default()).await.unwrap(), []);
}

/// Creates a session and changes it once.
async fn changed(store: &dyn Store) -> SessionId {
    let id = create(store).await.id;
    store.advance(id, 1, Stage::Assigned, after(1)).await.unwrap();
    id
}

#[tokio::test]
async fn what_one_process_changes_is_told_to_another_and_once_to_itself() {
    let Some(db) = database().await else { return };
    let (mut own, mut others) = (db.store.changes(), db.other.changes());
    // The other one may not have begun to listen yet.
    let mut sessions = Vec::new();
    until("a change was told", async || {
        sessions.push(changed(&*db.store).await);
        matches!(tokio::time::timeout(Duration::from_millis(100), others.recv()).await, Ok(Ok(_)))
    })
    .await;
    for id in sessions {
        assert_eq!(own.try_recv(), Ok(id));
    }
    let id = changed(&*db.store).await;
    let told = tokio::time::timeout(SOON, async { while others.recv().await != Ok(id) {} });
    told.await.expect("told to the other");
    assert_eq!((own.try_recv(), own.try_recv().is_err()), (Ok(id), true));
}

#[tokio::test]
async fn a_caller_that_stops_waiting_undoes_nothing() {
    let Some(db) = database().await else { return };
    let new = new_runner();
    let id = new.id;
    db.store.adopt_pool(target(), start()).await.unwrap();
    {
        let mut adding = db.store.refill_pool(target(), vec![new], start());
        // Polled once, so that it is handed over, and then given up.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(adding.as_mut().poll(context).is_ready()));
        assert!(!polled.await);
    }
    until("the runner was added", async || db.other.runner(id).await.unwrap().is_some()).await;
}
