//! What a runner records of its session, and that neither a controller nor a store that is away disturbs it. The recording
//! is read as any other program would read it: as lines of JSON.

use std::time::{Duration, Instant};

use http::StatusCode;
use nix::sys::signal::Signal;
use serde_json::Value;
use session::{EndReason, RecordingPolicy, SessionSpec};
use testkit::fake_controller::Heard;

use super::rig::{Rig, SOON, Setup};

/// A recording as lines of JSON.
struct Cast {
    header: Value,
    /// Seconds since the event before, kind, data.
    events: Vec<(f64, char, String)>,
}

impl Cast {
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "cut: {:?}", text.chars().rev().take(100).collect::<String>());
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let header = lines.next().expect("a header");
        let events = lines.map(|event| {
            let (code, data) = (event[1].as_str().expect("a code"), event[2].as_str().expect("data"));
            assert_eq!((event.as_array().map(Vec::len), code.len()), (Some(3), 1), "{event}");
            let interval = event[0].as_f64().expect("an interval");
            assert!(interval >= 0.0, "{event}");
            (interval, code.chars().next().unwrap(), data.to_owned())
        });
        Self { header, events: events.collect() }
    }

    fn all(&self, code: char) -> Vec<&str> {
        self.events.iter().filter(|event| event.1 == code).map(|event| event.2.as_str()).collect()
    }

    fn output(&self) -> String {
        self.all('o').concat()
    }

    /// Seconds from the beginning to the first output that has `text`.
    fn time_of(&self, text: &str) -> f64 {
        let until = self.events.iter().position(|event| event.1 == 'o' && event.2.contains(text)).expect(text);
        self.events[..=until].iter().map(|event| event.0).sum()
    }
}

const POLICY: RecordingPolicy = RecordingPolicy { input: false, max_bytes: 1 << 30 };

async fn record(rig: &Rig, spec: SessionSpec, policy: RecordingPolicy) {
    let assignment = session::runner_api::Assign { recording: Some(policy), ..rig.assignment(spec) };
    assert_eq!(rig.controller.assign(&assignment).await.unwrap(), 200);
}

async fn recording(command: &str, policy: RecordingPolicy) -> Rig {
    let rig = Rig::start().await;
    record(&rig, rig.spec(command), policy).await;
    rig
}

async fn until(rig: &Rig, found: impl Fn(&Heard) -> bool) {
    rig.controller.wait_for(SOON, |heard| found(heard).then_some(())).await.unwrap();
}

