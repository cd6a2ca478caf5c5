//! A one-time token that becomes a page token without anybody entering, and the page that uses it.

use http::header;
use serde_json::Value;
use session::{ProblemType, Role, SessionId};

use crate::harness::{BOTH, Harness};
use crate::page::{Answer, get, request};
use crate::share::{ask as share, assert_refused};

async fn exchange(harness: &Harness, session: &str, token: &str) -> Answer {
    let headers = format!("Authorization: Bearer {token}\r\n");
    request(harness, "POST", &format!("/ws/{session}/page-token"), &headers).await
}

#[tokio::test]
async fn a_token_is_used_up_for_a_page_token_of_its_role() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let id = session.id.to_string();
    for (role, may_share) in [(Role::Operator, true), (Role::Viewer, false)] {
        let token = harness.token(&session, role).await;
        let answer = exchange(&harness, &id, &token).await;
        assert_eq!((answer.status, &answer.headers[header::CACHE_CONTROL]), (200, &"no-store".parse().unwrap()));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["role"], role.as_str());
        let page_token = body["pageToken"].as_str().unwrap();
        assert_eq!(share(&harness, &id, page_token).await.status == 200, may_share);
        // Neither a second time, nor at the terminal.
        assert_refused(&exchange(&harness, &id, &token).await, ProblemType::TokenUsed);
        let (code, why) = harness.dial(&session, Some(&token), BOTH, &[]).await.closed().await;
        assert_eq!((code, why.as_str()), (4401, "token_used"));
    }
}

#[tokio::test]
async fn a_session_that_is_over_still_gives_one() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let token = harness.token(&session, Role::Viewer).await;
    harness.end_and_forget(&session, 0).await;
    assert_eq!(exchange(&harness, &session.id.to_string(), &token).await.status, 200);
}

#[tokio::test]
async fn what_is_no_token_of_the_session_gives_none_and_is_not_used_up() {
    let harness = Harness::start().await;
    let (session, other) = (harness.queued().await, harness.queued().await);
    let token = harness.token(&session, Role::Operator).await;
    for id in [other.id.to_string(), SessionId::new().to_string(), "%ff".to_owned()] {
        assert_refused(&exchange(&harness, &id, &token).await, ProblemType::TokenInvalid);
    }
    let id = session.id.to_string();
    assert_refused(&exchange(&harness, &id, "x.y.z").await, ProblemType::TokenInvalid);
    let path = format!("/ws/{id}/page-token");
    assert_refused(&request(&harness, "POST", &path, "").await, ProblemType::TokenMissing);
    assert_refused(&request(&harness, "GET", &path, "").await, ProblemType::MethodNotAllowed);
    assert_eq!(exchange(&harness, &id, &token).await.status, 200);
}

#[tokio::test]
async fn the_page_that_shows_a_recording_is_the_same_for_every_session() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let page = get(&harness, &format!("/ws/{}/recording", session.id)).await;
    assert_eq!((page.status, &page.headers[header::CACHE_CONTROL]), (200, &"no-store".parse().unwrap()));
    assert!(page.body.contains("<title>Recording"), "{}", page.body);
    let terminal = get(&harness, &format!("/ws/{}", session.id)).await;
    for name in ["content-type", "content-security-policy", "referrer-policy", "permissions-policy"] {
        assert_eq!(page.headers[name], terminal.headers[name], "{name}");
    }
    let token = harness.token(&session, Role::Viewer).await;
    let unknown = get(&harness, &format!("/ws/{}/recording?token={token}", SessionId::new())).await;
    assert_eq!((unknown.status, unknown.body), (200, page.body));
    // Loading it uses nothing up.
    assert_eq!(exchange(&harness, &session.id.to_string(), &token).await.status, 200);
}
