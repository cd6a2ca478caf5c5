//! Moving a session's deadline: how far, by whom, and what is refused.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use session::SessionId;
use session::gateway_api::EXTEND;
use store::Time;

use crate::stack::{Answer, GATEWAY_TOKEN, Stack, fields, request_body};

async fn create(stack: &Stack, ttl: u64, max: u64) -> String {
    let mut body = request_body();
    body["ttl_seconds"] = ttl.into();
    body["max_ttl_seconds"] = max.into();
    stack.create(body).await["sessionId"].as_str().unwrap().to_owned()
}

async fn extend(stack: &Stack, id: &str, seconds: u64) -> Answer {
    stack.post(&format!("/api/sessions/{id}/extend"), json!({ "ttl_seconds": seconds })).await
}

fn time(view: &Value, member: &str) -> i64 {
    view[member].as_str().unwrap().parse::<Time>().unwrap().as_second()
}

#[tokio::test]
async fn a_session_may_be_extended_up_to_its_own_maximum_and_no_further() {
    let stack = Stack::start().await;
    let id = create(&stack, 60, 600).await;
    let answer = extend(&stack, &id, 300).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{}", answer.text);
    let view = answer.json();
    let (created, expires) = (time(&view, "createdAt"), time(&view, "expiresAt"));
    assert!((300..420).contains(&(expires - created)), "{view}");
    assert_eq!(time(&view, "maxExpiresAt") - created, 600);
    assert_eq!(stack.get(&format!("/api/sessions/{id}")).await.json()["expiresAt"], view["expiresAt"]);
    // One that asks for less than there is gets what there is.
    assert_eq!(extend(&stack, &id, 1).await.json()["expiresAt"], view["expiresAt"]);
    // All that is left is given, although some of it went by meanwhile.
    assert_eq!(time(&extend(&stack, &id, 600).await.json(), "expiresAt") - created, 600);
    for seconds in [0, 700, u64::MAX] {
        let problem = extend(&stack, &id, seconds).await.problem("validation_failed");
        assert_eq!(fields(&problem), ["ttl_seconds"], "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("maxExpiresAt"), "{problem}");
    }
}

#[tokio::test]
async fn a_maximum_lies_between_the_first_time_and_the_servers() {
    let stack = Stack::start().await;
    for (ttl, max) in [(60, 59), (60, 86_401), (1, 0)] {
        let mut body = request_body();
        body["ttl_seconds"] = ttl.into();
        body["max_ttl_seconds"] = max.into();
        let problem = stack.post("/api/sessions", body).await.problem("validation_failed");
        assert_eq!(fields(&problem), ["max_ttl_seconds"], "{problem}");
    }
    // Without a time of its own it takes what its maximum leaves of the usual one.
    let mut body = request_body();
    body["max_ttl_seconds"] = 100.into();
    let id = stack.create(body).await["sessionId"].as_str().unwrap().to_owned();
    let view = stack.get(&format!("/api/sessions/{id}")).await.json();
    assert_eq!(time(&view, "expiresAt") - time(&view, "createdAt"), 100);
}

#[tokio::test]
async fn what_has_ended_or_never_was_is_not_extended_and_strangers_extend_nothing() {
    let stack = Stack::start().await;
    let id = create(&stack, 60, 600).await;
    let path = format!("/api/sessions/{id}/extend");
    for body in [json!({}), json!({"seconds": 5}), json!({"ttl_seconds": "5"}), json!({"ttl_seconds": -1})] {
        stack.post(&path, body).await.problem("invalid_request");
    }
    extend(&stack, &SessionId::new().to_string(), 5).await.problem("session_unknown");
    extend(&stack, "x", 5).await.problem("session_unknown");
    let stranger = [("authorization", "Bearer wrong")];
    let asked = Request::builder().method(Method::POST).uri(&path).header("content-type", "application/json");
    let asked = stranger.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value));
    let asked = asked.body(Body::from(r#"{"ttl_seconds":5}"#)).unwrap();
    stack.send(asked, "127.0.0.1:5").await.problem("unauthorized");
    stack.delete(&format!("/api/sessions/{id}")).await;
    extend(&stack, &id, 300).await.problem("conflict");
}

#[tokio::test]
async fn a_gateway_extends_for_its_operators_within_the_same_bounds() {
    let stack = Stack::start().await;
    let id = create(&stack, 60, 600).await;
    let ask = async |token: &str, seconds: u64| {
        let request = Request::builder().method(Method::POST).uri(EXTEND.replace("{id}", &id));
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json");
        let body = json!({ "ttl_seconds": seconds }).to_string();
        stack.send_internally(request.body(Body::from(body)).unwrap()).await
    };
    ask("wrong", 300).await.problem("unauthorized");
    ask(&stack.key, 300).await.problem("unauthorized");
    let answer = ask(GATEWAY_TOKEN, 300).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let view = stack.get(&format!("/api/sessions/{id}")).await.json();
    for member in ["expiresAt", "maxExpiresAt"] {
        assert_eq!(answer.json()[member], view[member], "{member}");
    }
    ask(GATEWAY_TOKEN, 700).await.problem("validation_failed");
}
