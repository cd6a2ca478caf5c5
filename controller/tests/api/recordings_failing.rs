//! Recordings in a real S3-compatible server, and stores that fail: the runner is told to try again, everything else goes
//! on, and metrics say what it was.

use axum::Router;
use axum::http::StatusCode;
use controller::recording::RecordingSettings;
use testkit::s3::{BUCKET, S3Server};
use tokio::net::TcpListener;

use crate::recordings::{HEADER, Recorder, event, in_folder, options, settings, until_joined};
use crate::stack::{Options, Stack, request_body};

fn in_bucket(endpoint: &str) -> Options {
    let url = format!("s3://{BUCKET}/of/recordings").parse().unwrap();
    let given = [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ACCESS_KEY_ID", "a-key"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        ("AWS_REGION", "us-east-1"),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    options(RecordingSettings { options: given.into(), ..settings(&url) })
}

async fn failures(stack: &Stack, kind: &str) -> f64 {
    stack.metric(&format!("cliscale_recording_failures_total{{kind=\"{kind}\"}}")).await
}

/// A chunk is refused for now, as it is said to be, and the rest of the server goes on.
async fn is_put_off(stack: &Stack, recorder: &Recorder, next: u32, kind: &str) {
    let before = failures(stack, kind).await;
    let answer = recorder.send(stack, &recorder.chunk_of(next), false).await;
    answer.problem("unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert!(failures(stack, kind).await > before, "counted as something else than {kind}");
    assert_eq!(stack.post("/api/sessions", request_body()).await.status, StatusCode::CREATED);
    assert_eq!(stack.get(&format!("/api/sessions/{}", recorder.session)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bucket_keeps_recordings_as_a_folder_does() {
    let server = S3Server::start().await.unwrap();
    let stack = Stack::with(in_bucket(&server.endpoint())).await;
    let twin = stack.twin(in_bucket(&server.endpoint())).await;
    let mut small = Recorder::start(&stack).await;
    small.recording(&stack).await.problem("recording_not_found");
    small.record(&stack, 0..12).await;
    assert_eq!(small.recording(&twin).await.text, small.whole);
    small.put(&twin, &event("x", "0"), true).await;
    small.send(&stack, "", true).await;
    assert_eq!(until_joined(&stack, &small).await.text, small.whole);
    assert_eq!(until_joined(&twin, &small).await.text, small.whole);
    // More than a part of an upload.
    let mut large = Recorder::start(&stack).await;
    large.record(&stack, 0..1).await;
    for line in 0..32 {
        large.put(&stack, &event("o", &format!("{line} {}\r\n", "x".repeat(200_000))), line == 31).await;
    }
    assert!(large.whole.len() > 6 * 1024 * 1024);
    assert!(until_joined(&stack, &large).await.text == large.whole, "the joined recording is another");
    twin.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_bucket_that_refuses_or_is_held_up_or_gone_is_tried_again() {
    let mut server = S3Server::start().await.unwrap();
    let stack = Stack::with(in_bucket(&server.endpoint())).await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..3).await;
    server.refuse_all(true).await.unwrap();
    is_put_off(&stack, &recorder, 3, "denied").await;
    recorder.recording(&stack).await.problem("unavailable");
    server.refuse_all(false).await.unwrap();
    recorder.record(&stack, 3..5).await;
    server.pause().await.unwrap();
    is_put_off(&stack, &recorder, 5, "away").await;
    server.resume().await.unwrap();
    recorder.record(&stack, 5..8).await;
    assert_eq!(recorder.recording(&stack).await.text, recorder.whole);
    server.kill().await.unwrap();
    is_put_off(&stack, &recorder, 8, "away").await;
    server.restart().await.unwrap();
    let mut later = Recorder::start(&stack).await;
    later.record(&stack, 0..2).await;
    assert_eq!(later.recording(&stack).await.text, later.whole);
    stack.stop().await;
}

#[tokio::test]
async fn a_bucket_without_room_is_said_to_be_full() {
    // What servers with a quota answer; the one above has none.
    let full = "<?xml version=\"1.0\"?><Error><Code>QuotaExceeded</Code><Message>no room</Message></Error>";
    let answer = move || async move { (StatusCode::FORBIDDEN, full) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let stack = Stack::with(in_bucket(&endpoint)).await;
    let recorder = Recorder::start(&stack).await;
    is_put_off(&stack, &recorder, 0, "full").await;
    serving.abort();
    stack.stop().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_keeps_what_comes_later() {
    let (stack, folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..2).await;
    // A file is where the session's folder was: nobody can write below it, not even root.
    let place = folder.path().join(recorder.session.to_string());
    let aside = folder.path().join("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, HEADER).unwrap();
    is_put_off(&stack, &recorder, 2, "other").await;
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    recorder.record(&stack, 2..4).await;
    assert_eq!(recorder.recording(&stack).await.text, recorder.whole);
    stack.stop().await;
}
