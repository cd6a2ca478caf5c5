//! Answers to whoever reads: the recording, or the log that is made of it. What a caller may have was looked at before.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use service::Problem;
use session::problem::FieldError;
use session::recording::MEDIA_TYPE;
use session::{ProblemType, SessionId};
use tokio::sync::mpsc;

use super::Recordings;
use super::contents::Contents;
use super::failure;
use super::log;

/// What a log is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// What a reader would have seen, line by line.
    #[default]
    Text,
    /// The bytes as the terminal got them.
    Raw,
}

impl LogFormat {
    /// Of `format=` in a query.
    pub fn of_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut format = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            format = match (&*name, &*value) {
                ("format", "text") => Self::Text,
                ("format", "raw") => Self::Raw,
                ("format", _) => {
                    let error = FieldError::new("format", "is text or raw");
                    return Err(
                        Problem::new(ProblemType::InvalidRequest, "format is text or raw").with_fields(vec![error])
                    );
                }
                _ => format,
            };
        }
        Ok(format)
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Raw => "application/octet-stream",
        }
    }
}

impl Recordings {
    /// The recording as far as it is there, or a range of it.
    pub async fn answer_recording(
        self: &Arc<Self>,
        session: SessionId,
        asked: &HeaderMap,
    ) -> Result<Response, Problem> {
        let contents = self.found(session).await?;
        let tag = contents.tag.as_ref().map(|tag| format!("\"{tag}\""));
        if tag.as_deref().is_some_and(|tag| is_known(asked, tag)) {
            return Ok(with_tag(StatusCode::NOT_MODIFIED.into_response(), tag.as_deref()));
        }
        let size = contents.size;
        let wanted = match wanted(asked, tag.as_deref(), size) {
            Ok(wanted) => wanted,
            Err(Unsatisfiable) => return Ok(unsatisfiable(size)),
        };
        let range = wanted.clone().unwrap_or(0..size);
        let length = range.end - range.start;
        let body = Body::from_stream(received(self.read(session, contents, range.clone())));
        let status = if wanted.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = with_tag((status, body).into_response(), tag.as_deref());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CONTENT_LENGTH, length.into());
        if wanted.is_some() {
            set(headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
        }
        Ok(response)
    }

    /// The log of what is there now.
    pub async fn answer_log(self: &Arc<Self>, session: SessionId, format: LogFormat) -> Result<Response, Problem> {
        let contents = self.found(session).await?;
        let whole = 0..contents.size;
        let lines = log::written(self.read(session, contents, whole), format);
        let mut response = Body::from_stream(received(lines)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
        Ok(response)
    }

    async fn found(&self, session: SessionId) -> Result<Contents, Problem> {
        match self.contents(session).await {
            Ok(Some(contents)) => Ok(contents),
            Ok(None) => Err(not_found()),
            Err(error) => {
                self.note_failure(&error, "recordings cannot be read");
                Err(failure::unavailable())
            }
        }
    }
}

pub fn not_found() -> Problem {
    Problem::new(ProblemType::RecordingNotFound, "nothing was recorded of this session, or it is not kept any more")
}

fn received<T: Send + 'static>(pieces: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(pieces, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) })
}

/// The caller has it already (RFC 9110, 13.1.2).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag || known == "*")
}

struct Unsatisfiable;

/// The range that is asked for; `None` is all of it. What is not understood asks for nothing, and neither do several ranges
/// (RFC 9110, 14.2). While chunks come in, a range holds whatever `If-Range` says of one recording: bytes that are there
/// never change; but there is no tag that could be repeated.
fn wanted(asked: &HeaderMap, tag: Option<&str>, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let holds =
        asked.get(header::IF_RANGE).is_none_or(|stated| tag.is_some_and(|tag| stated.as_bytes() == tag.as_bytes()));
    let range = asked.get(header::RANGE).filter(|_| holds);
    let parsed = range.and_then(|range| http_range_header::parse_range_header(range.to_str().ok()?).ok());
    let Some(parsed) = parsed.filter(|parsed| parsed.ranges.len() == 1) else { return Ok(None) };
    let valid = parsed.validate(size).map_err(|_| Unsatisfiable)?;
    Ok(valid.first().map(|range| *range.start()..range.end() + 1))
}

fn unsatisfiable(size: u64) -> Response {
    let detail = format!("the recording has {size} bytes so far");
    let mut response = Problem::new(ProblemType::RangeNotSatisfiable, detail).into_response();
    set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

fn with_tag(mut response: Response, tag: Option<&str>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(tag) = tag {
        set(headers, header::ETAG, tag);
    }
    response
}

/// A store's tag might be no header value; then there is none.
fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn one_range_is_understood_and_what_is_beyond_refused() {
        let read = |range| wanted(&asked(header::RANGE, range), None, 10).ok();
        assert_eq!(read("bytes=2-4"), Some(Some(2..5)));
        assert_eq!(read("bytes=7-"), Some(Some(7..10)));
        assert_eq!(read("bytes=-3"), Some(Some(7..10)));
        assert_eq!(read("bytes=5-99"), Some(Some(5..10)));
        assert_eq!(read("bytes=0-1,4-5"), Some(None), "several are answered with all of it");
        assert_eq!(read("lines=1-2"), Some(None));
        assert_eq!(read("bytes=10-"), None);
    }

    #[test]
    fn a_range_of_another_recording_is_all_of_this_one() {
        let mut headers = asked(header::RANGE, "bytes=2-4");
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"old\""));
        assert_eq!(wanted(&headers, Some("\"new\""), 10).ok(), Some(None));
        assert_eq!(wanted(&headers, Some("\"old\""), 10).ok(), Some(Some(2..5)));
        assert!(is_known(&asked(header::IF_NONE_MATCH, "\"x\", W/\"old\""), "\"old\""));
        assert!(!is_known(&HeaderMap::new(), "\"old\""));
    }

    #[test]
    fn a_format_is_one_of_two() {
        assert_eq!(LogFormat::of_query(None).unwrap(), LogFormat::Text);
        assert_eq!(LogFormat::of_query(Some("format=raw")).unwrap(), LogFormat::Raw);
        assert!(LogFormat::of_query(Some("format=html")).is_err());
    }
}
