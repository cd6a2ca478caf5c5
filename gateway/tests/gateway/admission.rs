//! Who enters, and how often: tokens and tickets, good and bad.

use std::sync::atomic::Ordering;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use session::frames::TTY_R1;
use session::{Claims, Role};
use store::{NewToken, Store};

use crate::harness::{BOTH, Harness, STOCK, Session};
use crate::peer::{Dialled, Got};
use crate::runner::FakeRunner;
use crate::signer::Signer;

#[tokio::test]
async fn a_token_enters_once_and_its_holder_is_told_so_the_second_time() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let token = harness.token(&session, Role::Operator).await;
    let mut client = harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    assert_eq!(client.protocol(), TTY_R1);
    let mut attached = runner.accept().await;
    attached.output("hello").await;
    assert_eq!(client.output().await, "hello");

    let again = harness.dial(&session, Some(&token), BOTH, &[]).await.closed().await;
    assert_eq!(again, (4401, "token_used".to_owned()));
    let stock = harness.dial(&session, Some(&token), STOCK, &[]).await.refused();
    assert_eq!(stock, (401, "token_used".to_owned()));
    harness.metric(r#"cliscale_gateway_admissions_total{outcome="admitted_token"} 1"#).await;
    harness.metric(r#"cliscale_gateway_admissions_total{outcome="token_used"} 2"#).await;
}

#[tokio::test]
async fn of_a_hundred_simultaneous_connections_with_one_token_exactly_one_enters() {
    let harness = std::sync::Arc::new(Harness::start().await);
    let session = std::sync::Arc::new(harness.queued().await);
    let token = harness.token(&session, Role::Operator).await;
    let attempts: Vec<_> = (0..100)
        .map(|_| {
            let (harness, session, token) = (harness.clone(), session.clone(), token.clone());
            tokio::spawn(async move { harness.dial(&session, Some(&token), STOCK, &[]).await })
        })
        .collect();
    let mut entered = Vec::new();
    for attempt in attempts {
        match attempt.await.unwrap() {
            open @ Dialled::Open(_) => entered.push(open),
            refused => assert_eq!(refused.refused(), (401, "token_used".to_owned())),
        }
    }
    assert_eq!(entered.len(), 1);
}

/// A token that differs from a good one in one thing, and is known to the database in every other.
async fn forged(harness: &Harness, session: &Session, change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = harness.claims(session, Role::Operator);
    change(&mut claims);
    know(harness, session, &claims).await;
    Signer::ours().sign(&claims)
}

async fn know(harness: &Harness, session: &Session, claims: &Claims) {
    let expires_at = store::Time::now() + std::time::Duration::from_secs(300);
    let token = NewToken { jti: claims.jti.clone(), role: claims.role, expires_at };
    assert!(harness.store.add_token(session.id, token).await.unwrap());
}

#[tokio::test]
async fn a_token_that_is_wrong_in_anything_enters_nowhere_and_the_page_says_why() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let other = harness.queued().await;
    let good = harness.claims(&session, Role::Operator);
    know(&harness, &session, &good).await;
    let ours = Signer::ours();

    let mut cases = Vec::new();
    cases.push(("another session's", "token_invalid", harness.token(&other, Role::Operator).await));
    cases.push(("another audience", "token_invalid", forged(&harness, &session, |c| c.aud = "api".into()).await));
    cases.push(("another issuer", "token_invalid", forged(&harness, &session, |c| c.iss = "evil".into()).await));
    cases.push(("of an hour ago", "token_expired", forged(&harness, &session, |c| c.exp -= 3600).await));
    cases.push(("of the next hour", "token_invalid", forged(&harness, &session, |c| c.nbf += 3600).await));
    cases.push(("unknown to the database", "token_used", ours.sign(&harness.claims(&session, Role::Operator))));
    cases.push(("signed by somebody else under our key's name", "token_invalid", {
        let header = Header { kid: Some(ours.kid.to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &good, &Signer::foreign().key).unwrap()
    }));
    cases.push(("signed by an unknown key", "token_invalid", Signer::foreign().sign(&good)));
    cases.push(("HS256 with the public key as its secret", "token_invalid", {
        let header = Header { kid: Some(ours.kid.to_owned()), ..Header::new(Algorithm::HS256) };
        let public = serde_json::to_vec(&ours.jwk).unwrap();
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(&public)).unwrap()
    }));
    cases.push(("not signed at all", "token_invalid", {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
        let header = BASE64.encode(json!({"alg": "none", "kid": ours.kid}).to_string());
        format!("{header}.{}.", BASE64.encode(serde_json::to_string(&good).unwrap()))
    }));
    cases.push(("without a key id", "token_invalid", {
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &good, &ours.key).unwrap()
    }));
    cases.push(("without a subject", "token_invalid", {
        let mut claims = serde_json::to_value(&good).unwrap();
        claims.as_object_mut().unwrap().remove("sub");
        ours.sign(&claims)
    }));
    cases.push(("garbage", "token_invalid", "x.y.z".to_owned()));
    cases.push(("empty", "token_invalid", String::new()));
    cases.push(("enormous", "token_invalid", "a".repeat(10_000)));
    for (what, expected, token) in cases {
        let page = crate::page::get(&harness, &format!("/ws/{}?token={token}", session.id)).await;
        assert_eq!((page.status, page.refusal()), (401, expected.to_owned()), "the page of a token {what}");
        let ours = harness.dial(&session, Some(&token), BOTH, &[]).await.closed().await;
        assert_eq!(ours, (4401, expected.to_owned()), "a token {what}");
        let stock = harness.dial(&session, Some(&token), STOCK, &[]).await.refused();
        assert_eq!(stock, (401, expected.to_owned()), "a token {what}");
    }
    // None of them used the good one up.
    harness.dial(&session, Some(&ours.sign(&good)), BOTH, &[]).await.open().await;
}

