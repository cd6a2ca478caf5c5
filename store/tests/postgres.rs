//! PostgreSQL: every contract, and what is special to a server.

mod contract;
mod network;

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{
    Database, after, at_once, call_of, create, create_ready, created, exited, new_runner, new_session, new_token,
    secrets, standby, start, ticket,
};
use network::Proxy;
use session::{ApiKeyId, Ended, Stage};
use store::postgres::{PostgresConfig, PostgresStore};
use store::{Creation, EndOutcome, Filter, NewSession, Rate, SealError, SealKey, Store, StoreError};
use testkit::postgres::{Server, TestDatabase};
use tokio_postgres::types::FromSqlOwned;

const KEY: [u8; 32] = [7; 32];
/// How long anything that should happen soon may take.
const SOON: Duration = Duration::from_secs(20);

fn config(url: &str) -> PostgresConfig {
    PostgresConfig::new(url.parse().unwrap())
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
    let claims = made.iter().filter(|creation| matches!(creation, Creation::Created { claimed: true, .. })).count();
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

#[tokio::test]
async fn what_one_process_changes_is_told_to_another_and_once_to_itself() {
    let Some(db) = database().await else { return };
    let (mut own, mut others) = (db.store.changes(), db.other.changes());
    // The other one may not have begun to listen yet.
    let mut sessions = Vec::new();
    until("a change was told", async || {
        sessions.push(create(&*db.store).await.id);
        matches!(tokio::time::timeout(Duration::from_millis(100), others.recv()).await, Ok(Ok(_)))
    })
    .await;
    for id in sessions {
        assert_eq!(own.try_recv(), Ok(id));
    }
    let id = create(&*db.store).await.id;
    let told = tokio::time::timeout(SOON, async { while others.recv().await != Ok(id) {} });
    told.await.expect("told to the other");
    assert_eq!((own.try_recv(), own.try_recv().is_err()), (Ok(id), true));
}

#[tokio::test]
async fn a_caller_that_stops_waiting_undoes_nothing() {
    let Some(db) = database().await else { return };
    let new = new_runner();
    let id = new.id;
    {
        let mut adding = db.store.add_runner(new, start());
        // Polled once, so that it is handed over, and then given up.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(adding.as_mut().poll(context).is_ready()));
        assert!(!polled.await);
    }
    until("the runner was added", async || db.other.runner(id).await.unwrap().is_some()).await;
}

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

#[tokio::test]
async fn a_gateway_needs_few_rights() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let admin = database.client().await.unwrap();
    admin
        .batch_execute(
            "DROP ROLE IF EXISTS gateway; CREATE ROLE gateway LOGIN PASSWORD 'gateway'; \
             GRANT SELECT ON sessions, runners, refinery_schema_history TO gateway; \
             GRANT SELECT, DELETE ON tokens TO gateway; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON tickets, page_tokens TO gateway",
        )
        .await
        .unwrap();
    let server = Server::shared().await.unwrap();
    let url = format!("postgres://gateway:gateway@127.0.0.1:{}/{}?sslmode=disable", server.port(), database.name);
    let gateway = open(&url).await.unwrap();
    let (session, _) = create_ready(&store).await;
    let id = session.id;
    let jti = id.to_string();
    assert!(gateway.token_waits(&jti, id, start()).await.unwrap());
    assert!(gateway.consume_token(&jti, id, Some(ticket("a")), start()).await.unwrap().is_some());
    for (from, to) in [("a", "b"), ("a", "c"), ("c", "d"), ("a", "x")] {
        gateway.redeem_ticket(contract::digest(from), id, ticket(to), after(1)).await.unwrap();
    }
    gateway.page_token(contract::digest("page of d"), id).await.unwrap();
    assert!(gateway.route(id).await.unwrap().unwrap().secret.is_some());
    gateway.ping().await.unwrap();
    let error = gateway.end(id, None, exited(0), start()).await.unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error}");
}

#[tokio::test]
async fn tls_verifies_what_the_mode_asks_for() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let server = Server::shared().await.unwrap();
    let (named, numbered) = (format!("localhost:{}", server.port()), format!("127.0.0.1:{}", server.port()));
    let (ca, other) = (server.ca(), server.other_ca());
    let (ca, other) = (ca.display(), other.display());
    for (address, parameters, refused) in [
        (&named, format!("sslmode=verify-full&sslrootcert={ca}"), None),
        (&named, format!("sslmode=verify-full&sslrootcert={other}"), Some("UnknownIssuer")),
        (&named, "sslmode=verify-full".to_owned(), Some("UnknownIssuer")),
        (&numbered, format!("sslmode=verify-full&sslrootcert={ca}"), Some("not valid for")),
        (&numbered, format!("sslmode=verify-ca&sslrootcert={ca}"), None),
        (&numbered, format!("sslmode=verify-ca&sslrootcert={other}"), Some("UnknownIssuer")),
        (&numbered, "sslmode=require".to_owned(), None),
        (&numbered, format!("sslmode=require&sslrootcert={other}"), Some("UnknownIssuer")),
        (&named, "sslmode=verify-full&sslrootcert=/nonexistent/ca.pem".to_owned(), Some("/nonexistent/ca.pem")),
    ] {
        let url = server.url_at(address, &database.name, &format!("{parameters}&application_name=tls"));
        match (open(&url).await, refused) {
            (Ok(store), None) => {
                create(&store).await;
                let plain = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                             WHERE application_name = 'tls' AND NOT ssl";
                assert_eq!(peek::<i64>(&database, plain).await, 0, "{parameters}");
            }
            // Waiting does not mend it.
            (Err(StoreError::Database(text)), Some(part)) => assert!(text.contains(part), "{parameters}: {text}"),
            (outcome, _) => panic!("{address} {parameters}: {:?}", outcome.map(drop)),
        }
    }
}

#[tokio::test]
async fn what_waiting_does_not_mend_is_said_at_once() {
    if testkit::postgres::missing() {
        return;
    }
    let server = Server::shared().await.unwrap();
    let empty = server.empty_database().await.unwrap();
    let wrong = format!("postgres://postgres:hunter2@127.0.0.1:{}/postgres?sslmode=disable", server.port());
    for (url, part) in
        [(&empty.url, "cliscale-controller migrate up"), (&wrong, "28P01"), (&server.url("nowhere"), "3D000")]
    {
        let began = Instant::now();
        let error = PostgresStore::open(&config(url), SealKey::new(&KEY), SOON).await.err().unwrap();
        assert!(matches!(error, StoreError::Database(_)), "{error}");
        assert!(error.to_string().contains(part) && !error.to_string().contains("hunter2"), "{error}");
        assert!(began.elapsed() < SOON / 2);
    }
}

#[tokio::test]
async fn a_newer_schema_is_taken_as_it_is() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                 VALUES (1000, 'newer', '2030-01-01T00:00:00Z', '1')";
    database.client().await.unwrap().batch_execute(newer).await.unwrap();
    create(&open(&database.url).await.unwrap()).await;
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
        create(&store).await;
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
