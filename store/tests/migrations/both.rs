//! What holds on both backends.

use store::migrations::{MigrateError, Report, State};

use crate::base::Base;

/// One test of each for each backend.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(base) = crate::base::Base::sqlite().await {
                    super::$name(base).await;
                }
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(base) = crate::base::Base::postgres().await {
                    super::$name(base).await;
                }
            })+
        }
    };
}

on_both! {
    up_applies_what_is_missing_and_again_nothing,
    eight_at_once_apply_everything_once,
    eight_at_once_on_an_older_schema_apply_the_rest_once,
    every_undo_takes_back_its_migration_and_nothing_else,
    the_manuals_example_over_two_releases_goes_up_and_comes_back,
    rollbacks_lead_back_to_nothing_and_up_brings_all_again,
    a_run_that_fails_leaves_nothing_and_names_its_migrations,
    an_undo_that_fails_leaves_everything,
    a_newer_schema_is_fine_but_is_not_taken_back,
    a_migration_that_was_changed_is_refused_by_name,
    a_migration_that_was_left_out_is_refused_by_name,
    a_history_that_cannot_be_read_is_said_to_be_so,
    status_changes_nothing,
}

/// A second migration, for those that need one.
const UP: &str = "CREATE TABLE zones (name TEXT NOT NULL PRIMARY KEY); CREATE INDEX zones_name ON zones (name)";
const UNDO: &str = "DROP TABLE zones";

fn titles(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

async fn up_applies_what_is_missing_and_again_nothing(base: Base) {
    let own: Vec<_> = base.scripts().iter().map(|script| script.title()).collect();
    assert_eq!(own[0], "V1__initial");
    let report = base.migrator().await.up().await.unwrap();
    assert_eq!(report, Report { applied: own.clone(), newer: Vec::new() });
    let schema = base.dump().await;
    assert!(schema.iter().any(|line| line.contains("sessions_active")), "{schema:?}");
    assert_eq!(base.migrator().await.up().await.unwrap().applied, Vec::<String>::new());
    assert_eq!(base.dump().await, schema);
    let status = base.migrator().await.status().await.unwrap();
    assert!(status.is_current());
    assert_eq!(status.titles(State::Applied), own);
    assert!(status.entries.iter().all(|entry| entry.applied.is_some()));
}

async fn eight_at_once(base: &Base, expected: Vec<String>) {
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut migrator = base.with(base.scripts().and("zones", UP, UNDO)).await;
        tasks.push(tokio::spawn(async move { migrator.up().await }));
    }
    let mut applied = Vec::new();
    for task in tasks {
        applied.extend(task.await.unwrap().unwrap().applied);
    }
    assert_eq!(applied, expected);
}

async fn eight_at_once_apply_everything_once(base: Base) {
    let all = base.scripts().and("zones", UP, UNDO);
    eight_at_once(&base, all.iter().map(|script| script.title()).collect()).await;
}

async fn eight_at_once_on_an_older_schema_apply_the_rest_once(base: Base) {
    base.migrator().await.up().await.unwrap();
    let next = base.scripts().latest() + 1;
    eight_at_once(&base, vec![format!("V{next}__zones")]).await;
}

async fn every_undo_takes_back_its_migration_and_nothing_else(base: Base) {
    let all = base.scripts().and("zones", UP, UNDO);
    for version in 1..=all.latest() {
        base.with(all.clone().up_to(version - 1)).await.up().await.unwrap();
        let before = base.dump().await;
        let mut migrator = base.with(all.clone().up_to(version)).await;
        migrator.up().await.unwrap();
        let after = base.dump().await;
        assert_ne!(before, after, "V{version} does nothing");
        let title = all.get(version).unwrap().title();
        assert_eq!(migrator.rollback().await.unwrap(), Some(title.clone()));
        assert_eq!(base.dump().await, before, "{title}");
        assert_eq!(migrator.status().await.unwrap().titles(State::Pending), [title]);
        migrator.up().await.unwrap();
        assert_eq!(base.dump().await, after);
    }
}

async fn the_manuals_example_over_two_releases_goes_up_and_comes_back(base: Base) {
    let (contract, undo) = match &base {
        Base::Sqlite(_) => ("UPDATE sessions SET zone = 'default' WHERE zone IS NULL", "SELECT 1"),
        Base::Postgres(_) => (
            "UPDATE sessions SET zone = 'default' WHERE zone IS NULL;
             ALTER TABLE sessions ALTER COLUMN zone SET NOT NULL",
            "ALTER TABLE sessions ALTER COLUMN zone DROP NOT NULL",
        ),
    };
    let add = "ALTER TABLE sessions ADD COLUMN zone TEXT";
    let n = base.scripts().and("session_zone", add, "ALTER TABLE sessions DROP COLUMN zone");
    base.migrator().await.up().await.unwrap();
    let before = base.dump().await;
    base.with(n.clone()).await.up().await.unwrap();
    let expanded = base.dump().await;
    let mut next = base.with(n.and("session_zone_required", contract, undo)).await;
    next.up().await.unwrap();
    next.rollback().await.unwrap();
    assert_eq!(base.dump().await, expanded);
    next.rollback().await.unwrap();
    assert_eq!(base.dump().await, before);
}

