//! Problem responses (RFC 9457): what a caller may see of an error. What the log says is separate.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use session::problem::{FieldError, ProblemBody, ProblemType};
use store::StoreError;

/// An error answer. `detail` is written for the caller and holds nothing internal.
#[derive(Debug, Clone)]
pub struct Problem {
    pub kind: ProblemType,
    body: Box<ProblemBody>,
}

impl Problem {
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self { kind, body: Box::new(ProblemBody::new(kind, detail)) }
    }

    /// Names the fields that were refused.
    pub fn with_fields(mut self, errors: Vec<FieldError>) -> Self {
        self.body.errors = errors;
        self
    }

    /// Says when to try again, in the body and in `Retry-After` (RFC 9110, 10.2.3).
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.body.retry_after_secs = Some(seconds);
        self
    }

    pub fn detail(&self) -> &str {
        &self.body.detail
    }

    /// The fields that were refused.
    pub fn fields(&self) -> &[FieldError] {
        &self.body.errors
    }

    /// Nothing is known to be wrong with the request; the log has the reason.
    pub fn internal() -> Self {
        Self::new(ProblemType::Internal, "something went wrong on our side; the server's log has the reason")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.body.retry_after_secs;
        let mut response = (status, axum::Json(&*self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The database failed under a request. This is where such an error is handled, so this is where it is logged.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "database unavailable");
                Problem::new(ProblemType::Unavailable, "the database is away; nothing was changed").retry_after(2)
            }
            other => {
                tracing::error!(error = %other, "database error");
                Problem::internal()
            }
        }
    }
}
