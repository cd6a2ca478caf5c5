//! Making connections: what every one of them is set to.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::PostgresConfig;
use super::failure::{Attempt, Failure};
use super::tls;

pub(super) type Wire = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// What makes connections to one database.
#[derive(Clone)]
pub(super) struct Connector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
}

impl Connector {
    /// Reads the files that the URL names.
    pub(super) fn new(settings: &PostgresConfig) -> Attempt<Self> {
        let tls = tls::connector(settings.url.tls()).map_err(Failure::Tls)?;
        let mut config = settings.url.config().clone();
        config.connect_timeout(settings.connect_timeout);
        if config.get_application_name().is_none() {
            config.application_name("cliscale");
        }
        // A peer that is no more there is noticed while nothing is sent, and while something is.
        config.keepalives(true).keepalives_idle(Duration::from_secs(15)).keepalives_retries(3);
        config.keepalives_interval(Duration::from_secs(5));
        config.tcp_user_timeout(settings.patience());
        Ok(Self { config, tls, timeout: settings.connect_timeout })
    }

    /// Has the server end what takes too long. A transaction that its client left behind, because the network was cut,
    /// would hold its locks for hours. And has it plan each statement once for a connection instead of anew for each of its
    /// first uses: rows are looked up by keys, for which no plan is better than another's.
    fn bounded(mut self, settings: &PostgresConfig) -> Self {
        let options = format!(
            "-c plan_cache_mode=force_generic_plan {} -c statement_timeout={} -c lock_timeout={} \
             -c idle_in_transaction_session_timeout={}",
            self.config.get_options().unwrap_or_default(),
            settings.statement_timeout.as_millis(),
            settings.lock_timeout.as_millis(),
            settings.patience().as_millis()
        );
        self.config.options(options.trim());
        self
    }

    /// One connection. The second part moves the bytes: somebody must poll it.
    pub(super) async fn connect(&self) -> Attempt<(Client, Wire)> {
        match tokio::time::timeout(self.timeout, self.config.connect(self.tls.clone())).await {
            Ok(connected) => connected.map_err(Failure::Connect),
            Err(_) => Err(Failure::Unanswered("no connection was made in time")),
        }
    }

    /// A pool for this process's transactions.
    pub(super) fn pool(&self, settings: &PostgresConfig) -> Attempt<Pool> {
        let bounded = self.clone().bounded(settings);
        // A connection that is known to be closed is never given out; one that only seems open is found by its use,
        // which is tried again.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(bounded.config, bounded.tls, recycling);
        let timeouts = Timeouts {
            wait: Some(settings.wait_timeout),
            create: Some(settings.connect_timeout),
            recycle: Some(settings.connect_timeout),
        };
        Pool::builder(manager)
            .max_size(settings.max_connections)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| Failure::Misuse("the pool of connections cannot be made"))
    }
}

/// A connection of its own, for work that no request waits for; the server bounds nothing that it does. It closes when
/// the client is dropped.
pub async fn connect(settings: &PostgresConfig) -> crate::Result<Client> {
    let failed = |failure: Failure| failure.during("connecting");
    let (client, wire) = Connector::new(settings).map_err(failed)?.connect().await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = wire.await {
            tracing::warn!(%error, "a connection to the database broke");
        }
    });
    Ok(client)
}
