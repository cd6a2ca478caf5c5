//! API keys: who is let in.

use std::os::unix::fs::PermissionsExt;

use axum::body::Body;
use controller::auth::{BootstrapError, BootstrapKey, ensure_bootstrap_key};
use http::Request;
use session::Secret;
use store::Time;

use crate::stack::{Stack, request_body};

#[tokio::test]
async fn no_key_a_wrong_key_and_another_scheme_are_refused_with_different_words() {
    let stack = Stack::start().await;
    let unknown = session::SessionId::new();
    let mut details = std::collections::BTreeSet::new();
    for (authorization, words) in [
        (None, "send an API key"),
        (Some("Basic dTpw".to_owned()), "must read: Bearer KEY"),
        (Some("Bearer".to_owned()), "must read: Bearer KEY"),
        (Some("Bearer csk_wrong".to_owned()), "not known"),
        (Some(format!("Bearer {}x", stack.key)), "not known"),
        (Some(format!("Bearer {}", &stack.key[..stack.key.len() - 1])), "not known"),
        (Some(format!("Bearer {}", "x".repeat(5000))), "not known"),
    ] {
        for (method, path) in [
            ("POST", "/api/sessions".to_owned()),
            ("GET", "/api/sessions".to_owned()),
            ("GET", format!("/api/sessions/{unknown}")),
            ("DELETE", format!("/api/sessions/{unknown}")),
            ("POST", format!("/api/sessions/{unknown}/tokens")),
        ] {
            let mut request = Request::builder().method(method).uri(path).header("host", "h.example");
            if let Some(value) = &authorization {
                request = request.header("authorization", value);
            }
            let answer = stack.send(request.body(Body::from("not even JSON")).unwrap(), "127.0.0.1:5").await;
            let problem = answer.problem("unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            let detail = problem["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(words), "{authorization:?}: {detail}");
            details.insert(detail);
        }
    }
    assert_eq!(details.len(), 3);
    assert!(stack.store.sessions(store::Filter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_schemes_name_may_be_written_in_any_case() {
    let stack = Stack::start().await;
    let request = Request::get("/api/sessions").header("authorization", format!("bearer {}", stack.key));
    assert_eq!(stack.send(request.body(Body::empty()).unwrap(), "127.0.0.1:5").await.status, 200);
}

#[tokio::test]
async fn the_first_key_is_drawn_once_kept_private_and_survives_a_restart() {
    let stack = Stack::start().await;
    let key = stack.key.clone();
    assert!(key.starts_with("csk_") && key.len() == 47, "{} characters", key.len());
    let file = stack.path("api-key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), key);
    let created = stack.create(request_body()).await;

    let stack = stack.restart().await;
    assert_eq!(stack.key, key);
    assert_eq!(stack.store.api_keys().await.unwrap().len(), 1);
    let path = format!("/api/sessions/{}", created["sessionId"].as_str().unwrap());
    assert_eq!(stack.get(&path).await.status, 200);
}

#[tokio::test]
async fn replacing_the_bootstrap_key_ends_the_one_before() {
    let stack = Stack::start().await;
    let given = |text: &str| BootstrapKey::Given(Secret::new(text));
    let new = given("a-new-key-of-thirty-characters");
    ensure_bootstrap_key(&*stack.store, &new, Time::now()).await.unwrap();
    stack.get("/api/sessions").await.problem("unauthorized");
    // And back again.
    let old = BootstrapKey::File(stack.path("api-key"));
    ensure_bootstrap_key(&*stack.store, &old, Time::now()).await.unwrap();
    assert_eq!(stack.get("/api/sessions").await.status, 200);

    for bad in ["short", "with blank inside", "nul\0nul\0nul", &"x".repeat(513)] {
        let refused = ensure_bootstrap_key(&*stack.store, &given(bad), Time::now()).await;
        assert!(matches!(refused, Err(BootstrapError::Shape)), "{bad:?}");
    }
    let missing = BootstrapKey::File(stack.path("nothing"));
    assert!(matches!(
        ensure_bootstrap_key(&*stack.store, &missing, Time::now()).await,
        Err(BootstrapError::File { .. })
    ));
}
