//! Rates and capacity.

use controller::ControllerConfig;
use service::PublicAddress;
use service::config::PerMinute;
use session::ApiKeyId;
use store::{Digest, NewApiKey, Time};

use crate::stack::{Answer, Options, Stack, request_body};

async fn with(config: ControllerConfig) -> Stack {
    Stack::with(Options { config, ..Options::default() }).await
}

async fn create_from(stack: &Stack, peer: &str) -> Answer {
    stack.post_with("/api/sessions", request_body(), &[], peer).await
}

#[tokio::test]
async fn the_sixth_creation_in_a_minute_is_refused_with_limit_scope_setting_and_time() {
    let stack = with(ControllerConfig::default()).await;
    for _ in 0..5 {
        assert_eq!(create_from(&stack, "192.0.2.1:9").await.status, 201);
    }
    let answer = create_from(&stack, "192.0.2.1:10").await;
    let problem = answer.problem("rate_limited");
    let detail = problem["detail"].as_str().unwrap();
    for part in ["5 creations a minute", "client 192.0.2.1", "--create-rate", "CLISCALE_CREATE_RATE"] {
        assert!(detail.contains(part), "{detail}");
    }
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(problem["retry_after_secs"], seconds);
    assert_eq!(create_from(&stack, "192.0.2.2:9").await.status, 201, "another client is not to blame");
    // 60 for clients on this machine.
    for _ in 0..6 {
        assert_eq!(create_from(&stack, "127.0.0.1:9").await.status, 201);
    }
}

#[tokio::test]
async fn repeats_and_refused_bodies_are_no_creations() {
    let stack = with(ControllerConfig::default()).await;
    for _ in 0..10 {
        let answer = stack.post_with("/api/sessions", request_body(), &[("idempotency-key", "k")], "192.0.2.1:9").await;
        assert!(answer.status.is_success(), "{}", answer.text);
        stack.post_with("/api/sessions", "{}", &[], "192.0.2.1:9").await.problem("validation_failed");
    }
    for _ in 0..4 {
        assert_eq!(create_from(&stack, "192.0.2.1:9").await.status, 201);
    }
    create_from(&stack, "192.0.2.1:9").await.problem("rate_limited");
}

#[tokio::test]
async fn a_flood_is_stopped_before_it_is_read() {
    let stack = with(ControllerConfig::default()).await;
    for _ in 0..40 {
        stack.post_with("/api/sessions", "nonsense", &[], "192.0.2.1:9").await.problem("invalid_request");
    }
    let answer = stack.post_with("/api/sessions", "nonsense", &[], "192.0.2.1:9").await;
    let problem = answer.problem("rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("40 attempts"), "{problem}");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn ipv6_clients_of_one_network_share_a_limit() {
    let stack = with(ControllerConfig { create_rate: PerMinute(1), ..ControllerConfig::default() }).await;
    assert_eq!(create_from(&stack, "[2001:db8:0:1::1]:9").await.status, 201);
    let problem = create_from(&stack, "[2001:db8:0:1:ffff::2]:9").await.problem("rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("2001:db8:0:1::/64"), "{problem}");
    assert_eq!(create_from(&stack, "[2001:db8:0:2::1]:9").await.status, 201);
}

#[tokio::test]
async fn a_forged_forwarded_address_gives_no_fresh_limit() {
    let rate = ControllerConfig { create_rate: PerMinute(1), ..ControllerConfig::default() };
    let forge = |stack: &Stack, value: &str| {
        let headers = [("x-forwarded-for", value.to_owned())];
        let request = stack.request(http::Method::POST, "/api/sessions").header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.body(axum::body::Body::from(request_body().to_string())).unwrap()
    };
    let stack = with(rate.clone()).await;
    assert_eq!(stack.send(forge(&stack, "203.0.113.1"), "192.0.2.1:9").await.status, 201);
    stack.send(forge(&stack, "203.0.113.2"), "192.0.2.1:9").await.problem("rate_limited");
    stack.send(forge(&stack, "127.0.0.1"), "192.0.2.1:9").await.problem("rate_limited");

    let public = PublicAddress { public_url: None, trusted_proxy_hops: 1 };
    let behind = with(ControllerConfig { public, ..rate }).await;
    assert_eq!(behind.send(forge(&behind, "203.0.113.1"), "192.0.2.1:9").await.status, 201);
    assert_eq!(behind.send(forge(&behind, "203.0.113.2"), "192.0.2.1:9").await.status, 201);
    behind.send(forge(&behind, "9.9.9.9, 203.0.113.2"), "192.0.2.1:9").await.problem("rate_limited");
}

#[tokio::test]
async fn a_keys_own_rate_counts_by_key_wherever_it_comes_from() {
    let mut stack = with(ControllerConfig { create_rate: PerMinute(1), ..ControllerConfig::default() }).await;
    let (id, key) = (ApiKeyId::new(), "a-key-with-a-rate-of-its-own");
    let hash = Digest::of(key.as_bytes());
    let new = NewApiKey { id, name: "ci".into(), hash, creates_per_minute: Some(2) };
    stack.store.add_api_key(new, Time::now()).await.unwrap();
    stack.key = key.to_owned();
    assert_eq!(create_from(&stack, "192.0.2.1:9").await.status, 201);
    assert_eq!(create_from(&stack, "192.0.2.1:9").await.status, 201);
    let problem = create_from(&stack, "192.0.2.99:9").await.problem("rate_limited");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("API key {id}")) && detail.contains("2 creations a minute"), "{detail}");
}

#[tokio::test]
async fn at_the_most_sessions_the_next_finds_no_room_until_one_ends() {
    let options = Options::default();
    let stack = with(ControllerConfig { max_sessions: Some(2), ..options.config }).await;
    let first = stack.create(request_body()).await;
    stack.create(request_body()).await;
    let answer = create_from(&stack, "127.0.0.1:9").await;
    let problem = answer.problem("capacity");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("limit is 2") && detail.contains("--max-sessions (CLISCALE_MAX_SESSIONS)"), "{detail}");
    assert!(!answer.header("retry-after").is_empty());
    stack.delete(&format!("/api/sessions/{}", first["sessionId"].as_str().unwrap())).await;
    stack.create(request_body()).await;
}
