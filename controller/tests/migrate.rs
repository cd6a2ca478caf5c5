//! `cliscale-controller migrate` as a process: what it prints, what it exits with, and what stands in its way.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::postgres::{Server, TestDatabase, missing};

/// The program, with nothing of this process's own settings.
fn program(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cliscale-controller"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLISCALE_")) {
        command.env_remove(name);
    }
    command.arg("migrate").args(arguments).env("CLISCALE_DATABASE_URL", url).stdin(Stdio::null());
    command
}

/// Runs it to its end: the exit code, standard output and standard error.
fn migrate(url: &str, arguments: &[&str]) -> (i32, String, String) {
    read(program(url, arguments).output().unwrap())
}

fn read(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn start(url: &str, arguments: &[&str]) -> Child {
    program(url, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> (i32, String, String) {
    read(child.wait_with_output().unwrap())
}

/// A file of its own, and a database with nothing in it, where PostgreSQL is installed.
async fn databases() -> (tempfile::TempDir, Option<TestDatabase>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let mut urls = vec![format!("sqlite:{}", dir.path().join("db").display())];
    let database = if missing() { None } else { Some(empty().await) };
    urls.extend(database.as_ref().map(|database| database.url.clone()));
    (dir, database, urls)
}

async fn empty() -> TestDatabase {
    Server::shared().await.unwrap().empty_database().await.unwrap()
}

/// Waits for a query to answer a number.
async fn until(database: &TestDatabase, query: &str, expected: i64) {
    let client = database.client().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.query_one(query, &[]).await.unwrap().get::<_, i64>(0) != expected {
        assert!(Instant::now() < deadline, "not {expected}: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_goes_up_and_comes_back_and_status_tells() {
    let (_dir, _database, urls) = databases().await;
    for url in urls {
        let (code, out, _) = migrate(&url, &["status"]);
        assert_eq!(code, 3, "{out}");
        assert!(out.contains("V1       initial  -                     pending\n"), "{out}");
        assert!(out.contains("pending: cliscale-controller migrate up"), "{out}");
        let (code, out, err) = migrate(&url, &["up"]);
        assert_eq!((code, out.lines().next()), (0, Some("V1__initial was applied")), "{err}");
        // Nothing said means up.
        assert_eq!(migrate(&url, &[]), (0, "the schema is up to date\n".to_owned(), String::new()));
        let (code, out, err) = migrate(&url, &["status"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let line = out.lines().nth(1).unwrap();
        assert!(line.starts_with("V1       initial  2") && line.ends_with("Z  applied"), "{out}");
        while migrate(&url, &["status"]).1.contains("  applied\n") {
            let (code, out, err) = migrate(&url, &["rollback"]);
            assert!(code == 0 && out.ends_with(" was taken back\n"), "{out}{err}");
        }
        assert_eq!(migrate(&url, &["rollback"]).1, "nothing is applied\n");
        assert_eq!(migrate(&url, &["status"]).0, 3);
        assert_eq!(migrate(&url, &["up"]).0, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_processes_at_once_one_applies() {
    let (_dir, _database, urls) = databases().await;
    for url in urls {
        let children: Vec<_> = (0..8).map(|_| start(&url, &["up"])).collect();
        let mut applied = 0;
        for child in children {
            let (code, out, err) = finish(child);
            assert_eq!(code, 0, "{err}");
            applied += usize::from(out.contains("V1__initial was applied"));
        }
        assert_eq!(applied, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_ended_in_the_middle_leaves_nothing_and_the_next_one_works() {
    if missing() {
        return;
    }
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let database = empty().await;
        let mut other = database.client().await.unwrap();
        // The migration comes as far as this table, and waits for what happens to it here.
        let transaction = other.transaction().await.unwrap();
        transaction.batch_execute("CREATE TABLE audit (x TEXT)").await.unwrap();
        let child = start(&database.url, &["up", "--lock-timeout-ms", "600000"]);
        let waiting = "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted
            AND application_name = 'cliscale migrate' AND datname = current_database()";
        until(&database, waiting, 1).await;
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let (code, _, err) = finish(child);
        if signal == Signal::SIGTERM {
            assert!(code == 1 && err.contains("stopped by a signal"), "{code} {err}");
        }
        // The server notices while the statement waits, and gives the locks back.
        let left = "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'cliscale migrate'
            AND datname = current_database()";
        until(&database, left, 0).await;
        transaction.rollback().await.unwrap();
        until(&database, "SELECT COUNT(*) FROM pg_tables WHERE tablename = 'sessions'", 0).await;
        let (code, out, err) = migrate(&database.url, &["up"]);
        assert!(code == 0 && out.contains("V1__initial was applied"), "{out}{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_waited_for_and_then_reported_without_the_password() {
    if missing() {
        return;
    }
    let server = Server::start_new().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let password = database.url.split([':', '@']).nth(2).unwrap().to_owned();
    server.stop().await.unwrap();
    for action in ["up", "status", "rollback"] {
        let (code, out, err) = migrate(&database.url, &[action, "--wait-secs", "1"]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("given up after 1 s: database unavailable"), "{err}");
        assert!(err.contains("refused") && !err.contains(&password), "{err}");
    }
    let waiting = start(&database.url, &["up"]);
    server.start().await.unwrap();
    let (code, out, err) = finish(waiting);
    assert!(code == 0 && out.contains("V1__initial was applied"), "{out}{err}");
    // What waiting does not mend is reported at once.
    let wrong = database.url.replace(&password, "hunter2");
    let began = Instant::now();
    let (code, _, err) = migrate(&wrong, &["up"]);
    assert!(code == 1 && err.contains("password authentication failed"), "{err}");
    assert!(began.elapsed() < Duration::from_secs(30) && !err.contains("hunter2"), "{err}");
}

#[test]
fn a_file_in_a_folder_that_is_not_there_is_reported_at_once() {
    let began = Instant::now();
    let (code, _, err) = migrate("sqlite:/nonexistent/folder/db", &["up"]);
    assert!(code == 1 && err.contains("/nonexistent/folder/db"), "{err}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_release_applied_stays_and_is_told() {
    let (dir, database, urls) = databases().await;
    let row = "INSERT INTO refinery_schema_history VALUES (99, 'later', '2026-01-02T03:04:05Z', '7')";
    for url in urls {
        assert_eq!(migrate(&url, &["up"]).0, 0);
        match url.strip_prefix("sqlite:") {
            Some(_) => rusqlite::Connection::open(dir.path().join("db")).unwrap().execute_batch(row).unwrap(),
            None => database.as_ref().unwrap().client().await.unwrap().batch_execute(row).await.unwrap(),
        }
        let (code, out, _) = migrate(&url, &["status"]);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("V99      later    2026-01-02T03:04:05Z  applied by a newer release"), "{out}");
        let (code, out, _) = migrate(&url, &["up"]);
        assert_eq!((code, out.lines().next()), (0, Some("V99__later was applied by a newer release")));
        let (code, _, err) = migrate(&url, &["rollback"]);
        assert!(code == 1 && err.contains("V99__later was applied by a newer release"), "{err}");
    }
}

#[test]
fn a_migration_that_was_changed_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("db").display());
    assert_eq!(migrate(&url, &["up"]).0, 0);
    let db = rusqlite::Connection::open(dir.path().join("db")).unwrap();
    db.execute_batch("UPDATE refinery_schema_history SET checksum = '7' WHERE version = 1").unwrap();
    let (code, out, _) = migrate(&url, &["status"]);
    assert!(code == 1 && out.contains("differs: changed after it was applied"), "{code} {out}");
    let (code, _, err) = migrate(&url, &["up"]);
    assert!(code == 1 && err.contains("V1__initial was applied, but is not the V1__initial"), "{code} {err}");
}

#[test]
fn settings_that_cannot_be_used_are_all_reported_and_no_password() {
    let (code, _, err) = migrate("mysql://u:hunter2@h/d", &["up", "--wait-secs", "x", "--lock-timeout-ms", "0"]);
    assert_eq!(code, 2);
    for part in ["--database-url", "--wait-secs", "--lock-timeout-ms"] {
        assert!(err.contains(part), "{err}");
    }
    assert!(!err.contains("hunter2"), "{err}");
    assert_eq!(migrate("", &["up"]).0, 2);
    // The server's own flags before the command would be ignored.
    let mut mixed = Command::new(env!("CARGO_BIN_EXE_cliscale-controller"));
    let output = mixed.args(["--database-url", "sqlite:/d/db", "migrate", "status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn new_files_are_written_in_a_checkout_alone() {
    let dir = tempfile::tempdir().unwrap();
    let create = |place: &Path, name: &str| {
        read(program("", &["create", name]).env_remove("CLISCALE_DATABASE_URL").current_dir(place).output().unwrap())
    };
    let (code, _, err) = create(dir.path(), "add_zone");
    assert!(code == 1 && err.contains("not inside a source checkout"), "{err}");
    for backend in ["sqlite", "postgres"] {
        let folder = dir.path().join("store/migrations").join(backend);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("V1__initial.sql"), "SELECT 1;").unwrap();
        fs::write(folder.join("V1__initial.undo.sql"), "SELECT 1;").unwrap();
    }
    let (code, _, err) = create(dir.path(), "AddZone");
    assert!(code == 1 && err.contains("lower_snake"), "{err}");
    let (code, out, err) = create(dir.path(), "add_zone");
    assert_eq!(code, 0, "{err}");
    let expected = "store/migrations/sqlite/V2__add_zone.sql\nstore/migrations/sqlite/V2__add_zone.undo.sql\n\
                    store/migrations/postgres/V2__add_zone.sql\nstore/migrations/postgres/V2__add_zone.undo.sql\n";
    assert_eq!(out, expected);
    assert!(out.lines().all(|path| dir.path().join(path).is_file()));
}
