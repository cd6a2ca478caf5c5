//! The stream under strain: floods, slow viewers, cut connections, and input that must arrive exactly once.

mod rig;

use std::time::{Duration, Instant};

use rig::{Rig, SOON, Setup};
use session::frames::{ClientFrame, StartMode, TTY_R1, close};
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use session::{EndReason, SessionSpec};
use testkit::terminal_client::TerminalClient;

async fn resume(rig: &Rig, from: &TerminalClient) -> TerminalClient {
    let bearer = rig.bearer();
    let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "operator"), (CLIENT_HEADER, "a")];
    let mut next =
        TerminalClient::resume(&rig.ws_url(), &headers, &[TTY_R1], from.resume_point().unwrap()).await.unwrap();
    next.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await.unwrap();
    next
}

/// As output, or on the screen that it was sent instead.
fn shows(client: &TerminalClient, text: &str) -> bool {
    let on_screen = |screen: &bytes::Bytes| screen.windows(text.len()).any(|window| window == text.as_bytes());
    client.has(text) || client.snapshots.last().is_some_and(on_screen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_nobody_watches_ends_and_its_screen_is_shown() {
    let rig = Rig::running("head -c 50000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo the last line").await;
    assert_eq!(rig.ended().await.exit_code, Some(0));
    let mut late = rig.operator("a").await;
    assert_eq!(late.wait_closed(SOON).await.unwrap(), Some(close::ENDED));
    let start = &late.starts[0];
    assert_eq!((start.mode, start.off), (StartMode::Snapshot, start.lost));
    assert!(start.lost > 45_000_000, "{start:?}");
    assert_eq!(late.snapshots.len(), 1);
    assert_eq!(late.exit.as_ref().unwrap().end, late.offset);
    let screen = String::from_utf8_lossy(&late.snapshots[0]);
    assert!(screen.contains(&"x".repeat(80)) && screen.contains("the last line"), "{screen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_does_not_read_holds_up_nobody_and_is_moved_on() {
    let rig = Rig::with(Setup { flags: vec!["--ring-bytes=65536".into()], ..Setup::default() }).await;
    rig.assign(rig.spec("read x; seq 1 3000000; echo finished; read y")).await;
    let mut slow = rig.operator("slow").await;
    slow.wait_for("› running", SOON).await.unwrap();
    let mut quick = rig.operator("quick").await;
    quick.type_text("\n").await.unwrap();
    quick.wait_until(SOON, "the end", |client| shows(client, "finished")).await.unwrap();
    // Only now does the slow one read.
    slow.wait_until(SOON, "the end", |client| shows(client, "finished")).await.unwrap();
    assert!(slow.starts.len() > 1, "it was moved on");
    let moved = slow.starts.last().unwrap();
    assert!(moved.mode == StartMode::Snapshot && moved.lost > 0, "{moved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_client_misses_nothing() {
    // Far more than stays in memory.
    let rig = Rig::with(Setup { flags: vec!["--ring-bytes=65536".into()], ..Setup::default() }).await;
    rig.assign(rig.spec("stty -echo; read x; seq 1 100000; echo finished; read y")).await;
    let mut clients = [rig.stock("stock").await, rig.operator("ours").await];
    for client in &mut clients {
        client.wait_for("› running", SOON).await.unwrap();
        client.send(ClientFrame::Pause).await.unwrap();
    }
    let mut watching = rig.attach("watching", "viewer", TTY_R1).await;
    clients[0].type_text("\n").await.unwrap();
    watching.wait_until(SOON, "the end", |client| shows(client, "finished")).await.unwrap();
    let expected: String = (1..=100000).map(|n| format!("{n}\r\n")).collect();
    for client in &mut clients {
        client.wait_for("100\r\n", Duration::from_millis(300)).await.unwrap_err();
        client.send(ClientFrame::Resume).await.unwrap();
        client.wait_for("finished\r\n", SOON).await.unwrap();
        assert!(client.text().contains(&expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_acknowledges_is_sent_no_more_than_it_can_take() {
    let rig = Rig::running("seq 1 400000; echo finished; read y").await;
    let mut client = rig.operator("a").await;
    client.wait_for("› running", SOON).await.unwrap();
    client.send(ClientFrame::Ack(1)).await.unwrap();
    client.wait_for("finished", Duration::from_secs(1)).await.unwrap_err();
    let behind = client.offset;
    assert!(behind < 2 << 20, "{behind}");
    while !client.has("finished\r\n") {
        client.send(ClientFrame::Ack(client.offset)).await.unwrap();
        let seen = client.offset;
        client.wait_until(SOON, "more", |client| client.offset > seen).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_anywhere_resumes_to_the_byte() {
    let rig = Rig::running("for i in $(seq 1 3000); do echo \"$i é 漢字\"; done; echo finished; read x").await;
    let mut client = rig.operator("a").await;
    let mut whole = Vec::new();
    let mut cuts = 0;
    // Every connection takes a few more messages than the last.
    for messages in 1.. {
        for _ in 0..messages {
            client.take_one().await.unwrap();
            if client.has("finished\r\n") {
                break;
            }
        }
        whole.extend_from_slice(&client.output);
        if client.has("finished\r\n") {
            break;
        }
        if client.starts.is_empty() {
            client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await.unwrap();
            whole.clone_from(&client.output);
        }
        let next = resume(&rig, &client).await;
        assert_eq!((next.starts[0].mode, next.starts[0].off), (StartMode::Delta, client.offset));
        client = next;
        cuts += 1;
    }
    assert!(cuts > 1);
    let mut fresh = rig.operator("b").await;
    fresh.wait_for("finished\r\n", SOON).await.unwrap();
    assert_eq!(whole, fresh.output);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_stream_or_an_impossible_offset_starts_from_the_beginning() {
    let rig = Rig::running("echo hello; read x").await;
    let mut client = rig.operator("a").await;
    client.wait_for("hello", SOON).await.unwrap();
    let mut foreign = client.resume_point().unwrap();
    foreign.sid = "another".into();
    let mut impossible = client.resume_point().unwrap();
    impossible.off = u64::MAX;
    for point in [foreign, impossible] {
        let bearer = rig.bearer();
        let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "operator")];
        let mut next = TerminalClient::resume(&rig.ws_url(), &headers, &[TTY_R1], point).await.unwrap();
        next.wait_for("hello", SOON).await.unwrap();
        assert_eq!((next.starts[0].mode, next.starts[0].off, next.starts[0].lost), (StartMode::Full, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_arrives_exactly_once_across_reconnections() {
    let rig = Rig::running("stty raw -echo; echo ready; head -c 30000 > $HOME/got; echo finished; read x").await;
    let mut client = rig.operator("a").await;
    client.wait_for("ready", SOON).await.unwrap();
    let all: Vec<u8> = (0..30000u32).flat_map(|n| [b'a' + (n % 23) as u8]).collect();
    let mut sent = 0;
    let mut round = 0;
    while sent < all.len() {
        // Each connection sends some pieces and is cut without waiting for any acknowledgement.
        for _ in 0..=round % 5 {
            let until = all.len().min(sent + 700 + round * 13);
            client.type_at_offset(&all[sent..until]).await.unwrap();
            sent = until;
        }
        if round % 3 == 0 {
            // A repetition of what was sent before.
            let again = sent.saturating_sub(100);
            client.typed = again as u64;
            client.type_at_offset(&all[again..sent]).await.unwrap();
        }
        let mut next = resume(&rig, &client).await;
        sent = usize::try_from(next.starts[0].input).unwrap();
        next.typed = sent as u64;
        client = next;
        round += 1;
    }
    client.wait_until(SOON, "the end", |client| client.has("finished")).await.unwrap();
    assert!(round > 3);
    assert_eq!(std::fs::read(rig.folder.path().join("home/got")).unwrap(), all);
    // Input that skips something is refused, since what is missing could never be put in its place.
    client.typed += 5;
    client.type_at_offset(b"x").await.unwrap();
    assert_eq!(client.wait_closed(SOON).await.unwrap(), Some(1002));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_is_acknowledged_and_a_program_that_reads_nothing_holds_up_only_its_typist() {
    let rig = Rig::running("stty raw -echo; echo ready; sleep 2; echo still printing; sleep 1000").await;
    let mut client = rig.operator("a").await;
    client.wait_for("ready", SOON).await.unwrap();
    client.type_at_offset(b"abc").await.unwrap();
    client.wait_until(SOON, "an acknowledgement", |client| client.input_acked == Some(3)).await.unwrap();
    let flood = vec![b'x'; 200_000];
    let sending = async {
        for _ in 0..100 {
            client.type_at_offset(&flood).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_millis(1500), sending).await.unwrap_err();
    let mut other = rig.attach("b", "viewer", TTY_R1).await;
    other.wait_for("still printing", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_comes_through_a_flood() {
    let rig = Rig::running("trap 'echo interrupted; exit 4' INT; yes").await;
    let mut client = rig.operator("a").await;
    client.wait_for("y\r\n", SOON).await.unwrap();
    client.type_text("\x03").await.unwrap();
    let typed = Instant::now();
    assert_eq!(client.wait_closed(SOON).await.unwrap(), Some(close::ENDED));
    assert_eq!(client.exit.unwrap().code, Some(4));
    assert!(typed.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_replayed_at_their_places() {
    let rig = Rig::start().await;
    rig.assign(SessionSpec {
        cols: 90,
        ..rig.spec("stty -echo; echo one; read x; echo two; read x; echo three; read x")
    })
    .await;
    rig.attach("b", "viewer", TTY_R1).await.wait_for("one\r\n", SOON).await.unwrap();
    let mut client = rig.operator("a").await;
    client.resize(120, 40).await.unwrap();
    client.type_text("\n").await.unwrap();
    client.wait_for("two\r\n", SOON).await.unwrap();
    client.resize(60, 20).await.unwrap();
    client.type_text("\n").await.unwrap();
    client.wait_for("three\r\n", SOON).await.unwrap();
    let mut late = rig.attach("b", "viewer", TTY_R1).await;
    late.wait_for("three\r\n", SOON).await.unwrap();
    let first = &late.starts[0];
    assert_eq!((first.cols, first.rows), (90, 24));
    let place = |text: &str| late.text().find(text).unwrap() as u64;
    let seen: Vec<_> = late.resized.iter().map(|(at, size)| (*at, size.cols)).collect();
    let last = &seen[seen.len() - 2..];
    assert!(last[0].1 == 120 && (place("one")..=place("two")).contains(&last[0].0), "{seen:?}");
    assert!(last[1].1 == 60 && (place("two")..=place("three")).contains(&last[1].0), "{seen:?}");
    rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap();
}
