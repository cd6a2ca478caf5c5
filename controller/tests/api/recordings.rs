//! Recordings: what runners may put, and what callers get.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use controller::launcher::Launcher;
use controller::recording::RecordingSettings;
use http::{Method, Request, StatusCode};
use serde_json::json;
use session::gateway_api::{log_path, recording_path};
use session::recording::{Chunk, MAX_CHUNK, MEDIA_TYPE};
use session::{EndReason, Ended, RunnerId, SessionId, Stage};
use store::Time;
use url::Url;

use crate::launching::{Engine, add_standby};
use crate::stack::{Answer, GATEWAY_TOKEN, Options, Stack, request_body};

/// Of `add_standby`.
const SECRET: &str = "5555555555555555555555555555555555555555555555555555555555555555";
pub const HEADER: &str = "{\"version\":3,\"term\":{\"cols\":40,\"rows\":5}}\n";

/// A runner that records a session of its own.
pub struct Recorder {
    pub session: SessionId,
    pub runner: RunnerId,
    /// What it has put.
    pub whole: String,
    number: u64,
}

pub fn settings(url: &Url) -> RecordingSettings {
    RecordingSettings { sweep_every: Duration::from_secs(3600), ..RecordingSettings::at(url.clone()) }
}

pub fn options(settings: RecordingSettings) -> Options {
    let launcher: Arc<dyn Launcher> = Arc::new(Engine::default());
    Options { launcher: Some(launcher), recordings: Some(settings), ..Options::default() }
}

/// A controller whose recordings are in a folder.
pub async fn in_folder() -> (Stack, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(folder.path()).unwrap();
    (Stack::with(options(settings(&url))).await, folder)
}

pub async fn put(stack: &Stack, runner: RunnerId, secret: &str, chunk: Chunk, body: impl Into<Body>) -> Answer {
    let request = Request::put(chunk.path(runner)).header("authorization", format!("Bearer {secret}"));
    stack.send_internally(request.body(body.into()).unwrap()).await
}

pub fn event(kind: &str, data: &str) -> String {
    format!("[0.1, {}, {}]\n", json!(kind), json!(data))
}

impl Recorder {
    pub async fn start(stack: &Stack) -> Self {
        let runner = add_standby(&*stack.store).await;
        let entry = stack.create(request_body()).await;
        let session: SessionId = entry["sessionId"].as_str().unwrap().parse().unwrap();
        assert_eq!(stack.store.session(session).await.unwrap().unwrap().runner, Some(runner));
        // Nobody listens at its address; one that has its session is not replaced for that.
        stack.store.advance(session, 1, Stage::Running, Time::now()).await.unwrap();
        Self { session, runner, whole: String::new(), number: 0 }
    }

    /// The next chunk, as it is sent until it is taken.
    pub fn chunk(&self, last: bool) -> Chunk {
        Chunk { epoch: 1, number: self.number, offset: self.whole.len() as u64, last }
    }

    pub async fn send(&self, stack: &Stack, text: &str, last: bool) -> Answer {
        put(stack, self.runner, SECRET, self.chunk(last), text.to_owned()).await
    }

    pub async fn put(&mut self, stack: &Stack, text: &str, last: bool) {
        let answer = self.send(stack, text, last).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
        self.whole += text;
        self.number += 1;
    }

    /// A header and lines of output, each a chunk.
    pub async fn record(&mut self, stack: &Stack, lines: std::ops::Range<u32>) {
        for line in lines {
            let text = self.chunk_of(line);
            self.put(stack, &text, false).await;
        }
    }

    /// The chunk of a line. Whoever tries again sends the same.
    pub fn chunk_of(&self, line: u32) -> String {
        let text = event("o", &format!("line {line}\r\n"));
        if self.whole.is_empty() { format!("{HEADER}{text}") } else { text }
    }

    pub async fn recording(&self, stack: &Stack) -> Answer {
        stack.get(&format!("/api/sessions/{}/recording", self.session)).await
    }

    pub async fn end(&self, stack: &Stack) {
        let ended = Ended::because(EndReason::Cancelled, "enough");
        stack.store.end(self.session, None, ended, Time::now()).await.unwrap();
    }
}

async fn ranged(stack: &Stack, recorder: &Recorder, headers: &[(&str, &str)]) -> Answer {
    let mut request = stack.request(Method::GET, &format!("/api/sessions/{}/recording", recorder.session));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    stack.send(request.body(Body::empty()).unwrap(), "127.0.0.1:5").await
}

