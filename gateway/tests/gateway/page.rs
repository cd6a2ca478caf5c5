//! The page and its files, as a browser gets them.

use gateway::GatewayConfig;
use http::{HeaderMap, header};
use service::PublicAddress;
use session::{Role, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{BOTH, Harness, soon};

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// What the page is told about its link.
    pub fn refusal(&self) -> String {
        let (_, rest) = self.body.split_once(r#"name="cliscale-refusal" content=""#).expect("a page");
        rest.split('"').next().unwrap().to_owned()
    }
}

pub async fn get(harness: &Harness, target: &str) -> Answer {
    request(harness, "GET", target, "").await
}

/// The request as bytes, since clients tidy paths up.
pub async fn request(harness: &Harness, method: &str, target: &str, headers: &str) -> Answer {
    request_with(harness, method, target, headers, "").await
}

/// The same with a body.
pub async fn request_with(harness: &Harness, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    let host = if headers.contains("Host:") { "" } else { "Host: term.example:8080\r\n" };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text = format!("{method} {target} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Answer { status, headers, body: String::from_utf8_lossy(&answer[end + 4..]).into_owned() }
}

#[tokio::test]
async fn loading_the_page_uses_nothing_up() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let token = harness.token(&session, Role::Operator).await;
    for _ in 0..3 {
        let page = get(&harness, &format!("/ws/{}?token={token}", session.id)).await;
        assert_eq!((page.status, page.refusal()), (200, String::new()));
        assert!(!page.body.contains(&token));
    }
    harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    let used = get(&harness, &format!("/ws/{}?token={token}", session.id)).await;
    assert_eq!((used.status, used.refusal()), (401, "token_used".to_owned()));
    assert_eq!(used.headers[header::WWW_AUTHENTICATE], "Bearer");
}

#[tokio::test]
async fn without_a_token_the_shell_is_served_and_an_unknown_session_is_named() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let shell = get(&harness, &format!("/ws/{}", session.id)).await;
    assert_eq!((shell.status, shell.refusal()), (200, String::new()));
    let head = request(&harness, "HEAD", &format!("/ws/{}", session.id), "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.headers[header::CONTENT_LENGTH], shell.headers[header::CONTENT_LENGTH]);
    for path in
        [format!("/ws/{}", SessionId::new()), "/ws/x?token=y".to_owned(), "/ws/%ff".to_owned(), "/ws/_".to_owned()]
    {
        let page = get(&harness, &path).await;
        assert_eq!((page.status, page.refusal()), (404, "session_unknown".to_owned()), "{path}");
    }
    assert_eq!(request(&harness, "POST", &format!("/ws/{}", session.id), "").await.status, 405);
    for rest in ["files", "recordings", "share/", "internal", ""] {
        assert_eq!(get(&harness, &format!("/ws/{}/{rest}", session.id)).await.status, 404, "{rest}");
    }
    assert_eq!(get(&harness, &session::gateway_api::viewer_tokens_path(session.id)).await.status, 404);
}

#[tokio::test]
async fn the_page_says_what_browsers_may_do_with_it() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let page = get(&harness, &format!("/ws/{}", session.id)).await;
    assert_eq!(
        page.headers[header::CONTENT_SECURITY_POLICY],
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self' ws://term.example:8080 wss://term.example:8080; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(page.headers[header::REFERRER_POLICY], "no-referrer");
    assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(!page.headers.contains_key("cross-origin-opener-policy"), "ignored on plain http, with a complaint");
    assert!(page.headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");

    let public_url = Some("https://term.example".parse().unwrap());
    let public = PublicAddress { public_url, ..PublicAddress::default() };
    let secure = Harness::start_with(GatewayConfig { public, ..GatewayConfig::default() }).await;
    let session = secure.queued().await;
    let page = get(&secure, &format!("/ws/{}", session.id)).await;
    assert_eq!(page.headers["cross-origin-opener-policy"], "same-origin");

    let embed_origins = vec!["https://a.example".parse().unwrap(), "http://localhost:3000".parse().unwrap()];
    let embedded = Harness::start_with(GatewayConfig { embed_origins, ..GatewayConfig::default() }).await;
    let session = embedded.queued().await;
    let page = get(&embedded, &format!("/ws/{}", session.id)).await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.ends_with("; frame-ancestors https://a.example http://localhost:3000"), "{policy}");
    assert!(!page.headers.contains_key("cross-origin-opener-policy"));
}

#[tokio::test]
async fn a_site_that_may_not_embed_the_page_is_told_so_in_its_frame() {
    let embed_origins = vec!["https://a.example".parse().unwrap()];
    let harness = Harness::start_with(GatewayConfig { embed_origins, ..GatewayConfig::default() }).await;
    let session = harness.queued().await;
    let token = harness.token(&session, Role::Operator).await;
    let framed = format!("/ws/{}?embed=1", session.id);
    let refused = request(&harness, "GET", &framed, "Referer: https://b.example/page\r\n").await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("<code>https://b.example</code>") && !refused.body.contains("cliscale-refusal"));
    let policy = refused.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");

    let linked = format!("/ws/{}?token={token}", session.id);
    let frame = "Sec-Fetch-Dest: iframe\r\nReferer: https://b.example/\r\n";
    assert_eq!(request(&harness, "GET", &linked, frame).await.status, 403);
    for headers in ["Referer: https://a.example/page\r\n", ""] {
        let page = request(&harness, "GET", &framed, headers).await;
        assert_eq!((page.status, page.refusal()), (200, String::new()), "{headers}");
        assert!(page.body.contains(r#"name="cliscale-embedders" content="https://a.example""#));
    }
    harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
}

#[tokio::test]
async fn nothing_that_a_caller_writes_is_reflected() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let evil = "%3Cscript%3Ealert(1)%3C/script%3E";
    for target in [
        format!("/ws/{evil}"),
        format!("/ws/{}?token={evil}&x={evil}", session.id),
        format!("/ws/{}/{evil}", session.id),
        format!("/ws/_/{evil}.js"),
        "/ws/\"><script>alert(1)</script>".to_owned(),
        format!("/ws/{}?embed=1&token={evil}", session.id),
    ] {
        for headers in [
            "",
            "Referer: https://<script>alert(1)/\r\n",
            "Host: <script>alert(1)\r\n",
            "Upgrade: websocket\r\nOrigin: <script>alert(1)\r\n",
        ] {
            let answer = request(&harness, "GET", &target, headers).await;
            let all = format!("{:?}{}", answer.headers, answer.body);
            assert!(answer.status >= 400 && !all.contains("alert(1)"), "{target} {headers}: {all}");
        }
    }
    let answer = request(&harness, "GET", &format!("/ws/{}", session.id), "Host: a;script-src\r\n").await;
    assert!(!answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("a;script-src"));
}

#[tokio::test]
async fn the_pages_own_files_are_kept_for_ever_and_nothing_else_is_there() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let page = get(&harness, &format!("/ws/{}", session.id)).await;
    let links: Vec<&str> = page.body.split('"').filter(|part| part.starts_with("/ws/_/")).collect();
    assert!(links.len() >= 3, "{links:?}");
    for link in &links {
        let file = get(&harness, link).await;
        assert_eq!(file.status, 200, "{link}");
        assert_eq!(file.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        if link.contains("/assets/") {
            assert_eq!(file.headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        }
        if link.ends_with(".js") {
            assert_eq!(file.headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        }
        let etag = file.headers[header::ETAG].to_str().unwrap();
        let again = request(&harness, "GET", link, &format!("If-None-Match: {etag}\r\n")).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{link}");
        let head = request(&harness, "HEAD", link, "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{link}");
    }
    for path in [
        "/ws/_/",
        "/ws/_/index.html",
        "/ws/_/assets",
        "/ws/_/assets/",
        "/ws/_/../x",
        "/ws/_/assets/../index.html",
        "/ws/_/..%2f..%2fCargo.toml",
        "/ws/_/%2e%2e/%2e%2e/Cargo.toml",
        "/ws/_/assets/none.js",
        "/ws/_//etc/passwd",
        "/ws/_/%ff.js",
    ] {
        assert_eq!(get(&harness, path).await.status, 404, "{path}");
    }
}
