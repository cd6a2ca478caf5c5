//! Expand, then contract: this release's store runs on the schema of the next one. Every contract passes on a database
//! with one more migration, which adds what a release may add before the one that uses it.

use std::sync::Arc;
use std::time::Duration;

use store::SealKey;
use store::postgres::{PostgresConfig, PostgresStore};
use store::sqlite::SqliteStore;

use crate::base::Base;
use crate::contract::Database;

/// What both backends take.
const EXPAND: &str = "
    ALTER TABLE sessions ADD COLUMN zone TEXT;
    ALTER TABLE sessions ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE runners ADD COLUMN zone TEXT;
    ALTER TABLE tokens ADD COLUMN used_by TEXT;
    ALTER TABLE tickets ADD COLUMN renewed_at INTEGER;
    CREATE TABLE zones (name TEXT NOT NULL PRIMARY KEY, weight INTEGER NOT NULL DEFAULT 1);
    CREATE INDEX sessions_zone ON sessions (zone) WHERE zone IS NOT NULL;
    CREATE INDEX runners_zone ON runners (zone, created_at)";

async fn expand(base: &Base) {
    base.with(base.scripts().and("zones", EXPAND, "SELECT 1")).await.up().await.unwrap();
}

fn key() -> SealKey {
    SealKey::new(&[7; 32])
}

async fn sqlite() -> Option<Database> {
    let base = Base::sqlite().await?;
    expand(&base).await;
    let open = async || Arc::new(SqliteStore::open(&base.path(), key()).await.unwrap());
    Some(Database { store: open().await, other: open().await, kept: Box::new(base) })
}

async fn postgres() -> Option<Database> {
    let base = Base::postgres().await?;
    expand(&base).await;
    let config = PostgresConfig::new(base.url().parse().unwrap());
    let open = async || Arc::new(PostgresStore::open(&config, key(), Duration::ZERO).await.unwrap());
    Some(Database { store: open().await, other: open().await, kept: Box::new(base) })
}

mod on_sqlite {
    crate::contract::every_contract!(crate::expanded::sqlite);
}

mod on_postgres {
    crate::contract::every_contract!(crate::expanded::postgres);
}
