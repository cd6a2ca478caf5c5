//! The public REST API: its state, its routes, and what holds for every answer (problem JSON, `no-store`, no CORS).

mod attempts;
mod create;
mod docs;
mod extend;
mod idempotency;
mod list;
mod metrics;
pub mod openapi;
mod pools;
mod read;
mod recording;
mod sessions;
mod share;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use http::{HeaderValue, StatusCode, header};
use service::config::PerMinute;
use service::metrics::Metrics;
use service::{Problem, PublicAddress, Shutdown};
use session::{ProblemType, SpecLimits};
use store::Store;

use crate::keys::KeyRing;
use crate::lifecycle::Lifecycle;
use attempts::Attempts;
use metrics::ApiMetrics;

/// The longest body that any request needs: a prompt, environment and commands at their limits, escaped as JSON.
pub const MAX_BODY: usize = 1024 * 1024;

/// What the API promises and refuses.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    pub limits: SpecLimits,
    /// `--create-rate`: creations per client address; a key with a rate of its own is counted by key instead.
    pub create_rate: PerMinute,
    /// The same for clients on this machine.
    pub loopback_create_rate: PerMinute,
    /// `--max-sessions`: sessions that may be active at once; `None`: no limit.
    pub max_sessions: Option<u32>,
    pub public: PublicAddress,
    /// The `iss` of session tokens.
    pub issuer: String,
}

/// Creations per minute and client address, unless `--create-rate` says otherwise.
pub const DEFAULT_CREATE_RATE: PerMinute = PerMinute(5);
/// The same for clients on this machine.
pub const DEFAULT_LOOPBACK_CREATE_RATE: PerMinute = PerMinute(60);
/// The `iss` of session tokens, unless a deployment names its own.
pub const DEFAULT_ISSUER: &str = "cliscale";

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            limits: SpecLimits::default(),
            create_rate: DEFAULT_CREATE_RATE,
            loopback_create_rate: DEFAULT_LOOPBACK_CREATE_RATE,
            max_sessions: None,
            public: PublicAddress::default(),
            issuer: DEFAULT_ISSUER.to_owned(),
        }
    }
}

impl ControllerConfig {
    /// `--create-rate`, where it is given, holds for clients everywhere.
    pub fn with_create_rate(mut self, given: Option<PerMinute>) -> Self {
        if let Some(rate) = given {
            self.create_rate = rate;
            self.loopback_create_rate = rate;
        }
        self
    }
}

/// The API's state. Cheap to clone.
#[derive(Clone)]
pub struct Controller(Arc<Parts>);

struct Parts {
    config: ControllerConfig,
    store: Arc<dyn Store>,
    keys: Arc<KeyRing>,
    lifecycle: Arc<Lifecycle>,
    metrics: ApiMetrics,
    attempts: Attempts,
    shutdown: Shutdown,
}

impl Controller {
    /// Also keeps the key ring and the table of attempts up to date until `shutdown`.
    pub fn new(
        config: ControllerConfig,
        store: Arc<dyn Store>,
        keys: Arc<KeyRing>,
        lifecycle: Arc<Lifecycle>,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Self {
        shutdown.spawn(Arc::clone(&keys).keep_reloading(shutdown.token()));
        let attempts = Attempts::default();
        shutdown.spawn(attempts.clone().keep_bounded(shutdown.token()));
        let metrics = ApiMetrics::new(metrics);
        Self(Arc::new(Parts { config, store, keys, lifecycle, metrics, attempts, shutdown }))
    }

    /// Everything under the controller's public address. It also answers for unknown paths, so a router that is
    /// merged with this one must set no fallback of its own.
    pub fn public_router(&self) -> Router {
        let sessions = Router::new()
            .route("/api/sessions", post(sessions::create_session).get(sessions::list_sessions))
            .route("/api/sessions/{id}", get(sessions::show_session).delete(sessions::end_session))
            .route("/api/sessions/{id}/tokens", post(sessions::mint_token))
            .route("/api/sessions/{id}/extend", post(extend::extend_session))
            .route("/api/sessions/{id}/recording", get(recording::show_recording))
            .route("/api/sessions/{id}/log", get(recording::show_log))
            .route("/api/pools", get(pools::list_pools))
            .route("/api/pools/{name}", patch(pools::change_pool))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(middleware::map_response(forbid_storing));
        let documents = Router::new().route("/.well-known/jwks.json", get(docs::show_jwks)).merge(docs::router());
        sessions
            .merge(documents)
            .method_not_allowed_fallback(refuse_method)
            .fallback(refuse_path)
            .layer(middleware::from_fn_with_state(self.clone(), count_request))
            .with_state(self.clone())
    }
}

async fn refuse_path() -> Problem {
    // The path is not repeated: it is nobody's but the caller's.
    Problem::new(ProblemType::NotFound, "nothing is at this path; GET /docs lists what is")
}

async fn refuse_method() -> Problem {
    Problem::new(ProblemType::MethodNotAllowed, "this path takes other methods; Allow lists them")
}

/// What the API answers is for the caller alone, and changes.
async fn forbid_storing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn count_request(State(controller): State<Controller>, request: Request, next: Next) -> Response {
    let route = metrics::RouteClass::of(&request);
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    controller.0.metrics.count_request(route, response.status());
    response
}

/// An answer with a status, for handlers that may also answer with a problem.
fn json<T: serde::Serialize>(status: StatusCode, body: &T) -> Response {
    (status, axum::Json(body)).into_response()
}
