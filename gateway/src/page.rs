//! The page at `/ws/{id}`: the embedded shell, with the reason filled in when the link's token is no good. Loading it
//! uses nothing up; without a token it holds nothing, so the WebSocket is what decides.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use session::{ProblemType, SessionId};

use crate::admission::session_unknown;
use crate::assets;
use crate::origin::{Origin, is_plain_host};
use crate::{GatewayConfig, Inner};

/// The attribute that the build script found in the page.
const REFUSAL: &str = r#"<meta name="cliscale-refusal" content=""#;
/// Another, for the sites whose messages the page listens to.
const EMBEDDERS: &str = r#"<meta name="cliscale-embedders" content=""#;

const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
    magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

/// The shell, in two halves around the refusal's slug.
pub struct Page {
    before: String,
    after: String,
    /// Shows recordings. It holds nothing of any session: the request for the recording is what decides.
    player: String,
    /// The `frame-ancestors` source list.
    ancestors: String,
    embeddable: bool,
}

impl Page {
    pub fn new(embed_origins: &[Origin]) -> Self {
        let names: Vec<String> = embed_origins.iter().map(Origin::to_string).collect();
        let names = names.join(" ");
        // Of plain hosts: nothing in them could end the attribute.
        let html = assets::index().replacen(EMBEDDERS, &format!("{EMBEDDERS}{names}"), 1);
        let at = html.find(REFUSAL).map_or(html.len(), |at| at + REFUSAL.len());
        let (before, after) = html.split_at(at);
        Self {
            before: before.to_owned(),
            after: after.to_owned(),
            player: assets::player(),
            embeddable: !names.is_empty(),
            ancestors: if names.is_empty() { "'none'".to_owned() } else { names },
        }
    }

    /// `base` is the public address, where the request tells it.
    fn render(&self, refusal: Option<ProblemType>, base: Option<&str>) -> Response {
        // Of a closed set: nothing that a caller chose gets into the page.
        let slug = refusal.map_or("", ProblemType::as_str);
        let html = format!("{}{slug}{}", self.before, self.after);
        let status = refusal.and_then(|kind| StatusCode::from_u16(kind.status()).ok()).unwrap_or(StatusCode::OK);
        let mut response = self.document(html, base);
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn document(&self, html: String, base: Option<&str>) -> Response {
        let mut response = Response::new(Body::from(html));
        let headers = response.headers_mut();
        self.insert_policy(headers, base);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn insert_policy(&self, headers: &mut HeaderMap, base: Option<&str>) {
        let (scheme, host) = base.and_then(|base| base.split_once("://")).unzip();
        // A plain host and origins that were checked when they were read: these are header values.
        if let Ok(policy) = HeaderValue::try_from(content_security_policy(host, &self.ancestors)) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
        // Browsers ignore it on plain http, with a complaint on the page's console.
        if !self.embeddable && scheme == Some("https") {
            headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        }
    }
}

/// `'self'` covers the page's own WebSocket in browsers of today; older ones need it by name. xterm.js writes its sizes
/// and colours into style elements, hence `'unsafe-inline'` for styles and for nothing else. What decodes the terminal's
/// pictures is WebAssembly, which `'wasm-unsafe-eval'` allows; it allows no script to be made of text.
fn content_security_policy(host: Option<&str>, ancestors: &str) -> String {
    let sockets =
        host.filter(|host| is_plain_host(host)).map_or(String::new(), |host| format!(" ws://{host} wss://{host}"));
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'{sockets}; \
         base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )
}

/// Answers with the page.
pub async fn show_page(
    gateway: &Inner,
    session: Option<SessionId>,
    token: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let refusal = match session {
        Some(session) => find_refusal(gateway, session, token).await,
        None => Some(session_unknown().kind),
    };
    let GatewayConfig { public, .. } = &gateway.config;
    gateway.page.render(refusal, public.base(headers).as_deref())
}

/// `GET /ws/{id}/recording`: the page that shows a recording, whatever the id.
pub async fn show_player(State(gateway): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let base = gateway.config.public.base(&headers);
    gateway.page.document(gateway.page.player.clone(), base.as_deref())
}

async fn find_refusal(gateway: &Inner, session: SessionId, token: Option<&str>) -> Option<ProblemType> {
    match gateway.store.route(session).await {
        Ok(Some(_)) => {}
        Ok(None) => return Some(ProblemType::SessionUnknown),
        Err(error) => {
            // Nothing was found against the token. The page tries to enter with it, and tries again while we cannot tell.
            tracing::warn!(%error, "the page is served unchecked");
            return None;
        }
    }
    let refusal = gateway.admission.check_token(token?, session).await.err()?;
    (refusal.status() < 500).then_some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_could_end_a_directive_is_left_out_of_the_policy() {
        assert!(
            content_security_policy(Some("a.example:81"), "'none'")
                .contains("connect-src 'self' ws://a.example:81 wss://a.example:81;")
        );
        assert!(content_security_policy(Some("a;script-src"), "'none'").contains("connect-src 'self';"));
    }

    #[test]
    fn the_built_page_has_a_place_for_the_refusal() {
        let page = Page::new(&[]);
        assert!(page.before.ends_with(REFUSAL) && page.after.starts_with("\">"));
    }

    #[test]
    fn the_page_knows_the_sites_that_may_embed_it() {
        let page = Page::new(&["https://a.example".parse().unwrap(), "http://b.example:81".parse().unwrap()]);
        let html = format!("{}{}", page.before, page.after);
        assert!(
            html.contains(r#"name="cliscale-embedders" content="https://a.example http://b.example:81">"#),
            "{html}"
        );
    }
}