async fn rollbacks_lead_back_to_nothing_and_up_brings_all_again(base: Base) {
    let mut migrator = base.migrator().await;
    assert_eq!(migrator.rollback().await.unwrap(), None, "nothing to take back");
    migrator.up().await.unwrap();
    let schema = base.dump().await;
    for script in base.scripts().iter().collect::<Vec<_>>().into_iter().rev() {
        assert_eq!(migrator.rollback().await.unwrap(), Some(script.title()));
    }
    assert_eq!(base.dump().await, Vec::<String>::new());
    assert_eq!(base.number("SELECT COUNT(*) FROM refinery_schema_history").await, 0);
    assert_eq!(migrator.rollback().await.unwrap(), None);
    migrator.up().await.unwrap();
    assert_eq!(base.dump().await, schema);
}

async fn a_run_that_fails_leaves_nothing_and_names_its_migrations(base: Base) {
    base.migrator().await.up().await.unwrap();
    let before = base.dump().await;
    let next = base.scripts().latest() + 1;
    let broken = base.scripts().and("zones", UP, UNDO).and("broken", "CREATE TABLE x (y TEXT); DROP TABLE nowhere", "");
    let error = base.with(broken).await.up().await.unwrap_err();
    assert!(matches!(error, MigrateError::Database(_)) && !error.may_pass(), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("applying V{next}__zones, V{}__broken: ", next + 1)), "{text}");
    assert!(text.contains("nowhere"), "{text}");
    assert_eq!(base.dump().await, before);
    let mut fixed = base.with(base.scripts().and("zones", UP, UNDO)).await;
    assert_eq!(fixed.up().await.unwrap().applied, [format!("V{next}__zones")]);
}

async fn an_undo_that_fails_leaves_everything(base: Base) {
    let mut migrator = base.with(base.scripts().and("zones", UP, "DROP TABLE zones; DROP TABLE nowhere")).await;
    migrator.up().await.unwrap();
    let before = base.dump().await;
    let error = migrator.rollback().await.unwrap_err().to_string();
    assert!(error.contains("__zones") && error.contains("nowhere"), "{error}");
    assert_eq!(base.dump().await, before);
    assert!(migrator.status().await.unwrap().is_current());
}

async fn a_newer_schema_is_fine_but_is_not_taken_back(base: Base) {
    let mut newer = base.with(base.scripts().and("zones", UP, UNDO)).await;
    newer.up().await.unwrap();
    let schema = base.dump().await;
    let title = format!("V{}__zones", base.scripts().latest() + 1);
    let mut older = base.migrator().await;
    assert_eq!(older.up().await.unwrap(), Report { applied: titles(&[]), newer: vec![title.clone()] });
    let status = older.status().await.unwrap();
    assert!(status.is_current());
    assert_eq!(status.titles(State::Newer), std::slice::from_ref(&title));
    let error = older.rollback().await.unwrap_err();
    assert!(matches!(&error, MigrateError::NoUndo(named) if *named == title), "{error}");
    assert_eq!(base.dump().await, schema);
    assert_eq!(newer.rollback().await.unwrap(), Some(title));
}

async fn a_migration_that_was_changed_is_refused_by_name(base: Base) {
    let title = format!("V{}__zones", base.scripts().latest() + 1);
    base.with(base.scripts().and("zones", UP, UNDO)).await.up().await.unwrap();
    let before = base.dump().await;
    let changed = "CREATE TABLE zones (name TEXT)";
    let mut migrator = base.with(base.scripts().and("zones", changed, UNDO).and("more", "SELECT 1", "SELECT 1")).await;
    assert_eq!(migrator.status().await.unwrap().titles(State::Differs), std::slice::from_ref(&title));
    for outcome in [migrator.up().await.map(drop), migrator.rollback().await.map(drop)] {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, MigrateError::Differs { applied, .. } if *applied == title), "{error}");
        assert!(error.to_string().contains("changed after it was applied"), "{error}");
    }
    assert_eq!(base.dump().await, before);
}

async fn a_migration_that_was_left_out_is_refused_by_name(base: Base) {
    base.with(base.scripts().and("zones", UP, UNDO)).await.up().await.unwrap();
    base.execute("DELETE FROM refinery_schema_history WHERE version = 1").await;
    let mut migrator = base.with(base.scripts().and("zones", UP, UNDO)).await;
    let status = migrator.status().await.unwrap();
    assert!(!status.is_current());
    assert_eq!(status.titles(State::Skipped), ["V1__initial"]);
    let error = migrator.up().await.unwrap_err().to_string();
    assert!(error.contains("V1__initial was never applied"), "{error}");
}

async fn a_history_that_cannot_be_read_is_said_to_be_so(base: Base) {
    base.migrator().await.up().await.unwrap();
    base.execute("UPDATE refinery_schema_history SET applied_on = 'yesterday'").await;
    let error = base.migrator().await.up().await.unwrap_err();
    assert!(matches!(&error, MigrateError::History(text) if text.contains("V1__initial: applied_on")), "{error}");
}

async fn status_changes_nothing(base: Base) {
    let status = base.migrator().await.status().await.unwrap();
    assert!(!status.is_current());
    assert_eq!(status.titles(State::Pending)[0], "V1__initial");
    match &base {
        Base::Sqlite(dir) => assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0),
        Base::Postgres(_) => {
            assert_eq!(base.number("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").await, 0)
        }
    }
}
