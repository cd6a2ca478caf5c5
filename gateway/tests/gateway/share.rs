//! Read-only links: who gets one, and what it is good for.

use gateway::GatewayConfig;
use http::header;
use serde_json::Value;
use service::PublicAddress;
use session::runner_api::ROLE_HEADER;
use session::{ProblemType, Role, SessionId};

use crate::harness::{BOTH, Harness, Session};
use crate::page::{Answer, request};
use crate::runner::FakeRunner;

/// Asks with a page token.
pub async fn ask(harness: &Harness, session: &str, page_token: &str) -> Answer {
    request(harness, "POST", &format!("/ws/{session}/share"), &format!("Authorization: Bearer {page_token}\r\n")).await
}

/// The link that was handed out.
#[track_caller]
pub fn link(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let link: Value = serde_json::from_str(&answer.body).unwrap();
    link["url"].as_str().unwrap().to_owned()
}

#[track_caller]
pub fn assert_refused(answer: &Answer, kind: ProblemType) {
    assert_eq!(answer.status, kind.status(), "{}", answer.body);
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["type"], kind.uri());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

/// The page token of somebody who has just entered.
pub async fn page_token(harness: &Harness, session: &Session, role: Role) -> String {
    let token = harness.token(session, role).await;
    let client = harness.dial(session, Some(&token), BOTH, &[]).await.open().await;
    client.tickets.unwrap().page_token
}

#[tokio::test]
async fn an_operator_s_page_gets_a_link_that_lets_one_viewer_in() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let operator = page_token(&harness, &session, Role::Operator).await;
    runner.accept().await;

    let answer = ask(&harness, &session.id.to_string(), &operator).await;
    let link = link(&answer);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let expires_at: Value = serde_json::from_str(&answer.body).unwrap();
    let expires_at: store::Time = expires_at["expiresAt"].as_str().unwrap().parse().unwrap();
    assert!(expires_at > store::Time::now());
    let token = link.strip_prefix(&format!("http://term.example:8080/ws/{}?token=", session.id)).unwrap();
    harness.dial(&session, Some(token), BOTH, &[]).await.open().await;
    assert_eq!(runner.accept().await.headers[ROLE_HEADER], "viewer");
    let again = harness.dial(&session, Some(token), BOTH, &[]).await.closed().await;
    assert_eq!(again, (4401, "token_used".to_owned()));
    harness.metric(r#"cliscale_gateway_shares_total{outcome="shared"} 1"#).await;
}

#[tokio::test]
async fn whoever_watches_hands_out_nothing() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let viewer = page_token(&harness, &session, Role::Viewer).await;
    assert_refused(&ask(&harness, &session.id.to_string(), &viewer).await, ProblemType::Forbidden);
}

