//! How much of the database one process takes, and how long it waits for it.

use std::time::Duration;

use super::url::PostgresUrl;

/// The settings of a [`super::PostgresStore`]. Every time is above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    pub url: PostgresUrl,
    /// Connections at most, beside one that listens for changes.
    pub max_connections: usize,
    /// For a connection to be made: TCP, TLS and authentication.
    pub connect_timeout: Duration,
    /// For one of the connections to become free.
    pub wait_timeout: Duration,
    /// For one statement, by the server's clock; the server ends it.
    pub statement_timeout: Duration,
    /// For one lock that another transaction holds; part of the statement's time.
    pub lock_timeout: Duration,
}

impl PostgresConfig {
    pub fn new(url: PostgresUrl) -> Self {
        Self {
            url,
            max_connections: 8,
            connect_timeout: Duration::from_secs(3),
            wait_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(3),
        }
    }

    /// For one transaction, by our own clock. It is longer than a statement's time, so that a server that is there can
    /// say itself what was too slow; what runs into this is taken for a connection that nobody is at the other end of.
    pub(super) fn patience(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }
}
