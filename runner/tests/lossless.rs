//! The client that may not miss anything, and a disk that keeps nothing.

mod rig;

use std::time::Duration;

use rig::{Rig, SOON, Setup};
use session::frames::{ClientFrame, Hello, Resume, StartMode, TTY_R1, close};
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use testkit::terminal_client::TerminalClient;

/// Little room, so that little output fills it.
const RING: u64 = 4096;
const SPILL: u64 = 65_536;

async fn lossless(rig: &Rig, client: &str, resume: Option<Resume>) -> TerminalClient {
    let bearer = rig.bearer();
    let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "viewer"), (CLIENT_HEADER, client)];
    let mut client = TerminalClient::open(&rig.ws_url(), &headers, &[TTY_R1]).await.unwrap().unwrap();
    client.hello(Hello { lossless: true, resume, ..Hello::default() }).await.unwrap();
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await.unwrap();
    client
}

/// Takes and acknowledges until `done`.
async fn take(client: &mut TerminalClient, done: impl Fn(&TerminalClient) -> bool) {
    while !done(client) {
        let seen = client.offset;
        let more = |client: &TerminalClient| client.offset > seen || client.closed.is_some();
        client.wait_until(SOON, "more", more).await.unwrap();
        // After its end it may be gone.
        let _ = client.send(ClientFrame::Ack(client.offset)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_all_output_holds_the_program_until_it_has_it() {
    let flags = vec![format!("--ring-bytes={RING}"), format!("--spill-bytes={SPILL}")];
    let rig = Rig::with(Setup { flags, ..Setup::default() }).await;
    rig.assign(rig.spec("stty -echo; echo ready; read x; seq 1 400000; echo finished")).await;
    let mut log = lossless(&rig, "log", None).await;
    take(&mut log, |client| client.has("ready\r\n")).await;
    let mut operator = rig.operator("operator").await;
    operator.type_text("\n").await.unwrap();
    operator.wait_for("finished\r\n", Duration::from_secs(1)).await.unwrap_err();
    let held = operator.offset;
    assert!(held < log.offset + RING + SPILL + 1, "{held}");
    // It is cut somewhere and comes back; the program waits for it.
    take(&mut log, |client| client.offset > 300_000).await;
    let (mut whole, resume) = (log.output.clone(), log.resume_point());
    drop(log);
    operator.wait_for("finished\r\n", Duration::from_secs(1)).await.unwrap_err();
    // A second one is an ordinary viewer.
    let second = lossless(&rig, "second", None).await;
    assert_eq!(second.starts[0].mode, StartMode::Snapshot);
    let mut log = lossless(&rig, "log", resume).await;
    assert_eq!(log.starts[0].mode, StartMode::Delta);
    take(&mut log, |client| client.closed.is_some()).await;
    assert_eq!((log.close_code(), log.starts.len()), (Some(close::ENDED), 1));
    whole.extend_from_slice(&log.output);
    let expected: String = (1..=400_000).map(|n| format!("{n}\r\n")).collect();
    assert!(String::from_utf8(whole).unwrap().ends_with(&format!("{expected}finished\r\n")));
    assert_eq!(rig.ended().await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_can_be_spilled_the_screen_is_exact_all_the_same_and_the_log_says_so_once() {
    let flags = vec![format!("--ring-bytes={RING}"), "--spill-dir=/nowhere/at/all".to_owned()];
    let rig = Rig::with(Setup { flags, ..Setup::default() }).await;
    rig.assign(rig.spec("seq 1 300000; printf 'the last line'; read x")).await;
    let mut first = rig.operator("first").await;
    let is_there = |client: &TerminalClient| {
        let screen = client.snapshots.last().map(|screen| String::from_utf8_lossy(screen).into_owned());
        format!("{}{}", screen.unwrap_or_default(), client.text()).contains("the last line")
    };
    first.wait_until(SOON, "the last line", is_there).await.unwrap();
    let mut late = rig.attach("late", "viewer", TTY_R1).await;
    late.wait_until(SOON, "the last line", is_there).await.unwrap();
    assert_eq!((late.starts[0].mode, late.starts[0].lost), (StartMode::Snapshot, late.starts[0].off));
    let screen = String::from_utf8_lossy(&late.snapshots[0]).into_owned();
    assert!(screen.contains("290500") && screen.contains("300000"), "its scrollback is there");
    assert_eq!(rig.log().matches("output cannot be spilled").count(), 1, "{}", rig.log());
}