#[tokio::test]
async fn without_token_or_ticket_nobody_enters() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    assert_eq!(harness.dial(&session, None, BOTH, &[]).await.closed().await, (4401, "token_missing".to_owned()));
    assert_eq!(harness.dial(&session, None, STOCK, &[]).await.refused(), (401, "token_missing".to_owned()));
    let unknown = format!("/ws/{}", session::SessionId::new());
    assert_eq!(harness.dial_path(&unknown, BOTH, &[]).await.closed().await, (4404, "session_unknown".to_owned()));
    assert_eq!(harness.dial_path("/ws/x", STOCK, &[]).await.refused(), (404, "session_unknown".to_owned()));
}

#[tokio::test]
async fn a_ticket_brings_the_same_client_back_and_is_replaced_each_time() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let token = harness.token(&session, Role::Viewer).await;
    let first = harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    let before = runner.accept().await;
    let tickets = first.tickets.clone().unwrap();
    assert_ne!(tickets.ticket, tickets.page_token);
    drop(first);

    let offer = |ticket: &str| format!("{BOTH}, ticket.{ticket}");
    let second = harness.dial(&session, None, &offer(&tickets.ticket), &[]).await.open().await;
    assert_eq!(second.protocol(), TTY_R1);
    let after = runner.accept().await;
    for header in [session::runner_api::CLIENT_HEADER, session::runner_api::ROLE_HEADER] {
        assert_eq!(before.headers[header], after.headers[header]);
    }
    assert_eq!(after.headers[session::runner_api::ROLE_HEADER], "viewer");

    // A used token beside a good ticket is no reason to stay out.
    let next = second.tickets.unwrap().ticket;
    let third = harness.dial(&session, Some(&token), &offer(&next), &[]).await.open().await;
    // Now the first ticket's successor was used: presenting the first again means that it was copied.
    let reused = harness.dial(&session, None, &offer(&tickets.ticket), &[]).await.closed().await;
    assert_eq!(reused, (4401, "ticket_reused".to_owned()));
    let ended = harness.dial(&session, None, &offer(&third.tickets.unwrap().ticket), &[]).await.closed().await;
    assert_eq!(ended, (4401, "ticket_expired".to_owned()));

    let other = harness.queued().await;
    let stray = harness.enter(&session, BOTH).await.tickets.unwrap().ticket;
    let foreign = harness.dial(&other, None, &offer(&stray), &[]).await.closed().await;
    assert_eq!(foreign, (4401, "ticket_expired".to_owned()));
}

