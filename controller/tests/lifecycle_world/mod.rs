//! A lifecycle on a real database with scripted runners: each test says how the next runners behave.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod runner;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use controller::launcher::{
    Condition, Launch, LaunchError, Launcher, LauncherKind, StaticLauncher, Unavailable, Verdict,
};
use controller::lifecycle::{Lifecycle, LifecycleConfig, Plan};
use jiff::SignedDuration;
use service::metrics::Metrics;
use service::{ServeLimits, Shutdown};
use session::frames::Wire;
use session::{ApiKeyId, EndReason, Ended, RunnerId, Secret, SessionId, SessionSecrets, SessionSpec};
use store::sqlite::SqliteStore;
use store::{Creation, NewSession, NewToken, Placement, RunnerRecord, SealKey, SessionRecord, Store, Time};
use tempfile::TempDir;
use testkit::fake_controller::spec;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

pub use runner::{Answer, FakeRunner};

/// How a launch goes.
#[derive(Clone)]
pub enum Boot {
    /// The runner calls home, and answers its assignments like this; with `Accept` once these are used up.
    Ready(Vec<Answer>),
    /// It exists and never calls.
    Silent,
    /// It is not launched.
    Fails,
    /// The engine does not answer; the next attempt is the script's next.
    Away,
    /// The engine will not have it.
    Refused(&'static str),
    /// It calls home and then nothing listens at its address.
    Deaf,
}

/// Launches scripted runners. Several controllers may share one, as they would a cluster.
pub struct Scripted {
    script: Mutex<VecDeque<Boot>>,
    runners: Mutex<HashMap<RunnerId, Arc<FakeRunner>>>,
    pub launched: Mutex<Vec<RunnerId>>,
    /// Times that a launch was asked for.
    pub attempts: AtomicUsize,
    /// Its engine does not answer what exists.
    pub blind: AtomicBool,
    /// It knows that nothing could be launched.
    pub away: AtomicBool,
    kind: Mutex<LauncherKind>,
    conditions: Mutex<HashMap<RunnerId, Condition>>,
    addresses: Mutex<Vec<(RunnerId, IpAddr)>>,
    news: broadcast::Sender<RunnerId>,
}

impl Scripted {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::default(),
            runners: Mutex::default(),
            launched: Mutex::default(),
            attempts: AtomicUsize::new(0),
            blind: AtomicBool::new(false),
            away: AtomicBool::new(false),
            kind: Mutex::new(LauncherKind::Process),
            conditions: Mutex::default(),
            addresses: Mutex::default(),
            news: broadcast::channel(16).0,
        })
    }

    /// The runner, as long as it exists.
    pub fn runner(&self, id: RunnerId) -> Option<Arc<FakeRunner>> {
        self.runners.lock().unwrap().get(&id).cloned()
    }

    pub fn launches(&self) -> usize {
        self.launched.lock().unwrap().len()
    }

    /// The runner's process ends, and the launcher notices that or does not.
    pub fn exit(&self, id: RunnerId, noticed: bool) {
        self.runners.lock().unwrap().remove(&id).expect("it exists").stop();
        if noticed {
            self.becomes(id, over(EndReason::RunnerLost, "the runner ended without saying why"));
            self.tell(id);
        }
    }

    /// From now on the launcher knows what its engine's watch tells it, a moment late.
    pub fn watches(&self) {
        *self.kind.lock().unwrap() = LauncherKind::Kubernetes;
    }

    pub fn becomes(&self, id: RunnerId, condition: Condition) {
        self.conditions.lock().unwrap().insert(id, condition);
    }

    /// Whoever listens hears of it.
    pub fn tell(&self, id: RunnerId) {
        self.news.send(id).unwrap();
    }

    pub fn learns_address(&self, id: RunnerId, address: &str) {
        self.addresses.lock().unwrap().push((id, address.parse().unwrap()));
    }

    /// A runner that was not launched here.
    pub fn add(&self, runner: FakeRunner) {
        self.runners.lock().unwrap().insert(runner.id, Arc::new(runner));
    }
}

#[async_trait]
impl Launcher for Scripted {
    fn kind(&self) -> LauncherKind {
        *self.kind.lock().unwrap()
    }

