//! PostgreSQL: every contract, and what is special to a server.

mod contract;
mod network;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{
    Database, after, call_of, create, create_ready, exited, new_session, new_token, secrets, standby, start,
};
use session::{Ended, Stage};
use store::postgres::{PostgresConfig, PostgresStore};
use store::{Creation, EndOutcome, Filter, Idle, SealError, SealKey, Store, StoreError};
use testkit::postgres::{Server, TestDatabase};
use tokio_postgres::types::FromSqlOwned;

const KEY: [u8; 32] = [7; 32];
/// How long anything that should happen soon may take.
const SOON: Duration = Duration::from_secs(20);

/// With the patience of tests that run beside many others.
fn config(url: &str) -> PostgresConfig {
    let (wait_timeout, statement_timeout, lock_timeout) = (SOON, SOON, SOON);
    let defaults = PostgresConfig::new(url.parse().unwrap());
    PostgresConfig { wait_timeout, statement_timeout, lock_timeout, ..defaults }
}

async fn open(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(&config(url), SealKey::new(&KEY), Duration::ZERO).await
}

async fn fresh() -> TestDatabase {
    Server::shared().await.unwrap().database().await.unwrap()
}

async fn database() -> Option<Database> {
    if testkit::postgres::missing() {
        return None;
    }
    let kept = fresh().await;
    let store = Arc::new(open(&kept.url).await.unwrap());
    let other = Arc::new(open(&kept.url).await.unwrap());
    Some(Database { store, other, kept: Box::new(kept) })
}

mod contracts {
    super::contract::every_contract!(crate::database);
}

/// One value, read past the store.
async fn peek<T: FromSqlOwned>(database: &TestDatabase, sql: &str) -> T {
    database.client().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until `done` says so.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn secrets_are_sealed_and_then_null() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let (session, runner) = create_ready(&store).await;
    let sealed: Vec<u8> = peek(&database, "SELECT secrets FROM sessions").await;
    let plain = SealKey::new(&KEY).open(&format!("session:{}", session.id), &sealed).unwrap();
    assert_eq!(serde_json::from_slice::<session::SessionSecrets>(&plain).unwrap(), secrets());
    let sealed: Vec<u8> = peek(&database, "SELECT secret FROM runners").await;
    let plain = SealKey::new(&KEY).open(&format!("runner:{runner}"), &sealed).unwrap();
    assert_eq!(plain, call_of(runner).secret.expose().as_bytes());
    let all =
        "SELECT string_agg(sessions::text, ' ') || (SELECT string_agg(runners::text, ' ') FROM runners) FROM sessions";
    let all: String = peek(&database, all).await;
    for text in ["hunter2", call_of(runner).secret.expose()] {
        assert!(!all.contains(text) && !all.contains(&hex::encode(text)), "{text} is in a row");
    }
    store.advance(session.id, 1, Stage::Assigned, after(2)).await.unwrap();
    assert_eq!(peek::<Option<Vec<u8>>>(&database, "SELECT secrets FROM sessions").await, None);
    store.runner_gone(runner, after(3)).await.unwrap();
    assert_eq!(peek::<Option<Vec<u8>>>(&database, "SELECT secret FROM runners").await, None);
    let ended = create(&store).await;
    store.end(ended.id, None, exited(0), after(3)).await.unwrap();
    assert_eq!(peek::<i64>(&database, "SELECT COUNT(*) FROM sessions WHERE secrets IS NOT NULL").await, 0);
}

#[tokio::test]
async fn another_encryption_key_opens_nothing() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let (session, runner) = create_ready(&open(&database.url).await.unwrap()).await;
    let key = SealKey::random().unwrap();
    let other = PostgresStore::open(&config(&database.url), key, Duration::ZERO).await.unwrap();
    let error = other.assignment(runner).await.unwrap_err();
    assert!(matches!(error, StoreError::Seal(SealError::Open)), "{error}");
    assert!(other.route(session.id).await.is_err());
    assert!(other.session(session.id).await.unwrap().is_some());
    // A session that is given a runner whose secret cannot be read is there all the same.
    standby(&other, start()).await;
    let store = open(&database.url).await.unwrap();
    let creation = store.create_session(new_session(), after(1)).await.unwrap();
    assert!(matches!(creation, Creation::Created { idle: Some(Idle { assignment: None, .. }), .. }), "{creation:?}");
}

#[tokio::test]
async fn with_its_idle_runner_a_creation_answers_what_to_send_it() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let idle = standby(&store, start()).await;
    let creation = store.create_session(new_session(), after(1)).await.unwrap();
    let Creation::Created { idle: Some(Idle { assignment: Some(known), .. }), runner, .. } = creation else {
        panic!("{creation:?}");
    };
    let asked = store.assignment(idle).await.unwrap().unwrap();
    assert_eq!((runner, known.runner, &known.session, &known.secrets), (idle, idle, &asked.session, &asked.secrets));
    assert_eq!((&known.address, known.runner_secret.expose()), (&asked.address, asked.runner_secret.expose()));
}

#[tokio::test]
async fn a_nul_that_a_runner_sends_is_replaced() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let id = create(&store).await.id;
    let ended = Ended { message: Some("a\0b".to_owned()), ..exited(1) };
    let EndOutcome::Ended(session) = store.end(id, None, ended, after(1)).await.unwrap() else { panic!("not ended") };
    assert_eq!(session.ended.unwrap().message.as_deref(), Some("a\u{fffd}b"));
    let labels = [("team".to_owned(), "a\0".to_owned())].into();
    assert_eq!(store.sessions(Filter { labels, ..Filter::default() }).await.unwrap(), []);
}

#[tokio::test]
async fn an_error_names_no_value() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let session = create(&store).await;
    store.add_token(session.id, new_token("hunter2")).await.unwrap();
    let error = store.add_token(session.id, new_token("hunter2")).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Database(_)) && text.contains("tokens_pkey"), "{text}");
    assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{text}");
}
