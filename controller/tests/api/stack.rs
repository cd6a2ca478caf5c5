//! One API in a temporary folder, asked without a socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use controller::auth::{BootstrapKey, ensure_bootstrap_key};
use controller::keys::KeyRing;
use controller::launcher::{Launcher, StaticLauncher};
use controller::lifecycle::{Lifecycle, LifecycleConfig};
use controller::recording::{RecordingSettings, Recordings};
use controller::{Controller, ControllerConfig};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use service::Shutdown;
use service::config::PerMinute;
use service::metrics::Metrics;
use session::runner_api::FetchPolicy;
use session::{AllowedHosts, Secret, SessionId, SessionState};
use store::sqlite::SqliteStore;
use store::{SealKey, Store, Time};
use tempfile::TempDir;
use tower::ServiceExt;
use url::Url;

/// What gateways show.
pub const GATEWAY_TOKEN: &str = "the-token-of-all-gateways";

/// What a test may want otherwise.
pub struct Options {
    pub config: ControllerConfig,
    pub publish_delay: Duration,
    /// Left out: a fixed backend.
    pub launcher: Option<Arc<dyn Launcher>>,
    /// Left out: nothing is recorded.
    pub recordings: Option<RecordingSettings>,
}

impl Default for Options {
    fn default() -> Self {
        let roomy = PerMinute(1_000_000);
        let config =
            ControllerConfig { create_rate: roomy, loopback_create_rate: roomy, ..ControllerConfig::default() };
        Self { config, publish_delay: controller::keys::PUBLISH_DELAY, launcher: None, recordings: None }
    }
}

pub struct Stack {
    pub store: Arc<dyn Store>,
    pub key: String,
    pub metrics: Metrics,
    pub lifecycle: Arc<Lifecycle>,
    /// The internal port.
    internal: Router,
    router: Router,
    shutdown: Shutdown,
    dir: Arc<TempDir>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} is not JSON: {:?}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem of that kind, and answers it.
    #[track_caller]
    pub fn problem(&self, slug: &str) -> Value {
        let problem = self.json();
        assert_eq!(problem["type"], format!("/docs/errors/{slug}"), "{problem}");
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        let kind: session::ProblemType = slug.parse().unwrap();
        assert_eq!(self.status.as_u16(), kind.status());
        problem
    }
}

/// The names in a problem's `errors`.
pub fn fields(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["field"].as_str()).collect()
}

pub fn request_body() -> Value {
    json!({"code_url": "https://github.com/o/r/tree/main/a", "command": "node index.js"})
}

impl Stack {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        Self::inside(Arc::new(tempfile::tempdir().unwrap()), options).await
    }

    async fn inside(dir: Arc<TempDir>, options: Options) -> Self {
        let seal = SealKey::load_or_create(&dir.path().join("seal.key")).unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("cliscale.db"), seal).await.unwrap());
        let kept = BootstrapKey::Kept(dir.path().join("api-key"));
        let key = ensure_bootstrap_key(&*store, &kept, Time::now()).await.unwrap().expose().to_owned();
        let keys = KeyRing::with_publish_delay(&dir.path().join("keys"), options.publish_delay).unwrap();
        let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
        let fetch = FetchPolicy { allowed_hosts: AllowedHosts::any(), allow_private: false, allow_local: false };
        let internal = Url::parse("http://127.0.0.1:1").unwrap();
        let launcher = options.launcher.unwrap_or_else(|| Arc::new(StaticLauncher::new("127.0.0.1:7681")));
        let recordings = options
            .recordings
            .map(|settings| Recordings::open(settings, Arc::clone(&store), &metrics, shutdown.clone()).unwrap());
        let config = LifecycleConfig { recordings, ..LifecycleConfig::new(fetch, internal) };
        let lifecycle = Lifecycle::new(Arc::clone(&store), launcher, config, &metrics, shutdown.clone());
        let parts = (Arc::clone(&store), keys, Arc::clone(&lifecycle));
        let controller = Controller::new(options.config, parts.0, parts.1, parts.2, &metrics, shutdown.clone());
        let internal = controller.gateway_router(Secret::new(GATEWAY_TOKEN)).merge(lifecycle.internal_router());
        let health = service::HealthState::new(Arc::clone(&store), shutdown.token());
        let router = controller.public_router().merge(health.router());
        Self { store, key, metrics, lifecycle, internal, router, shutdown, dir }
    }

    /// Another controller on the same database.
    pub async fn twin(&self, options: Options) -> Self {
        Self::inside(Arc::clone(&self.dir), options).await
    }

    /// What a metric stands at.
    pub async fn metric(&self, line: &str) -> f64 {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let text = Self::answer(self.metrics.router(), request).await.text;
        let found = text.lines().find_map(|shown| shown.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The same folder, as a new start finds it.
    pub async fn restart(self) -> Self {
        let dir = Arc::clone(&self.dir);
        self.stop().await;
        Self::inside(dir, Options::default()).await
    }

    pub async fn stop(self) {
        assert!(self.shutdown.finish(Duration::from_secs(10)).await);
    }

    /// Begins to stop, as on SIGTERM.
    pub fn begin_to_stop(&self) {
        self.shutdown.begin();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Asks the internal port.
    pub async fn send_internally(&self, request: Request<Body>) -> Answer {
        Self::answer(self.internal.clone(), request).await
    }

    pub async fn send(&self, request: Request<Body>, peer: &str) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        Self::answer(self.router.clone(), request).await
    }

    async fn answer(router: Router, request: Request<Body>) -> Answer {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000_000).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "term.example:8080")
            .header("authorization", format!("Bearer {}", self.key))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap(), "127.0.0.1:5").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap(), "127.0.0.1:5").await
    }

    pub async fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.post_with(path, body, &[], "127.0.0.1:5").await
    }

    pub async fn post_with(&self, path: &str, body: impl ToString, headers: &[(&str, &str)], peer: &str) -> Answer {
        let mut request = self.request(Method::POST, path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap(), peer).await
    }

    /// Creates a session that must succeed.
    #[track_caller]
    pub fn create(&self, body: Value) -> impl Future<Output = Value> + '_ {
        let at = std::panic::Location::caller();
        async move {
            let answer = self.post("/api/sessions", body).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{at}: {}", answer.text);
            answer.json()
        }
    }

    /// Waits until the session is in that state.
    pub async fn wait_for(&self, id: SessionId, state: SessionState) {
        let mut changes = self.store.changes();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let session = self.store.session(id).await.unwrap().unwrap();
            if session.state() == state {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{id} stays {}", session.state());
            // A change may have been missed: look again in any case.
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.recv()).await;
        }
    }
}
