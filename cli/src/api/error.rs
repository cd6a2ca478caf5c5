//! What can go wrong when the API is asked, in words for the person at the terminal.

use std::fmt::Write;

use session::ProblemType;
use session::problem::ProblemBody;

/// A request that gave no answer, or an answer that was a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{server} cannot be reached: {why}")]
    Unreachable { server: String, why: String },
    #[error("{}", told(.0))]
    Problem(Box<ProblemBody>),
    #[error("{server} answered {status} and nothing that could be read; is it a CLI Scale server?")]
    Unreadable { server: String, status: u16 },
    #[error("TLS: {0}")]
    Tls(String),
}

impl ApiError {
    /// The problem's kind, when the server refused.
    pub fn problem(&self) -> Option<ProblemType> {
        match self {
            Self::Problem(body) => body.kind.rsplit('/').next()?.parse().ok(),
            _ => None,
        }
    }

    /// Whether the session asked for is not there (any more).
    pub fn is_unknown_session(&self) -> bool {
        matches!(self, Self::Problem(body) if body.status == 404)
    }
}

fn told(body: &ProblemBody) -> String {
    let mut text = format!("{}: {}", body.title, body.detail);
    for error in &body.errors {
        let _ = write!(text, "\n  {}: {}", error.field, error.detail);
    }
    if let Some(seconds) = body.retry_after_secs {
        let _ = write!(text, " (again in {seconds} s)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use session::problem::FieldError;

    #[test]
    fn a_refusal_names_its_fields_and_when_to_try_again() {
        let mut body = ProblemBody::new(ProblemType::ValidationFailed, "1 field was refused");
        body.errors = vec![FieldError::new("ttl_seconds", "is 0; 1 to 86400 are possible")];
        body.retry_after_secs = Some(7);
        let error = ApiError::Problem(Box::new(body));
        assert_eq!(error.problem(), Some(ProblemType::ValidationFailed));
        let text = error.to_string();
        assert!(text.contains("\n  ttl_seconds: is 0;") && text.ends_with("(again in 7 s)"), "{text}");
    }
}
