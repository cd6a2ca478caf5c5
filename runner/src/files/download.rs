//! `GET /files/{path}`: one file, or one range of it, of the length that it had when it was opened.

use std::ops::Range;

use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use session::ProblemType;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use super::path::FilePath;
use super::refusal::Refusal;
use super::routes::{Transfer, blocking};
use super::sending::{self, Outlet};
use super::{BLOCK, MAX_DOWNLOAD};

pub async fn send_file(transfer: Transfer, path: FilePath, headers: &HeaderMap) -> Result<Response, Refusal> {
    let root = transfer.root;
    let (file, size) = blocking(move || root.open_file(&path)).await?;
    let wanted = wanted(headers, size)?;
    let range = wanted.clone().unwrap_or(0..size);
    let length = range.end - range.start;
    if length > MAX_DOWNLOAD {
        let detail = format!("{length} bytes are wanted; at most {MAX_DOWNLOAD} are sent at once: ask for a Range");
        return Err(Refusal::new(ProblemType::PayloadTooLarge, detail));
    }
    let mut file = tokio::fs::File::from_std(file);
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start)).await?;
    }
    let (outlet, body) = sending::body(transfer.place);
    tokio::spawn(pour(file, length, outlet));
    let status = if wanted.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if wanted.is_some() {
        let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(text).map_err(std::io::Error::other)?);
    }
    Ok(response)
}

/// The range that is asked for; `None` is all of it. What is not understood asks for nothing, and neither do several
/// ranges (RFC 9110, 14.2). Nothing here tells one version of a file from another, so `If-Range` never holds.
fn wanted(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, Refusal> {
    let range = headers.get(header::RANGE).filter(|_| !headers.contains_key(header::IF_RANGE));
    let parsed = range.and_then(|range| http_range_header::parse_range_header(range.to_str().ok()?).ok());
    let Some(parsed) = parsed.filter(|parsed| parsed.ranges.len() == 1) else { return Ok(None) };
    // Of nothing there is no part, whatever the arithmetic says.
    if size == 0 {
        return Err(Refusal::range(size));
    }
    let valid = parsed.validate(size).map_err(|_| Refusal::range(size))?;
    Ok(valid.first().map(|range| *range.start()..range.end() + 1))
}

/// A file that became shorter meanwhile breaks the answer off.
async fn pour(mut file: tokio::fs::File, mut left: u64, outlet: Outlet) {
    while left > 0 {
        let mut block = BytesMut::with_capacity(BLOCK.min(usize::try_from(left).unwrap_or(BLOCK)));
        match (&mut file).take(left).read_buf(&mut block).await {
            Ok(0) => return tracing::debug!("a file became shorter while it was sent"),
            Ok(read) => left -= read as u64,
            Err(error) => return tracing::warn!(%error, "a file cannot be read"),
        }
        if outlet.send(block.freeze()).await.is_err() {
            return;
        }
    }
    outlet.finish().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, size: u64) -> Result<Option<Range<u64>>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        wanted(&headers, size)
    }

    #[test]
    fn one_range_is_understood() {
        for (range, expected) in [
            ("bytes=0-3", Some(0..4)),
            ("bytes=8-99", Some(8..10)),
            ("bytes=4-", Some(4..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
            ("bytes=x", None),
        ] {
            assert_eq!(asked(range, 10).unwrap(), expected, "{range}");
        }
        assert!(asked("bytes=10-", 10).is_err());
        assert!(asked("bytes=0-", 0).is_err());
    }
}
