//! What explains the API: `/`, `/docs`, `/docs/errors/{slug}`, `/openapi.json`, and the published keys. The pages are
//! made once, from what is compiled in; nothing of a request gets into them.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderName, StatusCode, header};
use service::Problem;
use session::ProblemType;

use super::{Controller, json, openapi};
use crate::keys::JWKS_MAX_AGE;

/// The entries of `docs/errors.md`, each under a heading that is the problem's slug.
pub const ERRORS: &str = include_str!("../../../docs/errors.md");

/// The pages have no script, no style and nothing from elsewhere.
const PAGE_POLICY: [(HeaderName, &str); 2] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
];
const TEXT: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];

pub fn router() -> Router<Controller> {
    Router::new()
        .route("/", get(show_start))
        .route("/docs", get(show_docs))
        .route("/docs/errors", get(|| async { (TEXT, ERRORS) }))
        .route("/docs/errors/{slug}", get(show_error))
        .route("/openapi.json", get(show_openapi))
}

pub async fn show_jwks(State(controller): State<Controller>) -> Response {
    let mut response = json(StatusCode::OK, &controller.0.keys.jwks());
    let cached = public_for(JWKS_MAX_AGE);
    if let Ok(value) = cached.try_into() {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

fn public_for(age: Duration) -> String {
    format!("public, max-age={}", age.as_secs())
}

async fn show_start() -> impl IntoResponse {
    (PAGE_POLICY, Html(START.as_str()))
}

async fn show_docs() -> impl IntoResponse {
    (PAGE_POLICY, Html(DOCS.as_str()))
}

async fn show_openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI.as_str())
}

async fn show_error(slug: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let kind: Option<ProblemType> = slug.ok().and_then(|Path(slug)| slug.parse().ok());
    let entry = kind.and_then(|kind| error_entry(kind.as_str()));
    match entry {
        Some(entry) => Ok((TEXT, entry).into_response()),
        None => Err(Problem::new(ProblemType::NotFound, "no problem has this name; GET /docs/errors lists them all")),
    }
}

/// The entry with its heading, up to the next one.
fn error_entry(slug: &str) -> Option<&'static str> {
    let heading = format!("## {slug}\n");
    let from = ERRORS.find(&format!("\n{heading}"))? + 1;
    let entry = &ERRORS[from..];
    let to = entry[heading.len()..].find("\n## ").map_or(entry.len(), |at| heading.len() + at + 1);
    Some(&entry[..to])
}

static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

static START: LazyLock<String> = LazyLock::new(|| {
    let body = format!(
        "<h1>CLI Scale {}</h1>\n<p>One request turns code and a command into a live terminal at a URL.</p>\n\
         <ul>\n<li><a href=\"/docs\">The API's routes</a></li>\n\
         <li><a href=\"/openapi.json\">The API as OpenAPI 3.1</a></li>\n\
         <li><a href=\"/docs/errors\">Every error, its cause and what to do</a></li>\n</ul>\n",
        env!("CARGO_PKG_VERSION")
    );
    page("CLI Scale", &body)
});

static DOCS: LazyLock<String> = LazyLock::new(|| {
    let mut body = String::from(
        "<h1>The API's routes</h1>\n\
         <p>Send an API key as <code>Authorization: Bearer KEY</code>, from a server and never from a page. \
         <a href=\"/openapi.json\">openapi.json</a> describes every member; \
         <a href=\"/docs/errors\">every error has its entry</a>.</p>\n<dl>\n",
    );
    for operation in openapi::all() {
        let method = operation.method.to_ascii_uppercase();
        body += &format!("<dt><code>{method} {}</code></dt><dd>{}</dd>\n", operation.path, operation.summary);
    }
    page("CLI Scale: the API", &(body + "</dl>\n"))
});

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n{body}</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_entry_and_there_is_no_other() {
        let headings: Vec<&str> = ERRORS.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let known: Vec<&str> = ProblemType::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(headings, known, "one entry per problem type, in the order of session::problem");
        for kind in ProblemType::ALL {
            let entry = error_entry(kind.as_str()).unwrap();
            assert!(entry.contains(&format!("Status: {}", kind.status())), "{kind} states another status");
            assert!(entry.contains("Cause: ") && entry.contains("What to do: "), "{kind}");
            assert_eq!(entry.matches("## ").count(), 1, "{kind} runs into the next entry");
        }
    }
}
