//! The page's files below `/ws/_/`, embedded in the binary when it is built, and compressed then.

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
const PLAYER: &str = "recording.html";
/// Vite names the files in here by their content.
const HASHED: &str = "assets/";
/// What the build made of a file beside it: a content coding, by its name and the file's ending. The smaller first.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The page itself, which is served with headers and a place of its own.
pub fn index() -> String {
    document(INDEX)
}

/// The page that shows a recording, likewise.
pub fn player() -> String {
    document(PLAYER)
}

fn document(name: &str) -> String {
    let file = Dist::get(name).map(|file| file.data.into_owned()).unwrap_or_default();
    String::from_utf8_lossy(&file).into_owned()
}

/// Answers with one file.
pub fn show_asset(path: &str, headers: &HeaderMap) -> Response {
    let (Some(kind), Some((coding, file))) = (content_type(path), find_smallest(path, headers)) else {
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
    if let Some(coding) = coding {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
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

/// The file as the client takes it, and its coding, if it has one.
fn find_smallest(path: &str, headers: &HeaderMap) -> Option<(Option<&'static str>, rust_embed::EmbeddedFile)> {
    CODINGS
        .iter()
        .filter(|(coding, _)| takes(headers, coding))
        .find_map(|(coding, ending)| Some((Some(*coding), Dist::get(&format!("{path}{ending}"))?)))
        .or_else(|| Some((None, Dist::get(path)?)))
}

/// Whether `Accept-Encoding` names the coding, other than to refuse it (RFC 9110, section 12.5.3).
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| {
        let (name, weight) = member.split_once(';').unwrap_or((member, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case(coding) && !refused
    })
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
        for path in Dist::iter().filter(|path| path != INDEX && path != PLAYER) {
            let compressed = path.ends_with(".br") || path.ends_with(".gz");
            let expected = if compressed { StatusCode::NOT_FOUND } else { StatusCode::OK };
            assert_eq!(show_asset(&path, &HeaderMap::new()).status(), expected, "{path}");
        }
    }

    #[test]
    fn a_client_gets_the_smallest_that_it_takes() {
        let script =
            Dist::iter().find(|path| Dist::get(&format!("{path}.br")).is_some() && path.ends_with(".js")).unwrap();
        let coding = |accepted: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
            let answer = show_asset(&script, &headers);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
            assert_eq!(answer.headers()[header::VARY], "accept-encoding");
            let etag = answer.headers()[header::ETAG].clone();
            let coding = answer.headers().get(header::CONTENT_ENCODING).map(|name| name.to_str().unwrap().to_owned());
            (coding, etag)
        };
        let (br, gzip, plain) = (coding("gzip, deflate, br"), coding("GZIP;q=0.5"), coding("identity, gzip;q=0"));
        assert_eq!((br.0.as_deref(), gzip.0.as_deref(), plain.0.as_deref()), (Some("br"), Some("gzip"), None));
        assert!(br.1 != gzip.1 && gzip.1 != plain.1, "each has a tag of its own");
    }

    #[test]
    fn nothing_else_is_there() {
        for path in [
            INDEX,
            PLAYER,
            "../package.json",
            "assets/../index.html",
            "",
            "assets",
            "favicon.svg/",
            "/favicon.svg",
            "..\\x.js",
        ] {
            assert_eq!(show_asset(path, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
