//! One database to migrate, of either backend, and its schema in words.

use std::path::PathBuf;

use rusqlite::Connection;
use store::migrations::{Limits, Migrator, Scripts};
use testkit::postgres::{Server, TestDatabase};
use tokio_postgres::{Client, NoTls};

pub enum Base {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase),
}

impl Base {
    pub async fn sqlite() -> Option<Self> {
        Some(Self::Sqlite(tempfile::tempdir().unwrap()))
    }

    /// `None`: PostgreSQL is not installed, and the test is skipped.
    pub async fn postgres() -> Option<Self> {
        if testkit::postgres::missing() {
            return None;
        }
        Some(Self::Postgres(Server::shared().await.unwrap().empty_database().await.unwrap()))
    }

    /// Of the embedded backend.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Sqlite(dir) => dir.path().join("db"),
            Self::Postgres(_) => panic!("no file"),
        }
    }

    /// Of a server's database.
    pub fn url(&self) -> &str {
        match self {
            Self::Sqlite(_) => panic!("no server"),
            Self::Postgres(database) => &database.url,
        }
    }

    /// A connection to a server's database, which ends with the client.
    pub async fn client(&self) -> Client {
        connect(self.url()).await
    }

    pub fn scripts(&self) -> Scripts {
        match self {
            Self::Sqlite(_) => Scripts::sqlite(),
            Self::Postgres(_) => Scripts::postgres(),
        }
    }

    /// With this release's migrations.
    pub async fn migrator(&self) -> Migrator {
        match self {
            Self::Sqlite(_) => Migrator::sqlite(&self.path()),
            Self::Postgres(_) => Migrator::postgres(self.client().await),
        }
    }

    pub async fn with(&self, scripts: Scripts) -> Migrator {
        self.migrator().await.with_scripts(scripts)
    }

    /// Statements past the store.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => Connection::open(self.path()).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres(_) => self.client().await.batch_execute(sql).await.unwrap(),
        }
    }

    /// A number, read past the store.
    pub async fn number(&self, sql: &str) -> i64 {
        match self {
            Self::Sqlite(_) => Connection::open(self.path()).unwrap().query_one(sql, [], |row| row.get(0)).unwrap(),
            Self::Postgres(_) => self.client().await.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    /// Everything that migrations make, in words and in order. The history, which stays, is not part of it.
    pub async fn dump(&self) -> Vec<String> {
        match self {
            Self::Sqlite(_) => {
                let db = Connection::open(self.path()).unwrap();
                let mut statement = db.prepare(SQLITE_SCHEMA).unwrap();
                let rows = statement.query_map([], |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Self::Postgres(_) => {
                let rows = self.client().await.query(POSTGRES_SCHEMA, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Short of patience, for what is expected to fail.
pub fn impatient() -> Limits {
    let short = std::time::Duration::from_millis(200);
    Limits { wait: short, lock: short, ..Limits::default() }
}

const SQLITE_SCHEMA: &str = "
    SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema
    WHERE tbl_name <> 'refinery_schema_history' ORDER BY 1";

/// Relations, columns, indexes, constraints, triggers, functions and types: what pg_dump would show of the schema.
const POSTGRES_SCHEMA: &str = "
    WITH ours AS (
        SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relname NOT LIKE 'refinery_schema_history%')
    SELECT format('relation %s %s %s', relname, relkind, relpersistence) FROM ours
    UNION ALL SELECT format('column %s.%s %s %s %s', relname, attname, format_type(atttypid, atttypmod), attnotnull,
        pg_get_expr(adbin, adrelid)) FROM ours JOIN pg_attribute a ON attrelid = ours.oid AND NOT attisdropped
        AND attnum > 0 LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL SELECT format('index %s', pg_get_indexdef(indexrelid)) FROM ours JOIN pg_index ON indrelid = ours.oid
    UNION ALL SELECT format('constraint %s %s %s', relname, conname, pg_get_constraintdef(c.oid))
        FROM ours JOIN pg_constraint c ON conrelid = ours.oid
    UNION ALL SELECT format('trigger %s', pg_get_triggerdef(t.oid))
        FROM ours JOIN pg_trigger t ON tgrelid = ours.oid AND NOT tgisinternal
    UNION ALL SELECT format('function %s', pg_get_functiondef(oid)) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT format('type %s', typname) FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typname NOT LIKE '%refinery_schema_history'
    ORDER BY 1";
