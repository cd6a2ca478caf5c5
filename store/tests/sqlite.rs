//! The embedded database: every contract, and what is special to a file.

mod contract;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use contract::{
    Database, after, call_of, create, create_ready, exited, new_runner, new_session, secrets, start, target,
};
use rusqlite::Connection;
use session::Stage;
use store::sqlite::SqliteStore;
use store::{Filter, SealError, SealKey, Store, StoreError};

const KEY: [u8; 32] = [7; 32];

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SealKey::new(&KEY)).await
}

async fn database() -> Database {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cliscale.db");
    let store = Arc::new(open(&path).await.unwrap());
    let other = Arc::new(open(&path).await.unwrap());
    Database { store, other, kept: Box::new(dir) }
}

mod contracts {
    super::contract::every_contract!(crate::database);
}

/// One value, read past the store.
fn peek<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path).unwrap().query_one(sql, [], |row| row.get(0)).unwrap()
}

/// All bytes of the database and its side files.
fn bytes(dir: &Path) -> Vec<u8> {
    fs::read_dir(dir).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn secrets_are_sealed_and_then_null() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path).await.unwrap();
    let (session, runner) = create_ready(&store).await;
    let sealed: Vec<u8> = peek(&path, "SELECT secrets FROM sessions");
    let plain = SealKey::new(&KEY).open(&format!("session:{}", session.id), &sealed).unwrap();
    assert_eq!(serde_json::from_slice::<session::SessionSecrets>(&plain).unwrap(), secrets());
    let sealed: Vec<u8> = peek(&path, "SELECT secret FROM runners");
    let plain = SealKey::new(&KEY).open(&format!("runner:{runner}"), &sealed).unwrap();
    assert_eq!(plain, call_of(runner).secret.expose().as_bytes());
    for text in ["hunter2", call_of(runner).secret.expose()] {
        assert!(!bytes(dir.path()).windows(text.len()).any(|part| part == text.as_bytes()), "{text} is in a file");
    }
    store.advance(session.id, 1, Stage::Assigned, after(2)).await.unwrap();
    assert_eq!(peek::<Option<Vec<u8>>>(&path, "SELECT secrets FROM sessions"), None);
    store.runner_gone(runner, after(3)).await.unwrap();
    assert_eq!(peek::<Option<Vec<u8>>>(&path, "SELECT secret FROM runners"), None);
    let ended = create(&store).await;
    store.end(ended.id, None, exited(0), after(3)).await.unwrap();
    assert_eq!(peek::<i64>(&path, "SELECT COUNT(*) FROM sessions WHERE secrets IS NOT NULL"), 0);
}

#[tokio::test]
async fn another_encryption_key_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let (session, runner) = create_ready(&open(&path).await.unwrap()).await;
    let other = SqliteStore::open(&path, SealKey::random().unwrap()).await.unwrap();
    let error = other.assignment(runner).await.unwrap_err();
    assert!(matches!(error, StoreError::Seal(SealError::Open)), "{error}");
    assert!(other.route(session.id).await.is_err());
    assert!(other.session(session.id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path).await.unwrap();
    create(&store).await;
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.len() >= 3, "the database, its log and its index");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path).await.unwrap();
    let session = create(&store).await;
    // As a kill leaves it: the log is not folded in.
    let copy = dir.path().join("copy");
    for suffix in ["", "-wal"] {
        fs::copy(dir.path().join(format!("db{suffix}")), dir.path().join(format!("copy{suffix}"))).unwrap();
    }
    drop(store);
    for path in [path, copy] {
        let store = open(&path).await.unwrap();
        assert_eq!(store.session(session.id).await.unwrap(), Some(session.clone()));
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs::write(&path, "This is a letter, and not a database at all.".repeat(100)).unwrap();
    let error = open(&path).await.err().unwrap();
    assert!(matches!(error, StoreError::Database(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("not a database") && text.contains(path.to_str().unwrap()), "{text}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = open(Path::new("/nonexistent/folder/db")).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("/nonexistent/folder/db"), "{error}");
}

#[tokio::test]
async fn a_file_that_was_taken_away_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path).await.unwrap();
    store.ping().await.unwrap();
    fs::rename(&path, dir.path().join("moved")).unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    fs::write(&path, "another file").unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    fs::rename(dir.path().join("moved"), &path).unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_unavailable_and_then_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path).await.unwrap();
    let session = create(&store).await;
    let holder = Connection::open(&path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.create_session(new_session(), start()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("creating a session"), "{error}");
    // Reading does not wait for writers.
    assert_eq!(store.session(session.id).await.unwrap(), Some(session));
    holder.execute_batch("ROLLBACK").unwrap();
    create(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { open(&path).await })
        })
        .collect();
    let mut stores = Vec::new();
    for store in opening {
        stores.push(store.await.unwrap().unwrap());
    }
    for store in &stores {
        create(store).await;
    }
    assert_eq!(stores[0].sessions(Filter::default()).await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_undoes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db")).await.unwrap();
    let new = new_runner();
    let id = new.id;
    store.adopt_pool(target(), start()).await.unwrap();
    {
        let mut adding = store.refill_pool(target(), vec![new], start());
        // Polled once, so that it is handed over, and then given up.
        let _ = futures_poll_once(&mut adding).await;
    }
    // Behind it in the same queue.
    store.set_runner_handle(id, "x".to_owned()).await.unwrap();
    assert!(store.runner(id).await.unwrap().is_some());
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
