//! Creating, reading and ending sessions, and the ways into them.

use http::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::json;
use session::api::{Entry, SessionView};
use session::claims::AUDIENCE;
use session::{Claims, Role, SessionState};

use crate::stack::{Stack, request_body};

#[tokio::test]
async fn a_created_session_can_be_read_entered_and_ended() {
    let stack = Stack::start().await;
    let answer = stack.post("/api/sessions", request_body()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let entry: Entry = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(answer.header("location"), format!("/api/sessions/{}", entry.session_id));
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = entry.session_jwt.expose();
    assert_eq!(entry.terminal_url, format!("http://term.example:8080/ws/{}?token={token}", entry.session_id));
    assert_eq!(entry.web_socket_url, format!("ws://term.example:8080/ws/{}?token={token}", entry.session_id));
    assert_eq!(entry.role, Role::Operator);

    stack.wait_for(entry.session_id, SessionState::Running).await;
    let path = format!("/api/sessions/{}", entry.session_id);
    let view: SessionView = serde_json::from_str(&stack.get(&path).await.text).unwrap();
    assert_eq!((view.state, view.command.as_str()), (SessionState::Running, "node index.js"));

    for _ in 0..2 {
        let ended = stack.delete(&path).await;
        assert_eq!(ended.status, StatusCode::OK);
        assert_eq!((&ended.json()["state"], &ended.json()["endReason"]), (&json!("ended"), &json!("cancelled")));
    }
    assert_eq!(stack.get(&path).await.json()["state"], "ended");
}

#[tokio::test]
async fn every_answer_has_the_documented_members_in_camel_case() {
    let stack = Stack::start().await;
    let entry = stack.create(request_body()).await;
    let mut names: Vec<_> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut wanted = [
        "sessionId",
        "sessionJWT",
        "terminalUrl",
        "webSocketUrl",
        "tokenExpiresAt",
        "expiresAt",
        "state",
        "stage",
        "role",
    ];
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn a_token_verifies_against_the_served_keys_as_a_stranger_would_do_it() {
    let stack = Stack::start().await;
    let entry = stack.create(request_body()).await;
    let token = entry["sessionJWT"].as_str().unwrap();
    let served = stack.get("/.well-known/jwks.json").await;
    assert_eq!(served.header("cache-control"), "public, max-age=60");
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&served.text).unwrap();
    let header = decode_header(token).unwrap();
    assert_eq!(header.alg, Algorithm::RS256);
    let key = DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&["cliscale"]);
    validation.validate_nbf = true;
    let claims = decode::<Claims>(token, &key, &validation).unwrap().claims;
    assert_eq!(claims.sub.to_string(), entry["sessionId"].as_str().unwrap());
    assert_eq!((claims.exp - claims.iat, claims.jti.len()), (300, 32));
    let told: store::Time = entry["tokenExpiresAt"].as_str().unwrap().parse().unwrap();
    assert_eq!((told.as_second(), told.subsec_nanosecond()), (claims.exp, 0));
    validation.set_audience(&["another"]);
    assert!(decode::<Claims>(token, &key, &validation).is_err());

    // What the database holds is what the token names.
    let session = claims.sub;
    assert!(stack.store.token_waits(&claims.jti, session, store::Time::now()).await.unwrap());
}

#[tokio::test]
async fn a_further_token_differs_from_the_first_and_needs_a_known_role() {
    let stack = Stack::start().await;
    let first = stack.create(request_body()).await;
    let path = format!("/api/sessions/{}/tokens", first["sessionId"].as_str().unwrap());
    let answer = stack.post(&path, json!({"role": "operator"})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert_ne!(answer.json()["sessionJWT"], first["sessionJWT"]);

    let refused = stack.post(&path, json!({"role": "root"})).await;
    assert_eq!(refused.problem("invalid_request")["errors"][0]["field"], "role");
    stack.post(&path, json!({})).await.problem("invalid_request");
    // The fixed backend is a stock ttyd.
    stack.post(&path, json!({"role": "viewer"})).await.problem("viewer_unsupported");
}

#[tokio::test]
async fn an_ended_session_whose_terminal_is_gone_gives_no_token() {
    let stack = Stack::start().await;
    let entry = stack.create(request_body()).await;
    let id = entry["sessionId"].as_str().unwrap();
    stack.delete(&format!("/api/sessions/{id}")).await;
    let runner = stack.store.session(id.parse().unwrap()).await.unwrap().unwrap().runner.unwrap();
    stack.store.runner_gone(runner, store::Time::now()).await.unwrap();
    let answer = stack.post(&format!("/api/sessions/{id}/tokens"), json!({"role": "operator"})).await;
    answer.problem("session_ended");
}

#[tokio::test]
async fn the_same_idempotency_key_and_body_give_the_same_session_and_a_fresh_token() {
    let stack = Stack::start().await;
    let headers = [("idempotency-key", "order-1")];
    let send = |body: serde_json::Value| stack.post_with("/api/sessions", body, &headers, "127.0.0.1:5");
    let (first, second) = (send(request_body()).await, send(request_body()).await);
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!((first.header("idempotent-replayed"), second.header("idempotent-replayed")), ("", "true"));
    assert_eq!(first.json()["sessionId"], second.json()["sessionId"]);
    assert_ne!(first.json()["sessionJWT"], second.json()["sessionJWT"]);

    let mut other = request_body();
    other["command"] = json!("true");
    send(other).await.problem("idempotency_mismatch");
    for bad in ["", " ", "a b", "é", &"x".repeat(256)] {
        let answer = stack.post_with("/api/sessions", request_body(), &[("idempotency-key", bad)], "127.0.0.1:5").await;
        assert_eq!(answer.problem("invalid_request")["errors"][0]["field"], "Idempotency-Key", "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_simultaneous_repeats_exactly_one_creates() {
    let stack = std::sync::Arc::new(Stack::start().await);
    let sends = (0..40).map(|_| {
        let stack = std::sync::Arc::clone(&stack);
        tokio::spawn(async move {
            stack.post_with("/api/sessions", request_body(), &[("idempotency-key", "once")], "127.0.0.1:5").await
        })
    });
    let mut created = 0;
    let mut ids = std::collections::BTreeSet::new();
    for send in sends.collect::<Vec<_>>() {
        let answer = send.await.unwrap();
        created += usize::from(answer.status == StatusCode::CREATED);
        ids.insert(answer.json()["sessionId"].as_str().unwrap().to_owned());
    }
    assert_eq!((created, ids.len()), (1, 1));
    assert_eq!(stack.get("/api/sessions").await.json()["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_is_paged_newest_first_and_filtered() {
    let stack = Stack::start().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let mut body = request_body();
        body["labels"] = json!({"parity": if number % 2 == 0 { "even" } else { "odd" }, "n": number.to_string()});
        ids.push(stack.create(body).await["sessionId"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/api/sessions?limit=3".to_owned();
    loop {
        let page = stack.get(&path).await.json();
        let sessions = page["sessions"].as_array().unwrap();
        seen.extend(sessions.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        assert_eq!(sessions.len(), 3);
        path = format!("/api/sessions?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, ids);

    let count = |query: &'static str| {
        let stack = &stack;
        async move { stack.get(&format!("/api/sessions?{query}")).await.json()["sessions"].as_array().unwrap().len() }
    };
    assert_eq!(count("label=parity=even").await, 4);
    assert_eq!(count("label=parity=even&label=n=2").await, 1);
    stack.delete(&format!("/api/sessions/{}", ids[0])).await;
    assert_eq!(count("state=ended").await, 1);
}
