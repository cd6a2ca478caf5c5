//! Opening the database: waiting for it where it is away, and checking that its schema is what this release needs.
//! Nothing is migrated here: `cliscale-controller migrate up` does that, with other rights and at another time.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::Instant;

use super::config::PostgresConfig;
use super::connect::Connector;
use super::failure::Failure;
use crate::migrations::{pauses, require_current};
use crate::{Result, StoreError};

/// Between two lines of the log that say that the database is away.
const REMINDER: Duration = Duration::from_secs(10);

/// Connects, for as long as `wait` where the database is away; what waiting does not mend is an error at once.
pub(super) async fn open(settings: &PostgresConfig, wait: Duration) -> Result<(Connector, Pool)> {
    let failed = |failure: Failure| failure.during("opening the database");
    let connector = Connector::new(settings).map_err(failed)?;
    let pool = connector.pool(settings).map_err(failed)?;
    let deadline = Instant::now() + wait;
    let mut pauses = pauses();
    let mut reminded: Option<Instant> = None;
    loop {
        let error = match tokio::time::timeout(settings.patience(), check(&pool)).await {
            Ok(Ok(())) => return Ok((connector, pool)),
            Ok(Err(StoreError::Unavailable(error))) => error,
            Ok(Err(error)) => return Err(error),
            Err(_) => "opening the database: it did not answer in time".to_owned(),
        };
        // They have no end.
        let pause = pauses.next().unwrap_or(REMINDER);
        if Instant::now() + pause >= deadline {
            return Err(StoreError::Unavailable(error));
        }
        if reminded.is_none_or(|at| at.elapsed() > REMINDER) {
            reminded = Some(Instant::now());
            tracing::warn!(error, database = %settings.url, "waiting for the database");
        }
        tokio::time::sleep(pause).await;
    }
}

async fn check(pool: &Pool) -> Result<()> {
    let connection = pool.get().await.map_err(|error| Failure::from(error).during("opening the database"))?;
    Ok(require_current(&**connection).await?)
}
