//! The database goes away and comes back.

use std::time::{Duration, Instant};

use http::StatusCode;
use rusqlite::Connection;
use serde_json::json;

use crate::stack::{Stack, request_body};

#[tokio::test]
async fn while_the_database_is_locked_requests_are_put_off_and_then_served() {
    let stack = Stack::start().await;
    let holder = Connection::open(stack.path("cliscale.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = stack.post("/api/sessions", request_body()).await;
    let problem = answer.problem("unavailable");
    assert!(!answer.header("retry-after").is_empty(), "{problem}");
    assert!(!answer.text.to_lowercase().contains("sqlite"), "nothing internal is shown: {}", answer.text);
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    stack.create(request_body()).await;
    assert_eq!(stack.get("/api/sessions").await.json()["sessions"].as_array().unwrap().len(), 1);
}

/// Waits until `/healthz` tells this of the database.
async fn until_told(stack: &Stack, healthy: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let health = stack.get("/healthz").await;
        assert_eq!(health.status, StatusCode::OK);
        if health.json()["db_healthy"] == json!(healthy) {
            assert_eq!(health.json()["status"], if healthy { "ok" } else { "degraded" });
            return;
        }
        assert!(Instant::now() < deadline, "{}", health.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn without_the_databases_file_everything_is_put_off_until_it_is_back() {
    let stack = Stack::start().await;
    let session = stack.create(request_body()).await["sessionId"].as_str().unwrap().to_owned();
    until_told(&stack, true).await;
    let (file, away) = (stack.path("cliscale.db"), stack.path("away.db"));
    std::fs::rename(&file, &away).unwrap();
    let path = format!("/api/sessions/{session}");
    let answers = [
        stack.post("/api/sessions", request_body()).await,
        stack.get("/api/sessions").await,
        stack.get(&path).await,
        stack.delete(&path).await,
        stack.post(&format!("{path}/tokens"), json!({"role": "operator"})).await,
    ];
    for answer in answers {
        let problem = answer.problem("unavailable");
        assert!(!answer.header("retry-after").is_empty(), "{problem}");
        assert!(!answer.text.contains("cliscale.db"), "nothing internal is shown: {}", answer.text);
    }
    until_told(&stack, false).await;
    // It would only send callers to another replica with the same database.
    assert_eq!(stack.get("/readyz").await.status, StatusCode::OK);
    std::fs::rename(&away, &file).unwrap();
    until_told(&stack, true).await;
    stack.create(request_body()).await;
    assert_eq!(stack.get("/api/sessions").await.json()["sessions"].as_array().unwrap().len(), 2);
}
