//! The database fails in every way that a network and a server can.

use std::time::{Duration, Instant};

use session::{ApiKeyId, Stage};
use store::postgres::{PostgresConfig, PostgresStore};
use store::{Advance, EndOutcome, Filter, NewSession, SealKey, Store, StoreError};
use testkit::postgres::Server;

use crate::contract::{self, after, create, new_session, new_token, start};
use crate::network::Proxy;
use crate::{KEY, SOON, config, fresh, is_unavailable, open, peek, until};

/// The end of a simple query; READ COMMITTED is none.
const COMMIT: &str = "COMMIT\0";

#[tokio::test]
async fn a_connection_that_broke_unnoticed_costs_nobody_a_failure() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let ids: Vec<_> = futures_util::future::join_all((0..8).map(|_| create(&store))).await;
    let admin = database.client().await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for session in ids {
        admin.query(others, &[]).await.unwrap();
        assert!(store.session(session.id).await.unwrap().is_some());
        admin.query(others, &[]).await.unwrap();
        create(&store).await;
        admin.query(others, &[]).await.unwrap();
        assert_eq!(store.advance(session.id, 1, Stage::Assigned, after(1)).await.unwrap(), Advance::Moved);
        admin.query(others, &[]).await.unwrap();
        let ended = store.end(session.id, None, contract::exited(0), after(2)).await.unwrap();
        assert!(matches!(ended, EndOutcome::Ended(_)), "{ended:?}");
    }
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_is_unavailable_and_then_works_again() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let config = PostgresConfig { lock_timeout: Duration::from_millis(200), ..config(&database.url) };
    let store = PostgresStore::open(&config, SealKey::new(&KEY), Duration::ZERO).await.unwrap();
    let session = create(&store).await;
    let holder = database.client().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    let error = store.create_session(new_session(), start()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("creating a session") && text.contains("55P03"), "{text}");
    // Reading does not wait for writers.
    assert_eq!(store.session(session.id).await.unwrap(), Some(session));
    holder.batch_execute("ROLLBACK").await.unwrap();
    create(&store).await;
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_unavailable() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let admin = database.client().await.unwrap();
    let name = &database.name;
    let read_only = |value| format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    admin.batch_execute(&read_only("on")).await.unwrap();
    let read_only_store = open(&database.url).await.unwrap();
    let outcome = read_only_store.create_session(new_session(), start()).await;
    assert!(is_unavailable(&outcome), "{outcome:?}");
    admin.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    admin.batch_execute(&read_only("off")).await.unwrap();
    // The connection was given up, so the next one sees what is now.
    create(&read_only_store).await;
    create(&store).await;
}

#[tokio::test]
async fn a_connection_into_a_black_hole_is_noticed_and_replaced() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let server = Server::shared().await.unwrap();
    let proxy = Proxy::to(server.port()).await;
    let url = server.url_at(&proxy.address(), &database.name, "sslmode=disable");
    let config = PostgresConfig {
        connect_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_millis(500),
        ..config(&url)
    };
    let store = PostgresStore::open(&config, SealKey::new(&KEY), Duration::ZERO).await.unwrap();
    let session = create(&store).await;
    proxy.swallow(true);
    for _ in 0..3 {
        let began = Instant::now();
        assert!(is_unavailable(&store.session(session.id).await));
        assert!(is_unavailable(&store.create_session(new_session(), start()).await));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    // What hangs goes on hanging; new connections get through.
    proxy.swallow(false);
    assert!(store.session(session.id).await.unwrap().is_some());
    create(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_away_is_used_again_and_a_crash_empties_tokens_alone() {
    if testkit::postgres::missing() {
        return;
    }
    let server = Server::start_new().await.unwrap();
    let database = server.database().await.unwrap();
    let store = open(&database.url).await.unwrap();
    let other = open(&database.url).await.unwrap();
    let session = create(&store).await;
    let jti = session.id.to_string();

    server.stop().await.unwrap();
    let began = Instant::now();
    assert!(is_unavailable(&store.session(session.id).await));
    assert!(is_unavailable(&store.create_session(new_session(), start()).await));
    assert!(is_unavailable(&store.consume_token(&jti, session.id, None, start()).await));
    assert!(is_unavailable(&store.ping().await));
    assert!(is_unavailable(&open(&database.url).await.map(drop)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // One that starts meanwhile waits.
    let url = database.url.clone();
    let config = config(&url);
    let waiting = tokio::spawn(async move { PostgresStore::open(&config, SealKey::new(&KEY), SOON).await.map(drop) });
    server.start().await.unwrap();
    // The first call after it is served.
    assert_eq!(store.session(session.id).await.unwrap(), Some(session.clone()));
    create(&other).await;
    assert!(store.token_waits(&jti, session.id, start()).await.unwrap(), "a stop in good order loses nothing");
    waiting.await.unwrap().unwrap();
    let mut changes = other.changes();
    until("changes are told again", async || {
        let id = create(&store).await.id;
        store.advance(id, 1, Stage::Assigned, after(1)).await.unwrap();
        matches!(tokio::time::timeout(Duration::from_millis(100), changes.recv()).await, Ok(Ok(_)))
    })
    .await;

    let sessions = store.sessions(Filter::default()).await.unwrap().len();
    server.crash().await.unwrap();
    assert!(is_unavailable(&store.ping().await));
    server.start().await.unwrap();
    assert_eq!(store.sessions(Filter::default()).await.unwrap().len(), sessions);
    assert!(!store.token_waits(&jti, session.id, start()).await.unwrap());
    assert_eq!(store.consume_token(&jti, session.id, None, start()).await.unwrap(), None);
    assert_eq!(peek::<i64>(&database, "SELECT COUNT(*) FROM tokens").await, 0);
    // A further one is as good as ever.
    store.add_token(session.id, new_token("again")).await.unwrap();
    assert!(other.consume_token("again", session.id, None, start()).await.unwrap().is_some());
    assert!(store.api_key(contract::digest(ApiKeyId::new().to_string())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_that_was_not_answered_is_repeated_only_where_that_is_harmless() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let server = Server::shared().await.unwrap();
    let proxy = Proxy::to(server.port()).await;
    let store = open(&server.url_at(&proxy.address(), &database.name, "sslmode=disable")).await.unwrap();
    let (session, runner) = contract::create_ready(&store).await;
    let mut changes = store.changes();
    // One transaction, and one statement, which commits by itself.
    for max_sessions in [Some(1000), None] {
        let new = NewSession { max_sessions, ..new_session() };
        proxy.cut_at(if max_sessions.is_some() { COMMIT } else { &new.token.jti });
        let error = store.create_session(new.clone(), start()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains("whether it was committed is not known"), "{error}");
        until("the session is there", async || store.session(new.id).await.unwrap().is_some()).await;
    }
    // What may have been changed is told to those who wait.
    proxy.cut_at(&session.id.to_string());
    assert!(is_unavailable(&store.advance(session.id, 1, Stage::Running, after(1)).await));
    assert_eq!(changes.try_recv(), Ok(session.id));
    proxy.cut_at(COMMIT);
    assert_eq!(store.runner_gone(runner, after(2)).await.unwrap(), Some(session.id));
    assert_eq!(changes.try_recv(), Ok(session.id));
}
