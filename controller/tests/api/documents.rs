//! What explains the API, and what is committed of it.

use std::path::PathBuf;

use crate::stack::Stack;

#[tokio::test]
async fn every_documented_route_answers_and_every_problem_is_explained_where_its_type_leads() {
    let stack = Stack::start().await;
    let openapi = stack.get("/openapi.json").await.json();
    assert_eq!(openapi["openapi"], "3.1.0");
    for operation in controller::api::openapi::OPERATIONS {
        let path = operation.path.replace("{slug}", "capacity").replace("{id}", "x");
        let request = stack.request(operation.method.to_ascii_uppercase().parse().unwrap(), &path);
        let answer = stack.send(request.body(axum::body::Body::empty()).unwrap(), "127.0.0.1:5").await;
        let unknown = answer.text.contains("/docs/errors/not_found") || answer.status == 405;
        assert!(!unknown, "{} {} is documented but not served", operation.method, operation.path);
    }
    for kind in session::ProblemType::ALL {
        let answer = stack.get(&kind.uri()).await;
        assert_eq!(answer.status, 200, "{kind}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(answer.text.starts_with(&format!("## {kind}\n")));
    }
}

#[tokio::test]
async fn the_pages_are_plain_and_need_no_key() {
    let stack = Stack::start().await;
    for path in ["/", "/docs"] {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let answer = stack.send(request, "192.0.2.1:5").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert!(!answer.text.contains("<script") && answer.text.contains("CLI Scale"));
    }
    assert!(stack.get("/docs").await.text.contains("POST /api/sessions"));
    let mut metrics = String::new();
    let response = tower::ServiceExt::oneshot(
        stack.metrics.router(),
        http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap(),
    );
    metrics.push_str(&String::from_utf8_lossy(
        &axum::body::to_bytes(response.await.unwrap().into_body(), 1_000_000).await.unwrap(),
    ));
    assert!(metrics.contains(r#"cliscale_api_requests_total{route="docs",status="2xx"} 3"#), "{metrics}");
}

/// Compares with a committed file, or writes it where `UPDATE_SCHEMA` is set.
fn assert_committed(name: &str, document: &serde_json::Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let text = serde_json::to_string_pretty(document).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/{name} differs from the code; set UPDATE_SCHEMA=1 and run this test to rewrite it"
    );
}

#[test]
fn the_committed_schema_is_the_codes_own() {
    assert_committed("api.schema.json", &session::api::schema());
}

#[test]
fn the_committed_openapi_document_is_the_codes_own() {
    assert_committed("openapi.json", &controller::api::openapi::document());
}
