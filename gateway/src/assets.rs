//! The page's files below `/ws/_/`, embedded in the binary when it is built.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;
use service::Problem;
use session::ProblemType;

/// Looked up by exact name in a table made at build time: no path reaches a file system.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

const INDEX: &str = "index.html";
/// Vite names the files in here by their content.
const HASHED: &str = "assets/";

/// The page itself, which is served with headers and a place of its own.
pub fn index() -> String {
    let file = Dist::get(INDEX).map(|file| file.data.into_owned()).unwrap_or_default();
    String::from_utf8_lossy(&file).into_owned()
}

/// Answers with one file.
pub fn show_asset(path: &str, headers: &HeaderMap) -> Response {
    let (Some(kind), Some(file)) = (content_type(path), Dist::get(path)) else {
        return Problem::new(ProblemType::NotFound, "the page has no such file").into_response();
    };
    let etag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    let caching = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*");
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Response::new(Body::from(file.data)) };
    let answer = response.headers_mut();
    if !unchanged {
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Ok(etag) = HeaderValue::try_from(etag) {
        answer.insert(header::ETAG, etag);
    }
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // An SVG that is opened by itself is a document.
    answer.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    response
}

/// By ending; a kind of file that is not listed is not served, HTML above all.
fn content_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_was_built_can_be_served() {
        for path in Dist::iter().filter(|path| path != INDEX) {
            assert_eq!(show_asset(&path, &HeaderMap::new()).status(), StatusCode::OK, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_there() {
        for path in
            [INDEX, "../package.json", "assets/../index.html", "", "assets", "favicon.svg/", "/favicon.svg", "..\\x.js"]
        {
            assert_eq!(show_asset(path, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
