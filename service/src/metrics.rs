//! Prometheus metrics (OpenMetrics text) on the admin port. Labels are closed enums: no ids, nothing a caller chose.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Metric, Registry};

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("cliscale"))))
    }
}

impl Metrics {
    /// Registers a metric and hands it back, ready to be observed. `help` is a sentence without its full stop.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.0.lock().expect("metrics lock").register(name, help, metric.clone());
        metric
    }

    /// `/metrics`.
    pub fn router(&self) -> Router {
        Router::new().route("/metrics", get(show_metrics)).with_state(self.clone())
    }
}

async fn show_metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &metrics.0.lock().expect("metrics lock")) {
        Ok(()) => {
            let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
            (kind, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt;

    #[tokio::test]
    async fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        let counter = metrics.register("things", "Things counted", Counter::<u64>::default());
        counter.inc_by(3);
        let request = http::Request::get("/metrics").body(Body::empty()).unwrap();
        let response = metrics.router().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("cliscale_things_total 3"));
    }
}