/// Waits until chunks have become one object.
pub async fn until_joined(stack: &Stack, recorder: &Recorder) -> Answer {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = recorder.recording(stack).await;
        if !answer.header("etag").is_empty() {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "chunks are never joined: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_recording_is_read_while_it_grows_and_is_the_same_when_it_is_one_object() {
    let (stack, folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.recording(&stack).await.problem("recording_not_found");
    recorder.record(&stack, 0..3).await;
    let live = recorder.recording(&stack).await;
    assert_eq!((live.status, live.header("content-type")), (StatusCode::OK, MEDIA_TYPE));
    assert_eq!(
        (live.text.as_str(), live.header("accept-ranges"), live.header("etag")),
        (&*recorder.whole, "bytes", "")
    );
    recorder.record(&stack, 3..40).await;
    recorder.put(&stack, &event("x", "0"), true).await;
    let joined = until_joined(&stack, &recorder).await;
    assert_eq!(joined.text, recorder.whole);
    assert!(joined.text.starts_with(&live.text));
    // Nothing else is left.
    let place = folder.path().join(recorder.session.to_string());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while std::fs::read_dir(&place).unwrap().count() > 1 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let names: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["recording.cast"]);
    // What is said again changes nothing.
    recorder.number -= 1;
    let offset = recorder.whole.len() as u64 - event("x", "0").len() as u64;
    let again = Chunk { epoch: 1, number: recorder.number, offset, last: true };
    assert_eq!(put(&stack, recorder.runner, SECRET, again, event("x", "0")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(until_joined(&stack, &recorder).await.text, recorder.whole);
    assert!(stack.metric("cliscale_recordings_joined_total").await >= 1.0);
    assert_eq!(stack.metric("cliscale_recording_chunks_total").await, 42.0);
    stack.stop().await;
}

#[tokio::test]
async fn ranges_are_answered_before_and_after_the_end() {
    let (stack, _folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..5).await;
    let size = recorder.whole.len();
    for joined in [false, true] {
        let part = ranged(&stack, &recorder, &[("range", "bytes=10-99")]).await;
        assert_eq!((part.status, part.text.as_str()), (StatusCode::PARTIAL_CONTENT, &recorder.whole[10..100]));
        assert_eq!(part.header("content-range"), format!("bytes 10-99/{size}"));
        let rest = ranged(&stack, &recorder, &[("range", &format!("bytes={}-", size - 7))]).await;
        assert_eq!(rest.text, &recorder.whole[size - 7..]);
        let beyond = ranged(&stack, &recorder, &[("range", &format!("bytes={size}-"))]).await;
        beyond.problem("range_not_satisfiable");
        assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
        if !joined {
            recorder.put(&stack, "", true).await;
            until_joined(&stack, &recorder).await;
        }
    }
    let tag = recorder.recording(&stack).await.header("etag").to_owned();
    let known = ranged(&stack, &recorder, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let same = ranged(&stack, &recorder, &[("range", "bytes=0-4"), ("if-range", &tag)]).await;
    assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
    let other = ranged(&stack, &recorder, &[("range", "bytes=0-4"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.text.len()), (StatusCode::OK, size));
    stack.stop().await;
}

#[tokio::test]
async fn a_log_is_text_as_it_was_read_or_bytes_as_they_were() {
    let (stack, _folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..8).await;
    recorder.put(&stack, &event("i", "a password"), false).await;
    recorder.put(&stack, &event("o", "\x1b[31m50%\r100%\x1b[0m\r\n"), true).await;
    let text: String = (0..8).map(|line| format!("line {line}\n")).collect();
    let raw = text.replace('\n', "\r\n") + "\x1b[31m50%\r100%\x1b[0m\r\n";
    let log = |query: &'static str| format!("/api/sessions/{}/log{query}", recorder.session);
    let read = stack.get(&log("")).await;
    assert_eq!(
        (read.text, read.headers["content-type"].to_str().unwrap()),
        (text.clone() + "100%\n", "text/plain; charset=utf-8")
    );
    assert_eq!(stack.get(&log("?format=raw")).await.text, raw);
    let refused = stack.get(&log("?format=html")).await.problem("invalid_request");
    assert_eq!(refused["errors"][0]["field"], "format");
    stack.stop().await;
}

#[tokio::test]
async fn who_may_read_is_who_has_a_key_or_is_a_gateway() {
    let (stack, _folder) = in_folder().await;
    let mut recorder = Recorder::start(&stack).await;
    recorder.record(&stack, 0..2).await;
    let session = recorder.session;
    for path in [format!("/api/sessions/{session}/recording"), format!("/api/sessions/{session}/log")] {
        let request = Request::get(&path).header("host", "h.example").body(Body::empty()).unwrap();
        stack.send(request, "127.0.0.1:5").await.problem("unauthorized");
        assert_eq!(stack.get(&path).await.header("cache-control"), "no-store");
    }
    for path in [recording_path(session), log_path(session) + "?format=raw"] {
        let ask = |token: &str| {
            let request = Request::get(&path).header("authorization", format!("Bearer {token}"));
            stack.send_internally(request.header("range", "bytes=0-9").body(Body::empty()).unwrap())
        };
        ask(&stack.key).await.problem("unauthorized");
        let answer = ask(GATEWAY_TOKEN).await;
        assert!(answer.status.is_success() && !answer.text.is_empty(), "{}", answer.text);
    }
    stack.get(&format!("/api/sessions/{}/recording", SessionId::new())).await.problem("session_unknown");
    stack.stop().await;
}

#[tokio::test]
async fn only_the_session_s_own_runner_records_it() {
    let (stack, _folder) = in_folder().await;
    let recorder = Recorder::start(&stack).await;
    let chunk = recorder.chunk(false);
    let wrong = "6".repeat(64);
    for (runner, secret) in [(recorder.runner, &*wrong), (RunnerId::new(), SECRET), (recorder.runner, "")] {
        put(&stack, runner, secret, chunk, HEADER).await.problem("unauthorized");
    }
    for epoch in [0, 2] {
        put(&stack, recorder.runner, SECRET, Chunk { epoch, ..chunk }, HEADER).await.problem("conflict");
    }
    // A runner without a session has nothing to record.
    let idle = add_standby(&*stack.store).await;
    put(&stack, idle, SECRET, chunk, HEADER).await.problem("unauthorized");
    // What is left comes after the end, but nothing comes of a runner that is gone.
    recorder.end(&stack).await;
    assert_eq!(recorder.send(&stack, HEADER, false).await.status, StatusCode::NO_CONTENT);
    stack.store.runner_gone(recorder.runner, Time::now()).await.unwrap();
    recorder.send(&stack, HEADER, false).await.problem("unauthorized");
    stack.stop().await;
}

#[tokio::test]
async fn a_chunk_is_whole_lines_of_text_and_no_more_than_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(folder.path()).unwrap();
    let stack = Stack::with(options(RecordingSettings { max_bytes: 1000, ..settings(&url) })).await;
    let mut recorder = Recorder::start(&stack).await;
    for torn in ["no end of line", "\u{fffd}half"] {
        recorder.send(&stack, torn, false).await.problem("invalid_request");
    }
    let bytes = put(&stack, recorder.runner, SECRET, recorder.chunk(false), &b"\xff\xfe\n"[..]).await;
    bytes.problem("invalid_request");
    let long = format!("{}\n", "x".repeat(MAX_CHUNK));
    recorder.send(&stack, &long, false).await.problem("payload_too_large");
    recorder.record(&stack, 0..2).await;
    let full = recorder.send(&stack, &event("o", &"y".repeat(1000)), false).await;
    full.problem("recording_full");
    assert_eq!(stack.metric("cliscale_recordings_full_total").await, 1.0);
    // What came before is there, and what is small enough still is taken.
    recorder.put(&stack, &event("x", "0"), true).await;
    assert_eq!(until_joined(&stack, &recorder).await.text, recorder.whole);
    stack.stop().await;
}

#[tokio::test]
async fn a_server_that_keeps_nothing_says_so() {
    let launcher: Arc<dyn Launcher> = Arc::new(Engine::default());
    let stack = Stack::with(Options { launcher: Some(launcher), ..Options::default() }).await;
    let recorder = Recorder::start(&stack).await;
    recorder.send(&stack, HEADER, false).await.problem("recording_not_found");
    recorder.recording(&stack).await.problem("recording_not_found");
    stack.stop().await;
}
