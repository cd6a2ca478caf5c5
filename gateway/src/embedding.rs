//! What a site is shown that puts a terminal into a frame and may not. The browser would enforce the page's
//! `frame-ancestors` without a word that a person understands, so such a request is given this explanation instead: it
//! can be framed by anybody, for it holds no script, no form, no link, and nothing of the session.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::origin::Origin;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The query's member by which a page asks to be one that is embedded.
pub const EMBED: &str = "embed";

/// The site that asks for the page in a frame, where it is known and not on the list. `asked`: by the address itself.
/// What is not known is left to `frame-ancestors`.
pub fn refused_site(asked: bool, headers: &HeaderMap, embed_origins: &[Origin]) -> Option<Origin> {
    let framed = headers
        .get("sec-fetch-dest")
        .is_some_and(|kind| matches!(kind.as_bytes(), b"iframe" | b"frame" | b"object" | b"embed"));
    if !asked && !framed {
        return None;
    }
    let site = Url::parse(headers.get(header::REFERER)?.to_str().ok()?).ok()?;
    Origin::of(&site).ok().filter(|site| !embed_origins.contains(site))
}

/// Answers with the explanation. An origin is made of plain hosts: nothing in it could be markup.
pub fn explain_refusal(site: &Origin) -> Response {
    let html = include_str!("embedding.html").replace("{site}", &site.to_string());
    let mut response = (StatusCode::FORBIDDEN, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(asked: bool, headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        refused_site(asked, &headers, &["https://app.example".parse().unwrap()]).map(|site| site.to_string())
    }

    #[test]
    fn only_a_site_that_is_known_to_be_another_is_refused() {
        let other = ("referer", "https://other.example/page?x=y");
        assert_eq!(refused(true, &[other]).as_deref(), Some("https://other.example"));
        assert_eq!(refused(false, &[other, ("sec-fetch-dest", "iframe")]).as_deref(), Some("https://other.example"));
        assert_eq!(refused(true, &[("referer", "http://app.example/")]).as_deref(), Some("http://app.example"));
        assert_eq!(refused(false, &[other, ("sec-fetch-dest", "document")]), None, "a link that was followed");
        assert_eq!(refused(false, &[other]), None);
        assert_eq!(refused(true, &[("referer", "https://app.example/page")]), None);
        assert_eq!(refused(true, &[]), None);
        assert_eq!(refused(true, &[("referer", "about:blank")]), None);
    }

    #[test]
    fn the_explanation_names_the_site_and_can_do_nothing() {
        let site = "http://other.example:81".parse().unwrap();
        let answer = explain_refusal(&site);
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(!POLICY.contains("script-src") && !POLICY.contains("frame-ancestors"));
        let html = include_str!("embedding.html");
        assert!(html.contains("{site}") && !html.contains("<script") && !html.contains("<a "));
    }
}