async fn whole(rig: &Rig) -> Cast {
    until(rig, Heard::is_recorded).await;
    Cast::parse(&rig.controller.heard().recording())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_terminal_showed_is_recorded_with_its_sizes_stages_times_and_exit() {
    let rig = Rig::start().await;
    let script = r"printf 'a\303\251\377b-ready'; read go; sleep 0.5; echo later; read go; stty size; exit 3";
    record(&rig, SessionSpec { install_cmd: Some("echo in".into()), ..rig.spec(script) }, POLICY).await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("b-ready", SOON).await.unwrap();
    operator.type_text("first\n").await.unwrap();
    operator.wait_for("later", SOON).await.unwrap();
    operator.resize(100, 30).await.unwrap();
    operator.type_text("second\n").await.unwrap();
    operator.wait_closed(SOON).await.unwrap();
    let cast = whole(&rig).await;
    assert_eq!(cast.header["version"], 3);
    assert_eq!(cast.header["term"], serde_json::json!({"cols": 80, "rows": 24, "type": "xterm-256color"}));
    assert_eq!(cast.output(), String::from_utf8_lossy(&operator.output));
    assert!(cast.output().contains("aé\u{fffd}b"), "{:?}", cast.output());
    assert_eq!(cast.all('m'), ["fetching", "installing", "running"]);
    assert_eq!((cast.all('r'), cast.all('x')), (vec!["100x30"], vec!["3"]));
    assert_eq!(cast.events.last().unwrap().1, 'x');
    assert!(cast.time_of("later") - cast.time_of("a\u{e9}") >= 0.4, "{:?}", cast.events);
    let resized = cast.events.iter().position(|event| event.1 == 'r').unwrap();
    let shown = cast.events.iter().position(|event| event.2.contains("30 100")).unwrap();
    assert!(resized < shown, "{:?}", cast.events);
    assert_eq!(cast.all('i').len(), 0, "nobody asked for what is typed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_is_recorded_where_somebody_asked_for_it_and_also_what_is_not_shown() {
    for input in [true, false] {
        let rig = recording("stty -echo; echo password?; read x; echo ok", RecordingPolicy { input, ..POLICY }).await;
        let mut operator = rig.operator("a").await;
        operator.wait_for("password?", SOON).await.unwrap();
        operator.type_text("hunter2\n").await.unwrap();
        operator.wait_closed(SOON).await.unwrap();
        let cast = whole(&rig).await;
        assert!(!cast.output().contains("hunter2"));
        let typed = cast.all('i').concat();
        assert_eq!(typed.contains("hunter2\n"), input, "{typed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_recorded_where_nobody_asked() {
    let rig = Rig::running("echo something").await;
    rig.ended().await;
    assert_eq!(rig.controller.heard().chunk_calls, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_recorded_to_its_last_byte() {
    const LINES: usize = 1_500_000;
    let rig = recording(&format!("yes | head -n {LINES}"), POLICY).await;
    let cast = whole(&rig).await;
    assert_eq!(cast.all('m'), ["fetching", "running"]);
    assert_eq!(cast.output().matches("y\r\n").count(), LINES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_the_store_fails_comes_late_and_in_its_own_time() {
    let rig = recording("echo one; read x; echo two; sleep 0.5; echo three; read x; echo four", POLICY).await;
    until(&rig, |heard| heard.recording().contains("one")).await;
    rig.controller.answer_chunks_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    let mut operator = rig.operator("a").await;
    operator.wait_for("one", SOON).await.unwrap();
    operator.type_text("\n").await.unwrap();
    // The session does not wait for the store.
    operator.wait_for("three", SOON).await.unwrap();
    let calls = rig.controller.heard().chunk_calls;
    until(&rig, |heard| heard.chunk_calls > calls + 2).await;
    assert!(!rig.controller.heard().recording().contains("two"));
    rig.controller.answer_chunks_with(None);
    until(&rig, |heard| heard.recording().contains("three")).await;
    operator.type_text("\n").await.unwrap();
    operator.wait_closed(SOON).await.unwrap();
    let cast = whole(&rig).await;
    assert_eq!(cast.output(), String::from_utf8_lossy(&operator.output));
    assert!(cast.time_of("three") - cast.time_of("two") >= 0.4, "{:?}", cast.events);
    assert_eq!(rig.log().matches("cannot be delivered").count(), 1, "said once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_forgotten_before_it_could_be_delivered_is_counted_in_the_recording() {
    let flags = ["--ring-bytes=8192", "--spill-bytes=0"].map(str::to_owned).to_vec();
    let rig = Rig::with(Setup { flags, ..Setup::default() }).await;
    rig.controller.answer_chunks_with(Some(StatusCode::SERVICE_UNAVAILABLE));
    record(&rig, rig.spec("read x; yes | head -n 100000; echo done"), POLICY).await;
    until(&rig, |heard| heard.chunk_calls > 0).await;
    let mut operator = rig.operator("a").await;
    operator.wait_until(SOON, "a start", |operator| !operator.starts.is_empty()).await.unwrap();
    operator.type_text("\n").await.unwrap();
    operator.wait_until(SOON, "the end", |operator| operator.exit.is_some()).await.unwrap();
    rig.controller.answer_chunks_with(None);
    let cast = whole(&rig).await;
    let missing = cast.all('m').into_iter().find_map(|text| text.strip_suffix(" bytes of output are missing"));
    let missing: usize = missing.expect("a marker").parse().unwrap();
    assert_eq!((missing + cast.output().len()) as u64, operator.exit.unwrap().end);
    assert!(missing > 100_000 && cast.output().ends_with("done\r\n"));
    assert_eq!(cast.all('x'), ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_stops_at_its_cap_and_the_session_goes_on() {
    let policy = RecordingPolicy { max_bytes: 3000, ..POLICY };
    let mut rig = recording("seq 10000; exit 5", policy).await;
    let cast = whole(&rig).await;
    let heard = rig.controller.heard();
    assert!(heard.recording().len() <= 3000);
    assert!(cast.all('m').last().unwrap().contains("too long"), "{:?}", cast.events.last());
    assert_eq!(rig.ended().await.exit_code, Some(5));
    rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap();
    assert_eq!(rig.exit_status().await.code(), Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_that_is_not_wanted_stops_and_the_session_goes_on() {
    for status in [StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::PAYLOAD_TOO_LARGE] {
        let rig = Rig::start().await;
        rig.controller.answer_chunks_with(Some(status));
        record(&rig, rig.spec("read x; seq 1000; exit 4"), POLICY).await;
        until(&rig, |heard| heard.chunk_calls > 0).await;
        let mut operator = rig.operator("a").await;
        operator.wait_until(SOON, "a start", |operator| !operator.starts.is_empty()).await.unwrap();
        operator.type_text("\n").await.unwrap();
        let ended = rig.ended().await;
        assert_eq!((ended.reason, ended.exit_code), (EndReason::Exited, Some(4)));
        assert_eq!(rig.controller.heard().chunk_calls, 1, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_killed_leaves_all_that_was_shown_before_the_last_second() {
    let rig = recording("echo early; read x; echo late; read x", POLICY).await;
    let mut operator = rig.operator("a").await;
    operator.wait_for("early", SOON).await.unwrap();
    operator.type_text("\n").await.unwrap();
    operator.wait_for("late", SOON).await.unwrap();
    let shown = Instant::now();
    // Nothing more comes that would push it out.
    until(&rig, |heard| heard.recording().contains("late")).await;
    eprintln!("delivered {} ms after it was shown", shown.elapsed().as_millis());
    rig.signal(Signal::SIGKILL);
    let cast = Cast::parse(&rig.controller.heard().recording());
    assert!(cast.output().contains("early") && cast.output().contains("late"));
    assert!(!rig.controller.heard().is_recorded());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_told_to_stop_delivers_the_end_of_its_recording_first() {
    let mut rig = recording("echo begun; read x", POLICY).await;
    until(&rig, |heard| heard.recording().contains("begun")).await;
    rig.signal(Signal::SIGTERM);
    let told = Instant::now();
    rig.exit_status().await;
    assert!(told.elapsed() < Duration::from_secs(25));
    let cast = Cast::parse(&rig.controller.heard().recording());
    assert!(rig.controller.heard().is_recorded());
    assert!(cast.all('m').contains(&"runner_lost"), "{:?}", cast.all('m'));
}
