//! The database as it is, beside the API: what a runner's row says, and changes that only somebody with the database
//! could make.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio_postgres::Client;

use crate::postgres::TestDatabase;
use crate::stack::SOON;

/// A connection of the test's own.
pub struct Rows {
    client: Client,
}

impl Rows {
    pub async fn connect(database: &TestDatabase) -> Result<Self> {
        Ok(Self { client: database.client().await? })
    }

    /// Connects to a database that is not the tests' own, without TLS.
    pub async fn connect_to(url: &str) -> Result<Self> {
        Ok(Self { client: crate::postgres::connect(url).await? })
    }

    /// Changes the name under which the last migration was recorded; answers the old one.
    pub async fn rename_last_migration(&self, name: &str) -> Result<String> {
        let last = "SELECT name FROM refinery_schema_history ORDER BY version DESC LIMIT 1";
        let old = self.client.query_one(last, &[]).await?.get(0);
        let statement = "UPDATE refinery_schema_history SET name = $1 \
                         WHERE version = (SELECT max(version) FROM refinery_schema_history)";
        self.client.execute(statement, &[&name]).await?;
        Ok(old)
    }

    /// A runner's state; `None` once its row is gone, too.
    pub async fn runner_state(&self, runner: &str) -> Result<Option<String>> {
        let row = self.client.query_opt("SELECT state FROM runners WHERE id::text = $1", &[&runner]).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Every runner that is not gone.
    pub async fn living_runners(&self) -> Result<Vec<String>> {
        let rows = self.client.query("SELECT id::text FROM runners WHERE state <> 'gone'", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Every standby that waits, the one that is claimed next first.
    pub async fn idle_runners(&self) -> Result<Vec<String>> {
        let statement = "SELECT id::text FROM runners WHERE state = 'idle' ORDER BY created_at, id";
        Ok(self.client.query(statement, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    /// Gives a runner the address of another one, as if its pod were gone and its address given out again.
    pub async fn move_runner(&self, runner: &str, to: &str) -> Result<()> {
        let statement =
            "UPDATE runners SET address = (SELECT address FROM runners WHERE id::text = $2) WHERE id::text = $1";
        let changed = self.client.execute(statement, &[&runner, &to]).await?;
        anyhow::ensure!(changed == 1, "there is no runner {runner}");
        Ok(())
    }

    /// Waits until no runner of these is alive in the database.
    pub async fn wait_until_gone(&self, runner: &str) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let state = self.runner_state(runner).await?;
            if state.as_deref().is_none_or(|state| state == "gone") {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("runner {runner} is still {state:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends a session behind everybody's back.
    pub async fn end_session(&self, session: &str) -> Result<()> {
        let statement = "UPDATE sessions SET stage = 'ended', secrets = NULL, end_reason = 'cancelled', \
                         ended_at = (extract(epoch FROM now()) * 1000)::bigint WHERE id::text = $1";
        let changed = self.client.execute(statement, &[&session]).await?;
        anyhow::ensure!(changed == 1, "there is no session {session}");
        Ok(())
    }

    /// Moves the end of every ended session and runner into the past.
    pub async fn age(&self, by: Duration) -> Result<()> {
        let millis = i64::try_from(by.as_millis())?;
        self.client.execute("UPDATE sessions SET ended_at = ended_at - $1", &[&millis]).await?;
        self.client.execute("UPDATE runners SET gone_at = gone_at - $1", &[&millis]).await?;
        Ok(())
    }

    /// How many sessions ended longer ago than this.
    pub async fn count_ended_before(&self, age: Duration) -> Result<i64> {
        let statement = "SELECT count(*) FROM sessions \
                         WHERE ended_at < (extract(epoch FROM now()) * 1000)::bigint - $1";
        Ok(self.client.query_one(statement, &[&i64::try_from(age.as_millis())?]).await?.get(0))
    }

    /// How many rows a table holds.
    pub async fn count(&self, table: &str) -> Result<i64> {
        Ok(self.client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0))
    }

    /// Everything that the tables hold, as text, to look for what must not be there.
    pub async fn dump(&self, table: &str) -> Result<String> {
        let statement = format!("SELECT coalesce(string_agg({table}::text, E'\\n'), '') FROM {table}");
        Ok(self.client.query_one(&statement, &[]).await?.get(0))
    }
}
