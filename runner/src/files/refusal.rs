//! Why a file is not sent or taken: a problem (RFC 9457) that the gateway hands on to whoever asked.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use rustix::io::Errno;
use session::ProblemType;
use session::problem::ProblemBody;

/// What a caller is told to wait where others are being served.
const RETRY_SECS: u64 = 2;

/// `detail` is for the caller.
#[derive(Debug)]
pub struct Refusal {
    kind: ProblemType,
    detail: String,
    /// What a range was asked of.
    size: Option<u64>,
}

impl Refusal {
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), size: None }
    }

    pub fn range(size: u64) -> Self {
        let detail = format!("the file has {size} bytes");
        Self { size: Some(size), ..Self::new(ProblemType::RangeNotSatisfiable, detail) }
    }

    pub fn not_a_file(what: &str) -> Self {
        Self::new(ProblemType::NotAFile, format!("{what} is at this path"))
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        use ProblemType::*;
        let (kind, detail) = match errno {
            Errno::NOENT => (FileNotFound, "there is no such file"),
            // A link where a folder must be is either, by system.
            Errno::NOTDIR | Errno::LOOP => (NotAFile, "something before the last / is no folder"),
            Errno::ISDIR => (NotAFile, "a folder is at this path"),
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => (InvalidRequest, "no file can have this path"),
            Errno::ACCESS | Errno::PERM => (Forbidden, "the session's own user may not do this"),
            Errno::ROFS => (Forbidden, "the session's folder is read-only"),
            Errno::NOSPC | Errno::DQUOT => (InsufficientStorage, "the session's disk is full"),
            _ => {
                tracing::warn!(%errno, "a file could not be sent or taken");
                (Internal, "the file system failed; the runner's log has the reason")
            }
        };
        Self::new(kind, detail)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => {
                tracing::warn!(%error, "a file could not be sent or taken");
                Self::new(ProblemType::Internal, "the file could not be sent or taken")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = ProblemBody::new(self.kind, self.detail);
        body.retry_after_secs = (self.kind == ProblemType::TooManyTransfers).then_some(RETRY_SECS);
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(range) = self.size.and_then(|size| HeaderValue::try_from(format!("bytes */{size}")).ok()) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        response
    }
}