#[tokio::test]
async fn a_viewer_is_kept_from_a_backend_that_cannot_hold_it_off_and_keeps_its_token() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.fixed(runner.address).await;
    let token = harness.token(&session, Role::Viewer).await;
    for _ in 0..2 {
        let refused = harness.dial(&session, Some(&token), BOTH, &[]).await.closed().await;
        assert_eq!(refused, (4403, "viewer_unsupported".to_owned()));
    }
    let stock = harness.dial(&session, Some(&token), STOCK, &[]).await.refused();
    assert_eq!(stock, (403, "viewer_unsupported".to_owned()));
}

#[tokio::test]
async fn while_the_database_is_away_nobody_enters_and_token_and_ticket_stay_good() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let ticket = harness.enter(&session, BOTH).await.tickets.unwrap().ticket;
    let back = format!("{BOTH}, ticket.{ticket}");
    let token = harness.token(&session, Role::Operator).await;
    let aside = harness.database.with_extension("aside");
    std::fs::rename(&harness.database, &aside).unwrap();
    assert_eq!(harness.dial(&session, Some(&token), BOTH, &[]).await.closed().await, (1013, "unavailable".to_owned()));
    match harness.dial(&session, Some(&token), STOCK, &[]).await {
        Dialled::Refused { status: 503, headers, .. } => {
            assert!(headers.contains_key(http::header::RETRY_AFTER));
        }
        other => panic!("{:?}", other.refused()),
    }
    // Nor is anybody told that a token is bad whose ticket may be good.
    for token in [None, Some("x")] {
        let refused = harness.dial(&session, token, &back, &[]).await.closed().await;
        assert_eq!(refused, (1013, "unavailable".to_owned()));
    }
    // The page keeps its token and tries by itself, so it is not told that the link is bad.
    let page = crate::page::get(&harness, &format!("/ws/{}?token={token}", session.id)).await;
    assert_eq!((page.status, page.refusal()), (200, String::new()));
    std::fs::rename(&aside, &harness.database).unwrap();
    harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    harness.dial(&session, Some("x"), &back, &[]).await.open().await;
    // Where neither is good, it is the token that is told of.
    let stale = harness.dial(&session, Some("x"), &format!("{BOTH}, ticket.x"), &[]).await.closed().await;
    assert_eq!(stale, (4401, "token_invalid".to_owned()));
    let nowhere = format!("/ws/{}?token=x", session::SessionId::new());
    assert_eq!(harness.dial_path(&nowhere, &back, &[]).await.closed().await, (4404, "session_unknown".to_owned()));
}

#[tokio::test]
async fn known_keys_outlive_their_source_and_an_unknown_one_is_not_called_invalid_meanwhile() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    harness.enter(&session, BOTH).await;
    harness.jwks.away.store(true, Ordering::SeqCst);
    harness.enter(&session, BOTH).await;
    // Wait until a lookup for an unknown key really asks the source.
    let before = harness.jwks.fetches.load(Ordering::SeqCst);
    let claims = harness.claims(&session, Role::Operator);
    let mut number = 0;
    let refusal = loop {
        number += 1;
        let header = Header { kid: Some(format!("new-{number}")), ..Header::new(Algorithm::RS256) };
        let token = jsonwebtoken::encode(&header, &claims, &Signer::foreign().key).unwrap();
        let refusal = harness.dial(&session, Some(&token), STOCK, &[]).await.refused();
        if harness.jwks.fetches.load(Ordering::SeqCst) > before {
            break refusal;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(refusal, (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn a_session_that_is_over_shows_its_end_to_our_page_and_410_to_others() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    harness.end_and_forget(&session, 7).await;
    let token = harness.token(&session, Role::Operator).await;
    assert_eq!(harness.dial(&session, Some(&token), STOCK, &[]).await.refused(), (410, "session_ended".to_owned()));
    // 410 did not use the token up.
    let mut client = harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    crate::waiting::expect_end(&mut client, 7).await;
    // And the tab can be reloaded.
    let ticket = client.tickets.unwrap().ticket;
    let mut again = harness.dial(&session, None, &format!("{BOTH}, ticket.{ticket}"), &[]).await.open().await;
    crate::waiting::expect_end(&mut again, 7).await;

    let stock = harness.fixed(runner.address).await;
    harness.end_and_forget(&stock, 0).await;
    let mut client = harness.enter(&stock, BOTH).await;
    assert!(matches!(client.frame().await, Got::Frame(session::frames::ServerFrame::Exit(_))));
}
