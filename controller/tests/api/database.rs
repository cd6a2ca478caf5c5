//! The database goes away and comes back.

use rusqlite::Connection;

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
