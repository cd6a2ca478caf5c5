//! What is special to a server: the lock, time limits, and connections that break.

use std::time::{Duration, Instant};

use store::migrations::{Limits, MigrateError, Migrator, Report, State, require_current};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::base::{Base, connect, impatient};

/// Creates a table, and then takes longer than any test.
const SLOW: &str = "CREATE TABLE slow (x TEXT); SELECT pg_sleep(3600)";
const LOCKED: &str = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const SLEEPING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
    AND state = 'active' AND application_name = 'cliscale migrate' AND wait_event = 'PgSleep'";

/// Waits until a count is as expected.
async fn until(client: &Client, count: &str, expected: i64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found: i64 = client.query_one(count, &[]).await.unwrap().get(0);
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found} instead of {expected}: {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client and its socket, which is closed when the task is aborted: as a killed process leaves it.
async fn fragile(url: &str) -> (Client, JoinHandle<()>) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let socket = tokio::spawn(async move {
        let _ = connection.await;
    });
    (client, socket)
}

/// A slow migration that is in the middle of its work, with what cuts its connection.
async fn in_the_middle(base: &Base, watcher: &Client) -> (JoinHandle<Result<Report, MigrateError>>, JoinHandle<()>) {
    let (client, socket) = fragile(base.url()).await;
    let mut migrator = Migrator::postgres(client).with_scripts(base.scripts().and("slow", SLOW, "DROP TABLE slow"));
    let running = tokio::spawn(async move { migrator.up().await });
    until(watcher, SLEEPING, 1).await;
    (running, socket)
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_middle_leaves_nothing_and_the_next_run_works() {
    let Some(base) = Base::postgres().await else { return };
    let watcher = base.client().await;
    let (running, socket) = in_the_middle(&base, &watcher).await;
    socket.abort();
    assert!(running.await.unwrap().unwrap_err().may_pass());
    // The server looks for its client every second.
    until(&watcher, LOCKED, 0).await;
    assert_eq!(base.dump().await, Vec::<String>::new());
    assert_eq!(base.migrator().await.up().await.unwrap().applied[0], "V1__initial");
}

#[tokio::test]
async fn a_server_that_ends_the_session_in_the_middle_leaves_nothing() {
    let Some(base) = Base::postgres().await else { return };
    let watcher = base.client().await;
    let (running, _socket) = in_the_middle(&base, &watcher).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cliscale migrate'
        AND datname = current_database()";
    watcher.execute(end, &[]).await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, MigrateError::Unavailable(_)), "{error}");
    assert_eq!(base.dump().await, Vec::<String>::new());
    base.migrator().await.up().await.unwrap();
}

#[tokio::test]
async fn a_run_waits_for_another_one_until_its_time_is_over() {
    let Some(base) = Base::postgres().await else { return };
    let watcher = base.client().await;
    let (running, socket) = in_the_middle(&base, &watcher).await;
    let error = base.migrator().await.with_limits(impatient()).up().await.unwrap_err();
    assert!(matches!(error, MigrateError::Locked(_)) && error.may_pass(), "{error}");
    assert!(error.to_string().contains("another migration"), "{error}");
    let mut patient = base.migrator().await;
    let waiting = tokio::spawn(async move { patient.up().await });
    socket.abort();
    assert!(running.await.unwrap().is_err());
    assert_eq!(waiting.await.unwrap().unwrap().applied[0], "V1__initial");
}

#[tokio::test]
async fn the_lock_is_given_back_after_success_and_after_failure() {
    let Some(base) = Base::postgres().await else { return };
    let watcher = base.client().await;
    let mut migrator = base.migrator().await;
    migrator.up().await.unwrap();
    until(&watcher, LOCKED, 0).await;
    let mut broken = base.with(base.scripts().and("broken", "DROP TABLE nowhere", "")).await;
    broken.up().await.unwrap_err();
    until(&watcher, LOCKED, 0).await;
}

#[tokio::test]
async fn a_migration_behind_a_long_query_lets_others_pass_and_comes_back() {
    let Some(base) = Base::postgres().await else { return };
    base.migrator().await.up().await.unwrap();
    let url = base.url();
    let mut reader = connect(url).await;
    let long = reader.transaction().await.unwrap();
    long.query("SELECT id FROM sessions", &[]).await.unwrap();
    let alter = "ALTER TABLE sessions ADD COLUMN zone TEXT";
    let limits = Limits { lock: Duration::from_millis(100), ..Limits::default() };
    let scripts = base.scripts().and("zone", alter, "ALTER TABLE sessions DROP COLUMN zone");
    let mut migrator = base.with(scripts).await.with_limits(limits);
    let running = tokio::spawn(async move { migrator.up().await });
    // Others read on; each at most waits until the migration gives way. Without that they would wait for `long`.
    let other = connect(url).await;
    other.batch_execute("SET statement_timeout = '5s'").await.unwrap();
    let waited = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass";
    for _ in 0..3 {
        until(&other, waited, 1).await;
        other.query("SELECT id FROM sessions", &[]).await.unwrap();
        until(&other, waited, 0).await;
    }
    assert!(!running.is_finished());
    long.commit().await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().applied.len(), 1);
}

#[tokio::test]
async fn a_lock_that_is_never_free_is_reported_when_the_time_is_over() {
    let Some(base) = Base::postgres().await else { return };
    base.migrator().await.up().await.unwrap();
    let mut reader = base.client().await;
    let long = reader.transaction().await.unwrap();
    long.query("SELECT id FROM runners", &[]).await.unwrap();
    let mut migrator = base.migrator().await.with_limits(impatient());
    let error = migrator.rollback().await.unwrap_err();
    assert!(matches!(error, MigrateError::Locked(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("rolling back V2__pools") && text.contains("55P03"), "{text}");
    assert!(migrator.status().await.unwrap().is_current());
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_ended_and_not_tried_again() {
    let Some(base) = Base::postgres().await else { return };
    let limits = Limits { statement: Duration::from_millis(200), ..Limits::default() };
    let mut migrator = base.with(base.scripts().and("slow", SLOW, "DROP TABLE slow")).await.with_limits(limits);
    let error = migrator.up().await.unwrap_err();
    assert!(matches!(error, MigrateError::Database(_)), "{error}");
    assert!(error.to_string().contains("statement timeout"), "{error}");
    assert_eq!(base.dump().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_process_needs_a_schema_that_is_not_too_old() {
    let Some(base) = Base::postgres().await else { return };
    let client = base.client().await;
    let error = require_current(&client).await.unwrap_err();
    assert!(matches!(error, MigrateError::Behind(_)), "{error}");
    assert!(error.to_string().contains("V1__initial") && error.to_string().contains("migrate up"), "{error}");
    base.migrator().await.up().await.unwrap();
    require_current(&client).await.unwrap();
    let mut newer = base.with(base.scripts().and("newer", "CREATE TABLE newer (x TEXT)", "DROP TABLE newer")).await;
    newer.up().await.unwrap();
    require_current(&client).await.unwrap();
    assert_eq!(newer.status().await.unwrap().titles(State::Newer), Vec::<String>::new());
}
