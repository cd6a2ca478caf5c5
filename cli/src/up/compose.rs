//! Puts the parts together: one store, controller and gateway on one public port, an internal port for runners, an
//! admin port; and takes them apart again in the order that lets sessions end well.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use controller::auth::{BootstrapKey, ensure_bootstrap_key};
use controller::keys::KeyRing;
use controller::launcher::{Launcher, ProcessLauncher, ProcessLauncherConfig, StaticLauncher};
use controller::lifecycle::{Lifecycle, LifecycleConfig, PoolConfig};
use controller::recording::Recordings;
use controller::{Controller, ControllerConfig};
use gateway::{FromController, Gateway, GatewayConfig, JwksError, JwksSource, LocalLink, ViewerTokens};
use jsonwebtoken::jwk::JwkSet;
use service::database::{self, DatabaseUrl};
use service::metrics::Metrics;
use service::{HealthState, Problem, PublicAddress, ServeLimits, Shutdown, serve};
use session::gateway_api::ViewerToken;
use session::runner_api::FetchPolicy;
use session::{DEFAULT_TEMPLATE, EndReason, Secret, SessionId};
use store::postgres::Part;
use store::{Retention, SealKey, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::config::{LauncherChoice, UpConfig};
use super::data_dir::{DataDir, DataDirError};
use super::hosts::OwnHosts;
use super::runner_bin::{NoRunner, find_runner};
use super::samples;
use crate::api::LocalServer;

/// How long sessions may take to end when stopping; what is left then is killed.
const END_ALL: Duration = Duration::from_secs(10);
/// And everything else after that.
const FINISH: Duration = Duration::from_secs(5);

/// Why the server did not start. The texts are for whoever starts it.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("{flag} {address}: the port is busy; stop what listens there, or choose another with {flag} ({variable})")]
    Busy { flag: &'static str, variable: String, address: SocketAddr },
    #[error("{flag} {address}: {source}")]
    Listen { flag: &'static str, address: SocketAddr, source: io::Error },
    #[error(transparent)]
    NoRunner(#[from] NoRunner),
    #[error("{what}: {why}")]
    Part { what: &'static str, why: String },
}

fn part<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> UpError {
    move |error| UpError::Part { what, why: error.to_string() }
}

/// Starts servers.
pub struct Up;

/// A server that runs in this process, on this runtime. Stop it with [`RunningUp::stop`]; when it is only dropped, or
/// this process is killed, its runners end by themselves, and the next start on the data directory cleans up.
pub struct RunningUp {
    /// How clients on this machine reach it.
    pub api_url: Url,
    pub internal_url: Url,
    pub admin_url: Url,
    pub api_key_file: PathBuf,
    pub api_key: Secret,
    pub data_dir: PathBuf,
    /// `process` or `static`.
    pub launcher: &'static str,
    /// A folder with `hello.sh` in it.
    pub hello: Url,
    /// Ends new work; the public port's own.
    closing: CancellationToken,
    public: TaskTracker,
    shutdown: Shutdown,
    lifecycle: Arc<Lifecycle>,
    dir: DataDir,
}

/// The three ports, bound.
struct Ports {
    public: TcpListener,
    internal: TcpListener,
    admin: TcpListener,
}

impl Up {
    /// Starts everything and returns once it serves.
    pub async fn start(config: UpConfig) -> Result<RunningUp, UpError> {
        let dir = DataDir::open(&config.data_dir)?;
        let ports = Ports::bind(&config).await?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(part("a bound port"));
        let (public_at, internal_at, admin_at) =
            (address(&ports.public)?, address(&ports.internal)?, address(&ports.admin)?);
        let store = open_store(&dir).await?;
        let keys = open_keys(&dir).await?;
        let from = BootstrapKey::Kept(dir.api_key());
        let api_key =
            ensure_bootstrap_key(&*store, &from, jiff::Timestamp::now()).await.map_err(part("the API key"))?;

        let (metrics, shutdown, closing) = (Metrics::default(), Shutdown::new(), CancellationToken::new());
        let internal_url = http_url(internal_at);
        let launcher = launcher(&config, &dir)?;
        let kind = launcher.kind().as_str();
        let recordings = open_recordings(&config, &store, &metrics, &shutdown)?;
        let lifecycle_config = LifecycleConfig { recordings, ..lifecycle_config(&config, internal_url.clone()) };
        let lifecycle = Lifecycle::new(Arc::clone(&store), launcher, lifecycle_config, &metrics, shutdown.clone());
        // Before anything is served: nobody may see a session as running whose runner died with an earlier server.
        lifecycle.recover().await.map_err(part("recovering from an earlier run"))?;
        let public_router = public_router(&config, &store, &keys, &lifecycle, &metrics, &shutdown);
        let health = HealthState::new(store, closing.clone()).router();

        let hosts = |at: SocketAddr| OwnHosts::new(at, config.public_url.as_ref(), config.expose);
        let public = TaskTracker::new();
        let limits = ServeLimits::default;
        let routes = hosts(public_at).guard(public_router.merge(health.clone()));
        public.spawn(serve(ports.public, routes, limits(), closing.clone()));
        let routes = hosts(internal_at).guard(lifecycle.internal_router());
        shutdown.spawn(serve(ports.internal, routes, limits(), shutdown.token()));
        let routes = hosts(admin_at).guard(metrics.router().merge(health));
        shutdown.spawn(serve(ports.admin, routes, limits(), shutdown.token()));
        lifecycle.run();

        let hello = samples::write_hello(dir.path()).map_err(part("the data directory"))?;
        let up = RunningUp {
            api_url: http_url(public_at),
            internal_url,
            admin_url: http_url(admin_at),
            api_key_file: dir.api_key(),
            api_key,
            data_dir: dir.path().to_owned(),
            launcher: kind,
            hello,
            closing,
            public,
            shutdown,
            lifecycle,
            dir,
        };
        up.publish().map_err(part("the data directory"))?;
        Ok(up)
    }
}

impl RunningUp {
    /// Stops: no new connections or sessions, then every session is ended (their terminals still hear of it), then
    /// the rest. Takes about 20 seconds at most; `false` when something was still running after that.
    pub async fn stop(self) -> bool {
        self.dir.withdraw();
        self.closing.cancel();
        self.lifecycle.end_all(EndReason::Cancelled, END_ALL).await;
        self.shutdown.begin();
        self.public.close();
        let (finished, served) =
            tokio::join!(self.shutdown.finish(FINISH), tokio::time::timeout(FINISH, self.public.wait()));
        finished && served.is_ok()
    }

    fn publish(&self) -> io::Result<()> {
        self.dir.publish(&LocalServer {
            api_url: self.api_url.to_string(),
            api_key_file: self.api_key_file.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

impl Ports {
    async fn bind(config: &UpConfig) -> Result<Self, UpError> {
        let internal = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self {
            public: bind("--listen", config.listen).await?,
            internal: bind("the runners' port", internal).await?,
            admin: bind("--admin-listen", config.admin_listen).await?,
        })
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, UpError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => UpError::Busy { flag, variable: service::config::variable_of(flag), address },
        _ => UpError::Listen { flag, address, source },
    })
}

async fn open_store(dir: &DataDir) -> Result<Arc<dyn Store>, UpError> {
    let seal = SealKey::load_or_create(&dir.encryption_key()).map_err(part("the encryption key"))?;
    database::open(&DatabaseUrl::Sqlite(dir.database()).into(), seal, Part::Controller)
        .await
        .map_err(part("the database"))
}

fn open_recordings(
    config: &UpConfig,
    store: &Arc<dyn Store>,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Option<Arc<Recordings>>, UpError> {
    let Some(settings) = config.recordings.clone() else { return Ok(None) };
    let settings = settings.within(Retention::default().sessions);
    Recordings::open(settings, Arc::clone(store), metrics, shutdown.clone())
        .map(Some)
        .map_err(part("--recordings (CLISCALE_RECORDINGS)"))
}

/// Drawing an RSA key takes a while, so it has a thread of its own.
async fn open_keys(dir: &DataDir) -> Result<Arc<KeyRing>, UpError> {
    let folder = dir.signing_keys();
    let opened = tokio::task::spawn_blocking(move || KeyRing::open_or_create(&folder)).await;
    opened.map_err(part("the signing keys"))?.map_err(part("the signing keys"))
}

fn launcher(config: &UpConfig, dir: &DataDir) -> Result<Arc<dyn Launcher>, UpError> {
    match &config.launcher {
        LauncherChoice::Static { backend } => Ok(Arc::new(StaticLauncher::new(backend.clone()))),
        LauncherChoice::Process { runner_bin } => {
            let runner_bin = find_runner(runner_bin.as_deref())?;
            let launcher = ProcessLauncher::new(ProcessLauncherConfig {
                work_dir: config.work_dir.clone().unwrap_or_else(|| dir.work_dir()),
                log_dir: dir.log_dir(),
                keep_workspaces: config.keep_workspaces,
                linger: config.linger,
                ..ProcessLauncherConfig::new(runner_bin, dir.path())
            });
            Ok(Arc::new(launcher.map_err(part("the process launcher"))?))
        }
    }
}

fn lifecycle_config(config: &UpConfig, internal_url: Url) -> LifecycleConfig {
    let fetch = FetchPolicy {
        allowed_hosts: config.limits.allowed_hosts.clone(),
        allow_private: config.allow_private_code_hosts,
        allow_local: config.limits.local,
    };
    let pools = vec![PoolConfig::keeping(DEFAULT_TEMPLATE, config.pool_min, PoolConfig::PROCESSES_WAIT)];
    LifecycleConfig { linger: config.linger, pools, ..LifecycleConfig::new(fetch, internal_url) }
}

fn public_router(
    config: &UpConfig,
    store: &Arc<dyn Store>,
    keys: &Arc<KeyRing>,
    lifecycle: &Arc<Lifecycle>,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Router {
    let public = PublicAddress { public_url: config.public_url.clone(), trusted_proxy_hops: config.trusted_proxy_hops };
    let controller_config = ControllerConfig {
        limits: config.limits.clone(),
        max_sessions: config.max_sessions,
        public: public.clone(),
        ..ControllerConfig::default()
    }
    .with_create_rate(config.create_rate);
    let gateway_config =
        GatewayConfig { public, embed_origins: config.embed_origins.clone(), ..GatewayConfig::default() };
    let (keys, lifecycle) = (Arc::clone(keys), Arc::clone(lifecycle));
    let jwks = Arc::new(OwnKeys(Arc::clone(&keys)));
    let controller = Controller::new(controller_config, Arc::clone(store), keys, lifecycle, metrics, shutdown.clone());
    // Never shown outside of this process.
    let own_token = Secret::new(uuid::Uuid::new_v4().simple().to_string());
    let link = LocalLink::new(controller.gateway_router(own_token.clone()), &own_token);
    let from_controller =
        FromController { viewer_tokens: Some(Arc::new(OwnTokens(controller.clone()))), link: Some(Arc::new(link)) };
    let gateway = Gateway::new(gateway_config, Arc::clone(store), jwks, from_controller, metrics, shutdown.clone());
    controller.public_router().merge(gateway.router())
}

/// The gateway's verification keys, from the same process.
struct OwnKeys(Arc<KeyRing>);

#[async_trait]
impl JwksSource for OwnKeys {
    async fn fetch(&self) -> Result<JwkSet, JwksError> {
        Ok(self.0.jwks())
    }
}

/// The tokens of read-only links, from the same process.
struct OwnTokens(Controller);

#[async_trait]
impl ViewerTokens for OwnTokens {
    async fn viewer_token(&self, session: SessionId) -> Result<ViewerToken, Problem> {
        self.0.viewer_token(session).await
    }
}

/// As clients on this machine reach a bound address.
fn http_url(mut at: SocketAddr) -> Url {
    if at.ip().is_unspecified() {
        at.set_ip(match at.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    // An address and a port make a URL.
    Url::parse(&format!("http://{at}")).expect("a URL")
}
