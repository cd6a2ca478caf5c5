//! Values that try to be more than values.

use axum::body::Body;
use controller::ControllerConfig;
use http::{Method, Request};
use serde_json::json;
use service::PublicAddress;
use url::Url;

use crate::stack::{Options, Stack, request_body};

const SCRIPT: &str = "<script>alert(1)</script>";

#[tokio::test]
async fn html_in_any_value_comes_back_as_json_only() {
    let stack = Stack::start().await;
    let mut body = request_body();
    body["command"] = json!(format!("echo '{SCRIPT}'"));
    body["code_url"] = json!("https://github.com/o/r/tree/main/%3Cscript%3E");
    let id = stack.create(body).await["sessionId"].as_str().unwrap().to_owned();
    let mut unknown = request_body();
    unknown[SCRIPT] = json!(1);
    let answers = [
        stack.get(&format!("/api/sessions/{id}")).await,
        stack.get("/api/sessions").await,
        stack.post("/api/sessions", unknown).await,
        stack.post("/api/sessions", json!({"code_url": SCRIPT, "command": "x", "env": {SCRIPT: "x"}})).await,
        stack.get("/api/sessions?%3Cscript%3E=1").await,
        stack.get("/%3Cscript%3Ealert(1)%3C/script%3E").await,
        stack.get("/docs/errors/%3Cscript%3E").await,
        stack.get("/api/sessions/%3Cscript%3E").await,
    ];
    for answer in answers {
        let kind = answer.header("content-type");
        assert!(kind == "application/json" || kind == "application/problem+json", "{kind}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        answer.json();
    }
}

#[tokio::test]
async fn a_host_that_is_no_host_gets_into_no_url() {
    let stack = Stack::start().await;
    let create = |host: &str| {
        let mut request = Request::builder().method(Method::POST).uri("/api/sessions");
        if !host.is_empty() {
            request = request.header("host", host);
        }
        let request =
            request.header("authorization", format!("Bearer {}", stack.key)).header("content-type", "application/json");
        request.body(Body::from(request_body().to_string())).unwrap()
    };
    for host in
        ["", "evil.example/<script>", "user@evil.example", "a b", "evil.example?x", "\"><img", "javascript:alert(1)"]
    {
        let answer = stack.send(create(host), "127.0.0.1:5").await;
        let problem = answer.problem("invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains("Host"), "{problem}");
        assert!(!answer.text.contains("evil"), "{}", answer.text);
    }
    assert!(
        stack.store.sessions(store::Filter::default()).await.unwrap().is_empty(),
        "a refused request made a session"
    );

    let public = PublicAddress { public_url: Some(Url::parse("https://term.example").unwrap()), trusted_proxy_hops: 0 };
    let fixed =
        Stack::with(Options { config: ControllerConfig { public, ..Options::default().config }, ..Options::default() })
            .await;
    let request = fixed.request(Method::POST, "/api/sessions").header("content-type", "application/json");
    let answer = fixed.send(request.body(Body::from(request_body().to_string())).unwrap(), "127.0.0.1:5").await.json();
    assert!(answer["terminalUrl"].as_str().unwrap().starts_with("https://term.example/ws/"));
    assert!(answer["webSocketUrl"].as_str().unwrap().starts_with("wss://term.example/ws/"));
}
