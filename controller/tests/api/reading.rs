//! What is refused for how it is written.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::stack::{Stack, fields, request_body};

#[tokio::test]
async fn an_unreadable_body_is_refused_with_the_members_path() {
    let stack = Stack::start().await;
    for (change, field) in [
        (json!({"comand": "x"}), "comand"),
        (json!({"command": 7}), "command"),
        (json!({"ttl_seconds": "1h"}), "ttl_seconds"),
        (json!({"cols": 70_000}), "cols"),
        (json!({"env": {"A": 1}}), "env.A"),
        (json!({"code_auth": {"user": "x"}}), "code_auth.user"),
        (json!({"in_place": "yes"}), "in_place"),
    ] {
        let mut body = request_body();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let problem = stack.post("/api/sessions", body).await.problem("invalid_request");
        assert_eq!(fields(&problem), [field], "{problem}");
    }
    for body in ["", "{", "[]", "nonsense", "{} {}", "\u{feff}{}"] {
        stack.post("/api/sessions", body).await.problem("invalid_request");
    }
}

#[tokio::test]
async fn every_value_outside_its_limits_is_named_with_the_limit() {
    let stack = Stack::start().await;
    let body = json!({
        "code_url": "https://user:pw@github.com/o/r.git", "command": "", "install_cmd": "x".repeat(40_000),
        "env": {"1A": "x"}, "labels": {"a": "b c"}, "cols": 0, "ttl_seconds": 86_401, "idle_seconds": 0
    });
    let problem = stack.post("/api/sessions", body).await.problem("validation_failed");
    assert_eq!(
        fields(&problem),
        ["code_url", "command", "install_cmd", "env.1A", "labels.a", "cols", "ttl_seconds", "idle_seconds"]
    );
    let text = problem.to_string();
    for limit in ["32768", "1 to 1000", "1 to 86400", "code_auth"] {
        assert!(text.contains(limit), "{limit} is not named: {text}");
    }
    let local = stack.post("/api/sessions", json!({"code_url": "/etc", "command": "ls"})).await;
    assert_eq!(fields(&local.problem("validation_failed")), ["code_url"]);
}

#[tokio::test]
async fn only_json_of_a_bounded_length_is_read() {
    let stack = Stack::start().await;
    for stated in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"] {
        let request = stack.request(Method::POST, "/api/sessions").header("content-type", stated);
        let answer = stack.send(request.body(Body::from(request_body().to_string())).unwrap(), "127.0.0.1:5").await;
        answer.problem("unsupported_media_type");
    }
    let request =
        stack.request(Method::POST, "/api/sessions").header("content-type", "Application/JSON; charset=utf-8");
    let answer = stack.send(request.body(Body::from(request_body().to_string())).unwrap(), "127.0.0.1:5").await;
    assert_eq!(answer.status, 201);

    let long = format!("{{\"command\":\"{}\"}}", "x".repeat(1024 * 1024));
    let problem = stack.post("/api/sessions", long).await.problem("payload_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("1048576"), "{problem}");
}

#[tokio::test]
async fn a_valid_request_at_every_limit_fits_into_a_body() {
    let stack = Stack::start().await;
    let mut body = request_body();
    body["command"] = json!("\u{1}".repeat(32 * 1024));
    body["prompt"] = json!("\n".repeat(96 * 1024));
    body["install_cmd"] = json!("x".repeat(32 * 1024));
    body["env"] =
        (0..7).map(|n| (format!("E{n}"), json!("\"".repeat(32 * 1024)))).collect::<serde_json::Map<_, _>>().into();
    stack.create(body).await;
}

#[tokio::test]
async fn a_malformed_query_is_refused_with_every_name() {
    let stack = Stack::start().await;
    let problem =
        stack.get("/api/sessions?limit=0&state=done&cursor=x&label=y&sort=up").await.problem("invalid_request");
    assert_eq!(fields(&problem), ["limit", "state", "cursor", "label", "sort"]);
}

#[tokio::test]
async fn unknown_and_ill_formed_ids_are_not_found() {
    let stack = Stack::start().await;
    let unknown = session::SessionId::new().to_string();
    for id in [unknown.as_str(), &unknown.to_uppercase(), "x", "..%2f..%2fetc", "%ff", "%00", "1' OR '1'='1"] {
        let id = id.replace(' ', "%20");
        stack.get(&format!("/api/sessions/{id}")).await.problem("session_unknown");
        stack.delete(&format!("/api/sessions/{id}")).await.problem("session_unknown");
        stack.post(&format!("/api/sessions/{id}/tokens"), json!({"role": "operator"})).await.problem("session_unknown");
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let stack = Stack::start().await;
    for path in ["/nothing", "/api", "/api/sessions/", "/api/sessions/x/y/z", "/docs/errors/nothing", "/ws/x"] {
        stack.get(path).await.problem("not_found");
    }
    let send = |method: Method, path: &'static str| {
        let request = stack.request(method, path).body(Body::empty()).unwrap();
        let stack = &stack;
        async move { stack.send(request, "127.0.0.1:5").await }
    };
    let answer = send(Method::PUT, "/api/sessions").await;
    answer.problem("method_not_allowed");
    let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    send(Method::POST, "/.well-known/jwks.json").await.problem("method_not_allowed");
    // A preflight is no method of ours: /api answers no other origin.
    let preflight = send(Method::OPTIONS, "/api/sessions").await;
    preflight.problem("method_not_allowed");
    assert!(!preflight.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
    let _: Value = preflight.json();
}
