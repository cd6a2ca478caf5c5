//! What the API counts. Labels are closed enums.

use axum::extract::{MatchedPath, Request};
use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use service::metrics::Metrics;
use session::ProblemType;

/// How a request to create a session went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum CreateOutcome {
    Created,
    Repeated,
    Unauthorized,
    Invalid,
    IdempotencyMismatch,
    RateLimited,
    AtCapacity,
    Unavailable,
    Failed,
}

impl CreateOutcome {
    pub fn of_problem(kind: ProblemType) -> Self {
        match kind {
            ProblemType::Unauthorized => Self::Unauthorized,
            ProblemType::RateLimited => Self::RateLimited,
            ProblemType::Capacity => Self::AtCapacity,
            ProblemType::IdempotencyMismatch => Self::IdempotencyMismatch,
            ProblemType::Unavailable => Self::Unavailable,
            ProblemType::Internal => Self::Failed,
            _ => Self::Invalid,
        }
    }
}

/// Which kind of path was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum RouteClass {
    Sessions,
    Session,
    Tokens,
    Jwks,
    Docs,
    Other,
}

impl RouteClass {
    pub fn of(request: &Request) -> Self {
        match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
            Some("/api/sessions") => Self::Sessions,
            Some("/api/sessions/{id}") => Self::Session,
            Some("/api/sessions/{id}/tokens") => Self::Tokens,
            Some("/.well-known/jwks.json") => Self::Jwks,
            Some(_) => Self::Docs,
            None => Self::Other,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum StatusClass {
    Success,
    Redirection,
    ClientError,
    ServerError,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CreateLabels {
    outcome: CreateOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: RouteClass,
    status: StatusClass,
}

pub struct ApiMetrics {
    creations: Family<CreateLabels, Counter>,
    creation_seconds: Histogram,
    requests: Family<RequestLabels, Counter>,
}

impl ApiMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            creations: metrics.register(
                "session_creations",
                "Requests to create a session, by outcome",
                Family::default(),
            ),
            creation_seconds: metrics.register(
                "session_creation_seconds",
                "Seconds from a request to create a session to its answer",
                Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]),
            ),
            requests: metrics.register(
                "api_requests",
                "Requests to the public API, by route and status",
                Family::default(),
            ),
        }
    }

    pub fn count_creation(&self, outcome: CreateOutcome, seconds: f64) {
        self.creations.get_or_create(&CreateLabels { outcome }).inc();
        if outcome == CreateOutcome::Created {
            self.creation_seconds.observe(seconds);
        }
    }

    pub fn count_request(&self, route: RouteClass, status: StatusCode) {
        let status = match status.as_u16() {
            ..300 => StatusClass::Success,
            300..400 => StatusClass::Redirection,
            400..500 => StatusClass::ClientError,
            _ => StatusClass::ServerError,
        };
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
    }
}
