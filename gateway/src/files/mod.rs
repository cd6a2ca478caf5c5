//! `GET` and `PUT /ws/{id}/files/{path}` and `GET /ws/{id}/files.tar.gz`: an operator's page, or a product that is in the
//! session, has the session's files from its runner, while that runs and while it lingers.
//!
//! The runner is who judges paths and sizes; here is judged who asks. Bytes go through as fast as the slower side takes
//! them, and whoever takes or sends nothing for [`STALL_LIMIT`] is let go of.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use service::Problem;
use session::frames::Wire;
use session::{ProblemType, Role, SessionId};
use tokio::sync::Semaphore;

use crate::Inner;
use crate::admission::{explain, is_over, session_unknown};
use crate::page_token::holder;

mod answer;
mod link;
mod watched;

use link::{Answer, Link};

/// At once, through one gateway. Each costs two connections and what hyper buffers of them. A session's own limit is
/// its runner's.
pub const MAX_TRANSFERS: usize = 128;
/// Longer than the runner's own limits, so that whoever sends nothing hears that from the runner.
const STALL_LIMIT: Duration = Duration::from_secs(130);
/// What a caller is told to wait.
const RETRY_SECS: u64 = 2;

/// What is wanted, for the metrics and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    Download,
    Upload,
    Archive,
    /// From the controller, as the next is; the others are from the runner.
    Recording,
    Log,
}

impl Transfer {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Archive => "archive",
            Self::Recording => "recording",
            Self::Log => "log",
        }
    }
}

pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_TRANSFERS))
}

pub async fn get_file(State(gateway): State<Arc<Inner>>, request: Request) -> Response {
    respond(&gateway, Transfer::Download, request).await
}

pub async fn put_file(State(gateway): State<Arc<Inner>>, request: Request) -> Response {
    respond(&gateway, Transfer::Upload, request).await
}

pub async fn get_archive(State(gateway): State<Arc<Inner>>, request: Request) -> Response {
    respond(&gateway, Transfer::Archive, request).await
}

async fn respond(gateway: &Inner, transfer: Transfer, request: Request) -> Response {
    let answered = serve(gateway, transfer, request).await;
    let refused = match &answered {
        Ok(answer) => answer.refused,
        Err(problem) => Some(problem.kind),
    };
    gateway.metrics.transferred(transfer, refused);
    answered.map_or_else(IntoResponse::into_response, |answer| answer.response)
}

async fn serve(gateway: &Inner, transfer: Transfer, request: Request) -> Result<Answer, Problem> {
    let (session, path) = asked_for(request.uri().path());
    let (session, role) = holder(gateway, session, request.headers()).await?;
    if role != Role::Operator {
        return Err(Problem::new(ProblemType::Forbidden, "whoever watches has no files; operators have"));
    }
    let place = Arc::clone(&gateway.transfers).try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_TRANSFERS} files are on their way through this gateway, which is the limit");
        Problem::new(ProblemType::TooManyTransfers, detail).retry_after(RETRY_SECS)
    })?;
    let route = gateway.store.route(session).await?.ok_or_else(session_unknown)?;
    if is_over(&route) {
        return Err(explain(ProblemType::SessionEnded));
    }
    if route.wire != Wire::TtyR1 {
        let detail = "this session's terminal is a stock ttyd server, which has no files";
        return Err(Problem::new(ProblemType::Conflict, detail));
    }
    let (Some(address), Some(secret)) = (&route.address, &route.secret) else {
        return Err(Problem::new(ProblemType::Conflict, "the session has no runner yet"));
    };
    tracing::info!(%session, transfer = transfer.as_str(), "files of a session are asked for");
    let name = attachment(transfer, session, &path);
    let target = if transfer == Transfer::Archive { "/files.tar.gz".to_owned() } else { format!("/files/{path}") };
    let link = Link { session, address, secret, place };
    let mut answer = link.transfer(&target, request).await?;
    if transfer != Transfer::Upload && answer.refused.is_none() {
        make_harmless(answer.response.headers_mut(), name);
    }
    Ok(answer)
}

/// Session and file of `/ws/{id}/files/{path}`, the path as it was sent: what its bytes mean is the runner's to say.
fn asked_for(path: &str) -> (Option<SessionId>, String) {
    let mut parts = path.splitn(5, '/').skip(2);
    let session = parts.next().and_then(|id| id.parse().ok());
    (session, parts.nth(1).unwrap_or_default().to_owned())
}

/// What a session wrote is shown by no browser as if this server had written it.
fn make_harmless(headers: &mut HeaderMap, attachment: HeaderValue) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, attachment);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

/// `Content-Disposition` (RFC 6266): letters that every browser reads, and the name itself encoded (RFC 8187).
fn attachment(transfer: Transfer, session: SessionId, path: &str) -> HeaderValue {
    let name = match transfer {
        Transfer::Archive => format!("{session}.tar.gz").into_bytes(),
        _ => {
            let whole: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
            whole.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec()
        }
    };
    let name = String::from_utf8_lossy(&name);
    // Nothing that leads elsewhere, hides the file, or writes it the other way around.
    let shown: String =
        name.chars().filter(|c| !c.is_control() && !"\\/\u{202a}\u{202b}\u{202d}\u{202e}".contains(*c)).collect();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
    let ascii: String = shown.chars().map(plain).collect();
    let encoded = percent_encoding::utf8_percent_encode(&shown, percent_encoding::NON_ALPHANUMERIC);
    let value = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}");
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// An answer of ours without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_kept_as_it_was_sent() {
        let id = SessionId::new();
        for (path, session, file) in [
            (format!("/ws/{id}/files/a/b%2fc"), Some(id), "a/b%2fc"),
            (format!("/ws/{id}/files//etc"), Some(id), "/etc"),
            (format!("/ws/{id}/files.tar.gz"), Some(id), ""),
            ("/ws/%ff/files/x".to_owned(), None, "x"),
        ] {
            assert_eq!(asked_for(&path), (session, file.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_file_s_name_is_harmless_in_a_header() {
        let id = SessionId::new();
        for (path, expected) in [
            ("out/report.pdf", "attachment; filename=\"report.pdf\"; filename*=UTF-8''report%2Epdf"),
            (
                "a%22%0d%0aSet-Cookie:x",
                "attachment; filename=\"a_Set-Cookie_x\"; filename*=UTF-8''a%22Set%2DCookie%3Ax",
            ),
            ("%C3%A9%5c..%2fn%E2%80%AEgpj", "attachment; filename=\"ngpj\"; filename*=UTF-8''ngpj"),
            ("%C3%A9", "attachment; filename=\"_\"; filename*=UTF-8''%C3%A9"),
        ] {
            assert_eq!(attachment(Transfer::Download, id, path), expected, "{path}");
        }
    }
}
