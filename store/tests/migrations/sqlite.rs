//! What is special to a file.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::migrations::{Limits, MigrateError, Migrator, Scripts};

use crate::base::Base;

#[tokio::test]
async fn the_file_that_up_makes_is_private() {
    let base = Base::sqlite().await.unwrap();
    base.migrator().await.up().await.unwrap();
    assert_eq!(base.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_writes_to_is_waited_for() {
    let base = Base::sqlite().await.unwrap();
    base.migrator().await.up().await.unwrap();
    let holder = Connection::open(base.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut migrator = base.migrator().await.with_limits(Limits { wait: Duration::ZERO, ..Limits::default() });
    // SQLite itself waits for five seconds.
    let error = migrator.rollback().await.unwrap_err();
    assert!(matches!(error, MigrateError::Locked(_)) && error.may_pass(), "{error}");
    let mut migrator = base.migrator().await;
    let waiting = tokio::spawn(async move { migrator.rollback().await });
    holder.execute_batch("COMMIT").unwrap();
    let latest = base.scripts().iter().last().map(|script| script.title());
    assert_eq!(waiting.await.unwrap().unwrap(), latest);
}

#[tokio::test]
async fn a_table_that_others_refer_to_can_be_built_anew() {
    let parents = "CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT;
        CREATE TABLE children (parent INTEGER REFERENCES parents (id) ON DELETE CASCADE) STRICT;
        INSERT INTO parents VALUES (1); INSERT INTO children VALUES (1)";
    let anew = "CREATE TABLE anew (id INTEGER PRIMARY KEY, name TEXT) STRICT;
        INSERT INTO anew (id) SELECT id FROM parents; DROP TABLE parents; ALTER TABLE anew RENAME TO parents";
    let back = "CREATE TABLE anew (id INTEGER PRIMARY KEY) STRICT;
        INSERT INTO anew (id) SELECT id FROM parents; DROP TABLE parents; ALTER TABLE anew RENAME TO parents";
    let base = Base::sqlite().await.unwrap();
    let mut migrator = base.with(base.scripts().and("parents", parents, "").and("anew", anew, back)).await;
    migrator.up().await.unwrap();
    assert_eq!(base.number("SELECT COUNT(*) FROM children").await, 1);
    migrator.rollback().await.unwrap();
    assert_eq!(base.number("SELECT COUNT(*) FROM children").await, 1);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let mut migrator = Migrator::sqlite(std::path::Path::new("/nonexistent/folder/db"));
    let error = migrator.up().await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/folder/db"), "{error}");
}

/// Of the child process of the next test: where its database is.
const CHILD: &str = "CLISCALE_TEST_MIGRATED_FILE";
/// Creates a table, and then counts for longer than any test.
const SLOW: &str = "CREATE TABLE slow (x INTEGER) STRICT;
    WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) INSERT INTO slow SELECT max(x) FROM n";

#[tokio::test]
async fn a_process_that_is_killed_in_the_middle_leaves_nothing_and_the_next_run_works() {
    if let Some(path) = std::env::var_os(CHILD) {
        let scripts = Scripts::sqlite().and("slow", SLOW, "DROP TABLE slow");
        Migrator::sqlite(&PathBuf::from(path)).with_scripts(scripts).up().await.unwrap();
        return;
    }
    let base = Base::sqlite().await.unwrap();
    let this = "sqlite::a_process_that_is_killed_in_the_middle_leaves_nothing_and_the_next_run_works";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", this]).env(CHILD, base.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    // What comes before the slow part takes the write lock for moments only.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut held = 0;
    while held < 20 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        held = if is_held(&base) { held + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(base.dump().await, Vec::<String>::new());
    assert_eq!(base.migrator().await.up().await.unwrap().applied[0], "V1__initial");
}

/// Whether some other process has the write lock.
fn is_held(base: &Base) -> bool {
    if !base.path().exists() {
        return false;
    }
    let db = Connection::open(base.path()).unwrap();
    db.busy_timeout(Duration::ZERO).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").is_err()
}
