//! The controller as a process of its own: composes database, keys, launcher, lifecycle and API, serves the three
//! ports, and stops within a deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use service::metrics::Metrics;
use service::{HealthState, ServeLimits, Shutdown, serve};
use session::EndReason;
use session::runner_api::FetchPolicy;
use store::postgres::Part;
use store::{SealKey, Store, Time};
use tokio::net::TcpListener;
use url::Url;

use crate::api::Controller;
use crate::auth::ensure_bootstrap_key;
use crate::config::{LauncherChoice, ServerConfig};
use crate::keys::KeyRing;
use crate::launcher::{KubernetesConfig, KubernetesLauncher, Launcher};
use crate::launcher::{ProcessLauncher, ProcessLauncherConfig, StaticLauncher};
use crate::lifecycle::{Lifecycle, LifecycleConfig, Timing};
use crate::recording::Recordings;

/// How long runners have to go once the process was told to stop.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// How long everything else has after that.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

/// Runs until a signal.
pub async fn run(config: ServerConfig) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals_after(config.shutdown_delay).context("signals cannot be listened for")?;
    let running = Running::start(config, shutdown.clone()).await?;
    shutdown.token().cancelled().await;
    running.stop().await
}

/// A controller that serves.
pub struct Running {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub admin: SocketAddr,
    lifecycle: Arc<Lifecycle>,
    shutdown: Shutdown,
    /// The launcher's runners live no longer than this process.
    ends_runners: bool,
}

impl Running {
    pub async fn start(config: ServerConfig, shutdown: Shutdown) -> anyhow::Result<Self> {
        let launcher = launcher(&config).await?;
        Self::start_with(config, launcher, shutdown).await
    }

    /// The same with a launcher that is the caller's own.
    pub async fn start_with(
        config: ServerConfig,
        launcher: Arc<dyn Launcher>,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let key = SealKey::load_or_create(&config.encryption_key_file)?;
        let gateway_token = key.gateway_token()?;
        let store = open_store(&config, key).await?;
        let keys = KeyRing::open_or_create(&config.keys_dir)?;
        let public = bind(config.listen).await?;
        let internal = bind(config.internal_listen).await?;
        let admin = bind(config.admin_listen).await?;
        let metrics = Metrics::default();
        let internal_url = match &config.internal_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://127.0.0.1:{}", internal.local_addr()?.port()))?,
        };
        let recordings = match config.recordings.clone() {
            Some(settings) => {
                let opened = Recordings::open(settings, Arc::clone(&store), &metrics, shutdown.clone());
                Some(opened.context("--recordings (CLISCALE_RECORDINGS) cannot be used")?)
            }
            None => None,
        };
        let lifecycle_config = LifecycleConfig { recordings, ..lifecycle_config(&config, internal_url) };
        let lifecycle = Lifecycle::new(Arc::clone(&store), launcher, lifecycle_config, &metrics, shutdown.clone());
        // Jobs outlive us, and other controllers look after them, too: nothing of theirs is left over.
        let ends_runners = matches!(config.launcher, LauncherChoice::Process { .. });
        if ends_runners {
            lifecycle.recover().await.context("what an earlier run left cannot be ended")?;
        }
        lifecycle.run();
        let parts = (Arc::clone(&store), keys, Arc::clone(&lifecycle));
        let controller = Controller::new(config.api, parts.0, parts.1, parts.2, &metrics, shutdown.clone());
        let health = HealthState::new(store, shutdown.leaving());
        let running = Self {
            public: public.local_addr()?,
            internal: internal.local_addr()?,
            admin: admin.local_addr()?,
            ends_runners,
            lifecycle,
            shutdown,
        };
        running.serve(public, controller.public_router().merge(health.router()));
        running.serve(internal, running.lifecycle.internal_router().merge(controller.gateway_router(gateway_token)));
        running.serve(admin, metrics.router().merge(health.router()));
        let Self { public, internal, admin, .. } = running;
        tracing::info!(%public, %internal, %admin, launcher = %config.launcher, "the controller serves");
        Ok(running)
    }

    fn serve(&self, listener: TcpListener, router: Router) {
        self.shutdown.spawn(serve(listener, router, ServeLimits::default(), self.shutdown.stopping()));
    }

    /// Stops within [`END_DEADLINE`] and [`STOP_DEADLINE`] together.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.begin();
        if self.ends_runners {
            self.lifecycle.end_all(EndReason::Cancelled, END_DEADLINE).await;
        }
        anyhow::ensure!(self.shutdown.finish(STOP_DEADLINE).await, "some tasks did not stop in time");
        Ok(())
    }
}

async fn open_store(config: &ServerConfig, key: SealKey) -> anyhow::Result<Arc<dyn Store>> {
    let store = service::database::open(&config.database, key, Part::Controller)
        .await
        .context("the database cannot be opened")?;
    ensure_bootstrap_key(&*store, &config.bootstrap, Time::now()).await.context("there is no API key")?;
    Ok(store)
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))
}

async fn launcher(config: &ServerConfig) -> anyhow::Result<Arc<dyn Launcher>> {
    Ok(match &config.launcher {
        LauncherChoice::Static { backend } => Arc::new(StaticLauncher::new(backend.clone())),
        LauncherChoice::Process { runner_bin, work_dir } => {
            let runner_bin = match runner_bin {
                Some(path) => path.clone(),
                None => std::env::current_exe()
                    .context("this program's own place is unknown; set --runner-bin (CLISCALE_RUNNER_BIN)")?
                    .with_file_name("cliscale-runner"),
            };
            let defaults = ProcessLauncherConfig::new(runner_bin, work_dir);
            Arc::new(ProcessLauncher::new(ProcessLauncherConfig { linger: config.linger, ..defaults })?)
        }
        LauncherChoice::Kubernetes(kubernetes) => {
            Arc::new(KubernetesLauncher::connect(KubernetesConfig::clone(kubernetes)).await?)
        }
    })
}

fn lifecycle_config(config: &ServerConfig, internal_url: Url) -> LifecycleConfig {
    let limits = &config.api.limits;
    let fetch = FetchPolicy {
        allowed_hosts: limits.allowed_hosts.clone(),
        allow_private: config.allow_private,
        allow_local: limits.local,
    };
    let mut timing = Timing::default();
    if matches!(config.launcher, LauncherChoice::Kubernetes(_)) {
        // Two heartbeats with their jitter, as by default.
        timing.idle_margin = config.heartbeat * 5 / 2;
    }
    LifecycleConfig {
        boot_deadline: config.boot_deadline,
        retention: config.retention,
        linger: config.linger,
        pools: config.pools.clone(),
        timing,
        ..LifecycleConfig::new(fetch, internal_url)
    }
}
