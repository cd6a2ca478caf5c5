//! More time for a session: whose pages may ask for it, and what the controller is told.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use gateway::{ControllerLink, GatewayConfig, LocalLink};
use serde_json::{Value, json};
use service::Problem;
use session::gateway_api::EXTEND;
use session::{ProblemType, Role, Secret};
use tokio::sync::mpsc;

use crate::harness::{Harness, Session};
use crate::page::{Answer, request_with};
use crate::share::{assert_refused, page_token};

const TOKEN: &str = "0123456789abcdef";

/// A gateway whose controller answers with `answer`, and what that is asked: path, bearer, body.
async fn start(answer: fn() -> Response) -> (Harness, mpsc::UnboundedReceiver<(String, String, Value)>) {
    let (tell, asked) = mpsc::unbounded_channel();
    let handler = async move |request: Request| {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        let bearer = head.headers["authorization"].to_str().unwrap().to_owned();
        tell.send((head.uri.path().to_owned(), bearer, serde_json::from_slice(&body).unwrap())).unwrap();
        answer()
    };
    let router = Router::new().route(EXTEND, post(handler));
    let link: Arc<dyn ControllerLink> = Arc::new(LocalLink::new(router, &Secret::new(TOKEN)));
    (Harness::start_linked(GatewayConfig::default(), Some(link)).await, asked)
}

async fn ask(harness: &Harness, session: &Session, role: Role, body: &str) -> Answer {
    let token = page_token(harness, session, role).await;
    let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    request_with(harness, "POST", &format!("/ws/{}/extend", session.id), &headers, body).await
}

fn extended() -> Response {
    Json(json!({"expiresAt": "2026-01-01T01:00:00Z", "maxExpiresAt": "2026-01-02T00:00:00Z"})).into_response()
}

#[tokio::test]
async fn an_operator_s_page_gets_more_time_from_the_controller() {
    let (harness, mut asked) = start(extended).await;
    let session = harness.queued().await;
    let answer = ask(&harness, &session, Role::Operator, r#"{"seconds":900}"#).await;
    assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told, json!({"expiresAt": "2026-01-01T01:00:00Z", "maxExpiresAt": "2026-01-02T00:00:00Z"}));
    let path = format!("/internal/gateway/sessions/{}/extend", session.id);
    assert_eq!(asked.recv().await.unwrap(), (path, format!("Bearer {TOKEN}"), json!({"ttl_seconds": 900})));
}

#[tokio::test]
async fn whoever_watches_gets_none_and_what_cannot_be_read_goes_no_further() {
    let (harness, mut asked) = start(extended).await;
    let session = harness.queued().await;
    assert_refused(&ask(&harness, &session, Role::Viewer, r#"{"seconds":900}"#).await, ProblemType::Forbidden);
    for body in ["", "{}", r#"{"seconds":"1"}"#, r#"{"seconds":1,"x":1}"#, &"x".repeat(10_000)] {
        assert_refused(&ask(&harness, &session, Role::Operator, body).await, ProblemType::InvalidRequest);
    }
    let stranger = "Authorization: Bearer wrong\r\n";
    let path = format!("/ws/{}/extend", session.id);
    let refused = request_with(&harness, "POST", &path, stranger, r#"{"seconds":900}"#).await;
    assert_refused(&refused, ProblemType::PageTokenInvalid);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn the_page_hears_why_it_gets_none_and_nothing_of_what_is_between_the_servers() {
    fn too_much() -> Response {
        Problem::new(ProblemType::ValidationFailed, "ttl_seconds is 9").into_response()
    }
    fn over() -> Response {
        Problem::new(ProblemType::Conflict, "the session has ended").into_response()
    }
    fn stranger() -> Response {
        Problem::new(ProblemType::Unauthorized, "no gateway has this token").into_response()
    }
    for (answer, kind) in [
        (too_much as fn() -> Response, ProblemType::ValidationFailed),
        (over, ProblemType::Conflict),
        (stranger, ProblemType::Unavailable),
    ] {
        let (harness, _asked) = start(answer).await;
        let session = harness.queued().await;
        assert_refused(&ask(&harness, &session, Role::Operator, r#"{"seconds":9}"#).await, kind);
    }
}
