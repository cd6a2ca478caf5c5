//! `/healthz` and `/readyz`. Ready means started and not draining; the database's state is only told, since all
//! replicas unready at once would turn our own 503 into the balancer's 502.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use session::api::Health;
use store::Store;
use tokio_util::sync::CancellationToken;

/// The database is asked at most this long before it counts as away.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct HealthState {
    store: Arc<dyn Store>,
    started: Instant,
    draining: CancellationToken,
}

impl HealthState {
    pub fn new(store: Arc<dyn Store>, draining: CancellationToken) -> Self {
        Self { store, started: Instant::now(), draining }
    }

    pub fn router(&self) -> Router {
        Router::new().route("/healthz", get(show_health)).route("/readyz", get(show_readiness)).with_state(self.clone())
    }
}

async fn show_health(State(state): State<HealthState>) -> Json<Health> {
    let ping = tokio::time::timeout(PING_TIMEOUT, state.store.ping()).await;
    let db_healthy = matches!(ping, Ok(Ok(())));
    Json(Health {
        status: if db_healthy { "ok" } else { "degraded" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_secs: state.started.elapsed().as_secs(),
        db_healthy,
    })
}

async fn show_readiness(State(state): State<HealthState>) -> impl IntoResponse {
    if state.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
