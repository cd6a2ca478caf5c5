//! Tokens to watch with, for gateways.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use serde_json::{Value, json};
use session::gateway_api::VIEWER_TOKENS;
use session::{EndReason, Ended, Role, SessionId};
use store::Time;

use crate::launching;
use crate::stack::{Answer, GATEWAY_TOKEN, Stack, request_body};

fn request(session: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(Method::POST).uri(VIEWER_TOKENS.replace("{id}", session));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::empty()).unwrap()
}

async fn ask(stack: &Stack, session: &str) -> Answer {
    stack.send_internally(request(session, Some(GATEWAY_TOKEN))).await
}

fn id_of(entry: &Value) -> String {
    entry["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_gateway_gets_a_token_that_the_database_knows_as_a_viewer_s() {
    let (stack, _) = launching::start().await;
    let id = id_of(&stack.create(request_body()).await);
    let answer = ask(&stack, &id).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    let (token, expires_at) = (answer.json()["token"].clone(), answer.json()["expiresAt"].clone());
    let claims = URL_SAFE_NO_PAD.decode(token.as_str().unwrap().split('.').nth(1).unwrap()).unwrap();
    let claims: session::Claims = serde_json::from_slice(&claims).unwrap();
    assert_eq!((claims.sub.to_string(), claims.role), (id, Role::Viewer));
    let expires_at: Time = expires_at.as_str().unwrap().parse().unwrap();
    assert_eq!((claims.exp, claims.exp - claims.iat), (expires_at.as_second(), 300));
    let entered = stack.store.consume_token(&claims.jti, claims.sub, None, Time::now()).await.unwrap();
    assert_eq!(entered, Some(Role::Viewer));
}

#[tokio::test]
async fn whoever_is_no_gateway_gets_none_and_learns_nothing() {
    let (stack, _) = launching::start().await;
    let id = id_of(&stack.create(request_body()).await);
    for session in [&*id, "x"] {
        for token in [None, Some(""), Some("wrong"), Some(&*stack.key)] {
            let problem = stack.send_internally(request(session, token)).await.problem("unauthorized");
            assert_eq!(problem["detail"], "no gateway has this token");
        }
    }
}

#[tokio::test]
async fn the_public_port_has_no_internal_paths() {
    let (stack, _) = launching::start().await;
    let id = id_of(&stack.create(request_body()).await);
    stack.send(request(&id, Some(GATEWAY_TOKEN)), "127.0.0.1:5").await.problem("not_found");
}

#[tokio::test]
async fn a_session_that_forbids_links_has_none_but_an_api_key_still_makes_them() {
    let (stack, _) = launching::start().await;
    let mut body = request_body();
    body["share"] = json!(false);
    let id = id_of(&stack.create(body).await);
    ask(&stack, &id).await.problem("share_forbidden");
    let path = format!("/api/sessions/{id}/tokens");
    assert_eq!(stack.post(&path, json!({"role": "viewer"})).await.status, 201);
}

#[tokio::test]
async fn what_cannot_be_watched_is_said_as_elsewhere() {
    let (stack, _) = launching::start().await;
    for unknown in [SessionId::new().to_string(), "x".to_owned()] {
        ask(&stack, &unknown).await.problem("session_unknown");
    }
    let id = id_of(&stack.create(request_body()).await);
    let ended = Ended::because(EndReason::Cancelled, "for the test");
    stack.store.end(id.parse().unwrap(), None, ended, Time::now()).await.unwrap();
    ask(&stack, &id).await.problem("session_ended");
    // Behind a stock ttyd everybody can type.
    let stock = Stack::start().await;
    let id = id_of(&stock.create(request_body()).await);
    ask(&stock, &id).await.problem("viewer_unsupported");
}

#[tokio::test]
async fn without_the_database_a_gateway_is_put_off() {
    let (stack, _) = launching::start().await;
    let id = id_of(&stack.create(request_body()).await);
    let (file, away) = (stack.path("cliscale.db"), stack.path("away.db"));
    std::fs::rename(&file, &away).unwrap();
    let answer = ask(&stack, &id).await;
    answer.problem("unavailable");
    assert!(!answer.header("retry-after").is_empty());
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(ask(&stack, &id).await.status, 201);
}