    fn available(&self) -> Result<(), Unavailable> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Unavailable { reason: "the engine is away", retry_after: Duration::from_secs(1) }),
            false => Ok(()),
        }
    }

    async fn launch(&self, request: Launch) -> Result<String, LaunchError> {
        let boot = self.script.lock().unwrap().pop_front().unwrap_or(Boot::Ready(Vec::new()));
        let id = request.runner;
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if let Boot::Away = boot {
            return Err(LaunchError::Away("the engine is away".to_owned()));
        }
        self.launched.lock().unwrap().push(id);
        let runner = match boot {
            Boot::Away => unreachable!("answered above"),
            Boot::Refused(why) => return Err(LaunchError::Refused(why.to_owned())),
            Boot::Fails => return Err(LaunchError::Start(std::io::ErrorKind::OutOfMemory.into())),
            Boot::Silent => FakeRunner::silent(id),
            Boot::Deaf => FakeRunner::deaf(request),
            Boot::Ready(answers) => FakeRunner::ready(request, answers).await,
        };
        self.runners.lock().unwrap().insert(id, Arc::new(runner));
        Ok(format!("fake/{id}"))
    }

    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError> {
        if self.blind.load(Ordering::SeqCst) {
            return Err(LaunchError::Away("the engine is away".to_owned()));
        }
        Ok(self.runners.lock().unwrap().keys().copied().collect())
    }

    async fn destroy(&self, runner: RunnerId, _handle: Option<&str>) -> Result<(), LaunchError> {
        if let Some(runner) = self.runners.lock().unwrap().remove(&runner) {
            runner.stop();
        }
        Ok(())
    }

    fn news(&self) -> Option<broadcast::Receiver<RunnerId>> {
        Some(self.news.subscribe())
    }

    fn condition(&self, runner: RunnerId) -> Condition {
        self.conditions.lock().unwrap().get(&runner).cloned().unwrap_or(Condition::Fine)
    }

    fn has_address(&self, runner: RunnerId, address: IpAddr) -> bool {
        self.addresses.lock().unwrap().contains(&(runner, address))
    }
}

pub fn over(reason: EndReason, message: &str) -> Condition {
    Condition::Over(Verdict::new(reason, message))
}

/// One controller, its database and its launcher.
pub struct World {
    pub store: Arc<SqliteStore>,
    pub launcher: Arc<Scripted>,
    pub lifecycle: Arc<Lifecycle>,
    pub metrics: Metrics,
    pub internal: SocketAddr,
    shutdown: Shutdown,
    dir: Option<Arc<TempDir>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// Times as short as loopback allows.
pub fn quick(config: &mut LifecycleConfig) {
    config.linger = Duration::from_millis(100);
    let timing = &mut config.timing;
    timing.reconcile_every = Duration::from_millis(30);
    timing.heartbeat_flush = Duration::from_millis(20);
    timing.assign_timeout = Duration::from_millis(150);
    timing.tell_timeout = Duration::from_millis(300);
    timing.exit_grace = Duration::from_millis(300);
    timing.expiry_margin = Duration::from_millis(50);
    timing.linger_margin = Duration::from_millis(100);
    timing.ask_timeout = Duration::from_millis(60);
    timing.doubt_pause = Duration::from_millis(50);
    timing.launch_retry = (Duration::from_millis(20), Duration::from_millis(100));
}

impl World {
    pub async fn new(boots: impl IntoIterator<Item = Boot>) -> Self {
        Self::with(boots, |_| {}).await
    }

    /// A world whose times a test changes further.
    pub async fn with(boots: impl IntoIterator<Item = Boot>, change: impl FnOnce(&mut LifecycleConfig)) -> Self {
        let world = Self::stopped(boots, change).await;
        world.lifecycle.run();
        world
    }

    /// One whose reconciler does not run by itself.
    pub async fn stopped(boots: impl IntoIterator<Item = Boot>, change: impl FnOnce(&mut LifecycleConfig)) -> Self {
        let launcher = Scripted::new();
        launcher.script.lock().unwrap().extend(boots);
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::beside(dir, launcher, change).await
    }

    /// Takes the database's file away, or brings it back.
    pub fn database_is_there(&self, there: bool) {
        let (path, away) = (self.dir.as_ref().unwrap().path().join("test.db"), "test.db.away");
        let away = path.with_file_name(away);
        if there { std::fs::rename(away, path) } else { std::fs::rename(path, away) }.unwrap();
    }

    /// Changes what the database has, as no server would.
    pub fn tamper(&self, statement: &str) {
        let file = self.dir.as_ref().unwrap().path().join("test.db");
        rusqlite::Connection::open(file).unwrap().execute_batch(statement).unwrap();
    }

    /// Stops as a server does; false when something did not stop.
    pub async fn stop(&self) -> bool {
        self.shutdown.finish(Duration::from_secs(10)).await
    }

    /// A second controller on the same database and cluster.
    pub async fn twin(&self) -> Self {
        self.twin_with(|_| {}).await
    }

    /// The same, with times that a test changes.
    pub async fn twin_with(&self, change: impl FnOnce(&mut LifecycleConfig)) -> Self {
        Self::beside(self.dir.clone().unwrap(), Arc::clone(&self.launcher), change).await
    }

