//! What the API counts. Labels are closed enums.

use axum::extract::{MatchedPath, Request};
use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use service::metrics::Metrics;
use session::ProblemType;

/// A label and its value, which is a word of a closed set.
type Label = (&'static str, &'static str);

/// How a request to create a session went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Repeated => "repeated",
            Self::Unauthorized => "unauthorized",
            Self::Invalid => "invalid",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::RateLimited => "rate_limited",
            Self::AtCapacity => "at_capacity",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// Which kind of path was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    Sessions,
    Session,
    Tokens,
    Extend,
    Recording,
    Log,
    Pools,
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
            Some("/api/sessions/{id}/extend") => Self::Extend,
            Some("/api/sessions/{id}/recording") => Self::Recording,
            Some("/api/sessions/{id}/log") => Self::Log,
            Some("/api/pools" | "/api/pools/{name}") => Self::Pools,
            Some("/.well-known/jwks.json") => Self::Jwks,
            Some(_) => Self::Docs,
            None => Self::Other,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Session => "session",
            Self::Tokens => "tokens",
            Self::Extend => "extend",
            Self::Recording => "recording",
            Self::Log => "log",
            Self::Pools => "pools",
            Self::Jwks => "jwks",
            Self::Docs => "docs",
            Self::Other => "other",
        }
    }
}

pub struct ApiMetrics {
    creations: Family<[Label; 1], Counter>,
    creation_seconds: Histogram,
    requests: Family<[Label; 2], Counter>,
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
        self.creations.get_or_create(&[("outcome", outcome.as_str())]).inc();
        if outcome == CreateOutcome::Created {
            self.creation_seconds.observe(seconds);
        }
    }

    pub fn count_request(&self, route: RouteClass, status: StatusCode) {
        let status = match status.as_u16() {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[("route", route.as_str()), ("status", status)]).inc();
    }
}
