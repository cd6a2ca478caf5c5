//! What was sent in confidence is in no answer and no log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::stack::{Stack, request_body};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const SECRETS: [&str; 5] = ["s3cret-env", "s3cret-prompt", "s3cret-token", "s3cret-user", "s3cret-command"];

fn confidential() -> serde_json::Value {
    let mut body = request_body();
    body["env"] = json!({"TOKEN": "s3cret-env"});
    body["prompt"] = json!("s3cret-prompt");
    body["code_auth"] = json!({"username": "s3cret-user", "token": "s3cret-token"});
    body
}

// The runtime is this thread alone, so that the log of all that happens is captured here.
#[tokio::test(flavor = "current_thread")]
async fn secrets_are_in_no_answer_and_in_no_log() {
    let log = Captured::default();
    // With a single subscriber, what another test's thread logs first would ask that thread's alone whether anybody
    // listens, and be heard here no more.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stack = Stack::start().await;

    let mut body = confidential();
    body["command"] = json!("s3cret-command");
    let created = stack.create(body.clone()).await;
    let id = created["sessionId"].as_str().unwrap().to_owned();
    let jwt = created["sessionJWT"].as_str().unwrap().to_owned();
    let repeated = [("idempotency-key", "k")];
    stack.post_with("/api/sessions", body, &repeated, "127.0.0.1:5").await;

    // The caller's own mistakes must not echo what they held.
    let wrong = [
        ("env", json!("s3cret-env")),
        ("env", json!({"TOKEN": ["s3cret-env"]})),
        ("prompt", json!(["s3cret-prompt"])),
        ("prompt", json!("s3cret-prompt\u{0}")),
        ("code_auth", json!("s3cret-token")),
        ("code_auth", json!({"token": "s3cret-token\n", "username": "s3cret-user:"})),
        ("env", json!({"TOKEN": "s3cret-env\u{0}"})),
    ];
    let mut answers = Vec::new();
    for (name, value) in wrong {
        let mut body = confidential();
        body[name] = value;
        let answer = stack.post("/api/sessions", body).await;
        assert!(answer.status.is_client_error(), "{}", answer.text);
        answers.push(answer.text);
    }
    let path = format!("/api/sessions/{id}");
    answers.push(stack.post(&format!("{path}/tokens"), json!({"role": "s3cret-token"})).await.text);
    let shown = stack.get(&path).await.text;
    assert!(shown.contains("s3cret-command"), "the command is the caller's to see");
    answers.push(shown.replace("s3cret-command", ""));
    answers.push(stack.get("/api/sessions").await.text.replace("s3cret-command", ""));
    answers.push(stack.delete(&path).await.text.replace("s3cret-command", ""));
    for text in &answers {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }

    let key = stack.key.clone();
    stack.stop().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("session created") && log.contains(&id), "the log was not captured");
    let signature = jwt.rsplit('.').next().unwrap();
    for secret in SECRETS.into_iter().chain([key.as_str(), jwt.as_str(), signature]) {
        assert!(!log.contains(secret), "the log holds a secret");
    }
}