    async fn beside(dir: Arc<TempDir>, launcher: Arc<Scripted>, change: impl FnOnce(&mut LifecycleConfig)) -> Self {
        let store = open(dir.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let internal = listener.local_addr().unwrap();
        let mut config = LifecycleConfig { internal_url: url(internal), ..LifecycleConfig::default() };
        quick(&mut config);
        change(&mut config);
        let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
        let launched: Arc<dyn Launcher> = Arc::clone(&launcher) as _;
        let lifecycle = Lifecycle::new(Arc::clone(&store) as _, launched, config, &metrics, shutdown.clone());
        let router = lifecycle.internal_router();
        tokio::spawn(service::serve(listener, router, ServeLimits::default(), shutdown.token()));
        Self { store, launcher, lifecycle, metrics, internal, shutdown, dir: Some(dir) }
    }

    /// Creates a session and begins it.
    pub async fn create(&self) -> SessionRecord {
        let plan = self.lifecycle.plan().unwrap();
        let session = self.commit(&plan, Time::now(), 600).await;
        self.lifecycle.begin(&session, session.runner.unwrap(), None, plan);
        session
    }

    /// Creates a session at some time, and leaves it at that, as a controller that died then.
    pub async fn commit(&self, plan: &Plan, at: Time, ttl: i64) -> SessionRecord {
        commit(&self.store, plan.placement(), at, ttl).await
    }

    pub async fn session(&self, id: SessionId) -> SessionRecord {
        self.store.session(id).await.unwrap().unwrap()
    }

    pub async fn row(&self, id: RunnerId) -> RunnerRecord {
        self.store.runner(id).await.unwrap().unwrap()
    }

    /// Waits for the session to become what is asked for.
    pub async fn until(&self, id: SessionId, what: &str, is: impl Fn(&SessionRecord) -> bool) -> SessionRecord {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let session = self.session(id).await;
            if is(&session) {
                return session;
            }
            assert!(Instant::now() < deadline, "in vain: {what}; {:?} {:?}", session.stage, session.ended);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_ended(&self, id: SessionId) -> Ended {
        self.until(id, "the session ends", |session| session.ended.is_some()).await.ended.unwrap()
    }

    /// Waits until the launcher has no such runner any more.
    pub async fn until_destroyed(&self, id: RunnerId) {
        until("the runner is destroyed", || self.launcher.runner(id).is_none()).await;
    }

    /// The runner of a session that it has accepted, and which it says it has.
    pub async fn assigned(&self, id: SessionId) -> Arc<FakeRunner> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let runner = self.session(id).await.runner.and_then(|runner| self.launcher.runner(runner));
            if let Some(runner) = runner.filter(|runner| runner.holds(id)) {
                assert_eq!(runner.report(session::Stage::Assigned, None).await, http::StatusCode::NO_CONTENT);
                return runner;
            }
            assert!(Instant::now() < deadline, "in vain: the session is assigned");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The value of a metric's line.
    pub async fn metric(&self, line: &str) -> f64 {
        use tower::ServiceExt;
        let request = http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let response = self.metrics.router().oneshot(request).await.unwrap();
        let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {line} in {text}"))
    }
}

async fn open(dir: &Path) -> Arc<SqliteStore> {
    let key = SealKey::from_hex(&"7".repeat(64)).unwrap();
    Arc::new(SqliteStore::open(&dir.join("test.db"), key).await.unwrap())
}

fn url(address: SocketAddr) -> url::Url {
    format!("http://{address}").parse().unwrap()
}

pub async fn commit(store: &SqliteStore, placement: Placement, at: Time, ttl: i64) -> SessionRecord {
    let mut secrets = SessionSecrets::default();
    secrets.env.insert("KEY".to_owned(), Secret::new("value"));
    let new = NewSession {
        id: SessionId::new(),
        spec: SessionSpec { ttl_secs: ttl.unsigned_abs(), idle_secs: 1, ..spec("https://code.example/a.zip", "true") },
        secrets,
        api_key: ApiKeyId::new(),
        expires_at: at + SignedDuration::from_secs(ttl),
        idempotency: None,
        rate: None,
        max_sessions: None,
        token: NewToken {
            jti: SessionId::new().to_string(),
            role: session::Role::Operator,
            expires_at: at + SignedDuration::from_secs(300),
        },
        placement,
    };
    match store.create_session(new, at).await.unwrap() {
        Creation::Created { session, .. } => session,
        other => panic!("{other:?}"),
    }
}

/// A lifecycle whose sessions all have one fixed server.
pub async fn fixed(dir: &Path) -> (Arc<SqliteStore>, Arc<Lifecycle>, Shutdown) {
    let store = open(dir).await;
    let mut config = LifecycleConfig::default();
    quick(&mut config);
    let shutdown = Shutdown::new();
    let launcher = Arc::new(StaticLauncher::new("127.0.0.1:7681"));
    assert_eq!(launcher.wire(), Wire::Tty);
    let lifecycle = Lifecycle::new(Arc::clone(&store) as _, launcher, config, &Metrics::default(), shutdown.clone());
    lifecycle.run();
    (store, lifecycle, shutdown)
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