#[tokio::test]
async fn without_a_page_token_of_the_session_nobody_learns_whether_there_is_one() {
    let harness = Harness::start().await;
    let (session, other) = (harness.queued().await, harness.queued().await);
    let good = page_token(&harness, &session, Role::Operator).await;
    let path = |id: &dyn std::fmt::Display| format!("/ws/{id}/share");
    let mut answers = Vec::new();
    for id in [session.id.to_string(), other.id.to_string(), SessionId::new().to_string(), "x".into(), "%ff".into()] {
        for headers in [
            String::new(),
            "Authorization: Bearer\r\n".to_owned(),
            "Authorization: Bearer wrong\r\n".to_owned(),
            format!("Authorization: Basic {good}\r\n"),
            format!("Authorization: Bearer {}\r\n", "x".repeat(4000)),
            format!("Authorization: Bearer {}\r\n", harness.token(&session, Role::Operator).await),
        ] {
            let answer = request(&harness, "POST", &path(&id), &headers).await;
            assert_refused(&answer, ProblemType::PageTokenInvalid);
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
            answers.push(answer.body);
        }
        if id != session.id.to_string() {
            answers.push(ask(&harness, &id, &good).await.body);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    link(&ask(&harness, &session.id.to_string(), &good).await);
}

#[tokio::test]
async fn a_tab_that_was_locked_out_hands_out_nothing_any_more() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let client = harness.enter(&session, BOTH).await;
    let first = client.tickets.clone().unwrap();
    drop(client);
    let offer = |ticket: &str| format!("{BOTH}, ticket.{ticket}");
    let second = harness.dial(&session, None, &offer(&first.ticket), &[]).await.open().await.tickets.unwrap();
    let third = harness.dial(&session, None, &offer(&second.ticket), &[]).await.open().await.tickets.unwrap();
    // As long as the tab is in the session, so are the page tokens that it was given before.
    link(&ask(&harness, &session.id.to_string(), &first.page_token).await);
    harness.dial(&session, None, &offer(&first.ticket), &[]).await.closed().await;
    for tickets in [first, second, third] {
        let answer = ask(&harness, &session.id.to_string(), &tickets.page_token).await;
        assert_refused(&answer, ProblemType::PageTokenInvalid);
    }
}

#[tokio::test]
async fn a_session_may_forbid_links() {
    let harness = Harness::start().await;
    let session = harness.unshared().await;
    let operator = page_token(&harness, &session, Role::Operator).await;
    let answer = ask(&harness, &session.id.to_string(), &operator).await;
    assert_refused(&answer, ProblemType::ShareForbidden);
    harness.metric(r#"cliscale_gateway_shares_total{outcome="share_forbidden"} 1"#).await;
}

#[tokio::test]
async fn links_are_counted_by_session() {
    let harness = Harness::start().await;
    let (session, other) = (harness.queued().await, harness.queued().await);
    let operator = page_token(&harness, &session, Role::Operator).await;
    let id = session.id.to_string();
    for _ in 0..12 {
        link(&ask(&harness, &id, &operator).await);
    }
    let answer = ask(&harness, &id, &operator).await;
    assert_refused(&answer, ProblemType::RateLimited);
    assert!(answer.body.contains("12 a minute for one session"), "{}", answer.body);
    let seconds: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // Whoever has no page token uses nobody's limit up, and another session has its own.
    let operator = page_token(&harness, &other, Role::Operator).await;
    for _ in 0..20 {
        assert_refused(&ask(&harness, &other.id.to_string(), "wrong").await, ProblemType::PageTokenInvalid);
    }
    link(&ask(&harness, &other.id.to_string(), &operator).await);
}

#[tokio::test]
async fn the_link_leads_to_the_public_address() {
    let public_url = Some("https://term.example".parse().unwrap());
    let public = PublicAddress { public_url, ..PublicAddress::default() };
    let harness = Harness::start_with(GatewayConfig { public, ..GatewayConfig::default() }).await;
    let session = harness.queued().await;
    let operator = page_token(&harness, &session, Role::Operator).await;
    let link = link(&ask(&harness, &session.id.to_string(), &operator).await);
    assert!(link.starts_with(&format!("https://term.example/ws/{}?token=", session.id)), "{link}");
}

#[tokio::test]
async fn while_the_database_is_away_links_are_put_off() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let operator = page_token(&harness, &session, Role::Operator).await;
    let aside = harness.database.with_extension("aside");
    std::fs::rename(&harness.database, &aside).unwrap();
    let answer = ask(&harness, &session.id.to_string(), &operator).await;
    assert_refused(&answer, ProblemType::Unavailable);
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    std::fs::rename(&aside, &harness.database).unwrap();
    link(&ask(&harness, &session.id.to_string(), &operator).await);
}

#[tokio::test]
async fn links_are_asked_for_by_post() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = request(&harness, method, &format!("/ws/{}/share", session.id), "").await;
        assert_refused(&answer, ProblemType::MethodNotAllowed);
        assert_eq!(answer.headers[header::ALLOW], "POST", "{method}");
    }
}
