//! `/healthz` and `/readyz`. Ready means started and not leaving; the database's state is only told, since all
//! replicas unready at once would turn our own 503 into the balancer's 502.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use session::api::Health;
use store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The database is asked at most this long before it counts as away.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer of the database is good for, so that probes cost a database in trouble next to nothing.
const PING_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct HealthState {
    store: Arc<dyn Store>,
    started: Instant,
    draining: CancellationToken,
    pulse: Arc<Pulse>,
}

/// What the database last said. Locked while it is asked: whoever waits for that takes the same answer.
#[derive(Default)]
struct Pulse(Mutex<Option<(Instant, bool)>>);

impl Pulse {
    /// `ask` is dropped where an answer is there that is young enough.
    async fn take(&self, ask: impl Future<Output = Result<(), StoreError>>) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, healthy)) = *last
            && at.elapsed() < PING_EVERY
        {
            return healthy;
        }
        let answer = tokio::time::timeout(PING_TIMEOUT, ask).await;
        let healthy = matches!(answer, Ok(Ok(())));
        if !healthy && last.is_none_or(|(_, healthy)| healthy) {
            // No error: it did not answer in time.
            tracing::warn!(error = ?answer.ok().and_then(Result::err), "the database is not healthy");
        }
        *last = Some((Instant::now(), healthy));
        healthy
    }
}

impl HealthState {
    pub fn new(store: Arc<dyn Store>, draining: CancellationToken) -> Self {
        Self { store, started: Instant::now(), draining, pulse: Arc::default() }
    }

    pub fn router(&self) -> Router {
        Router::new().route("/healthz", get(show_health)).route("/readyz", get(show_readiness)).with_state(self.clone())
    }
}

async fn show_health(State(state): State<HealthState>) -> Json<Health> {
    let db_healthy = state.pulse.take(state.store.ping()).await;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_stalls_holds_nobody_up_for_long_and_is_asked_once_for_all() {
        let (pulse, asked) = (Arc::new(Pulse::default()), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let probes: Vec<_> = (0..50)
            .map(|_| {
                let (pulse, asked) = (Arc::clone(&pulse), Arc::clone(&asked));
                tokio::spawn(async move {
                    let stall = async {
                        asked.fetch_add(1, Ordering::SeqCst);
                        std::future::pending().await
                    };
                    pulse.take(stall).await
                })
            })
            .collect();
        for probe in probes {
            assert!(!probe.await.unwrap());
        }
        assert_eq!((asked.load(Ordering::SeqCst), began.elapsed()), (1, PING_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_database_said_is_soon_asked_again() {
        let pulse = Pulse::default();
        let away = || async { Err(StoreError::Unavailable("away".to_owned())) };
        assert!(pulse.take(async { Ok(()) }).await);
        assert!(pulse.take(away()).await, "the answer is young");
        tokio::time::advance(PING_EVERY).await;
        assert!(!pulse.take(away()).await);
        tokio::time::advance(PING_EVERY).await;
        assert!(pulse.take(async { Ok(()) }).await);
    }
}
