//! What viewers of a real runner see, and what they can do.

mod rig;

use std::time::Duration;

use rig::{Rig, SOON};
use session::frames::{Hello, StartMode, TTY, TTY_R1, close};
use session::runner_api::{CLIENT_HEADER, ROLE_HEADER};
use session::{EndReason, Stage};
use testkit::terminal_client::TerminalClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_through_its_stages_and_shows_all_of_them() {
    let mut rig = Rig::start().await;
    std::fs::write(rig.code().join("greeting"), "hello from the code\n").unwrap();
    let spec =
        session::SessionSpec { install_cmd: Some("echo in; echo stalled".into()), ..rig.spec("cat greeting; exit 3") };
    rig.assign(spec).await;
    let ended = rig.ended().await;
    assert_eq!((ended.reason, ended.exit_code, ended.signal), (EndReason::Exited, Some(3), None));
    use Stage::*;
    assert_eq!(rig.controller.heard().stage_names(), [Fetching, Installing, Running, Ended]);
    // Nobody was attached until now: everything is replayed.
    let mut late = rig.operator("late").await;
    assert_eq!(late.wait_closed(SOON).await.unwrap(), Some(close::ENDED));
    let text = late.text();
    let places: Vec<_> = ["› fetching", "› installing echo in", "stalled\r\n", "› running", "hello from the code\r\n"]
        .map(|part| text.find(part).unwrap_or_else(|| panic!("{part:?} in {text:?}")))
        .to_vec();
    assert!(places.is_sorted(), "{text:?}");
    assert_eq!(late.starts[0].mode, StartMode::Full);
    let exit = late.exit.clone().unwrap();
    assert_eq!((exit.code, exit.reason, exit.end), (Some(3), EndReason::Exited, late.output.len() as u64));
    assert_eq!(rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap(), 202);
    assert_eq!(rig.exit_status().await.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_viewers_see_the_same_and_a_viewer_cannot_type_or_resize() {
    let rig = Rig::running("stty -echo; while read line; do echo \"got $line\"; stty size; done").await;
    let mut operator = rig.operator("a").await;
    let mut viewer = rig.attach("b", "viewer", TTY_R1).await;
    // Until it is attached, the connection after it could come before it.
    viewer.wait_until(SOON, "a start", |c| !c.starts.is_empty()).await.unwrap();
    viewer.type_text("from the viewer\n").await.unwrap();
    viewer.resize(33, 11).await.unwrap();
    // Its frames are handled in order, so both were seen before this connection is replaced.
    let mut viewer_again = rig.attach("b", "viewer", TTY_R1).await;
    assert_eq!(viewer.wait_closed(SOON).await.unwrap(), Some(close::TAKEN_OVER));
    operator.wait_until(SOON, "running", |c| c.waiting.iter().any(|w| w.stage == Stage::Running)).await.unwrap();
    operator.resize(100, 30).await.unwrap();
    operator.type_text("typed\n").await.unwrap();
    operator.wait_for("30 100\r\n", SOON).await.unwrap();
    viewer_again.wait_for("30 100\r\n", SOON).await.unwrap();
    assert!(operator.has("got typed") && !operator.has("viewer"), "{:?}", operator.text());
    assert_eq!(operator.output, viewer_again.output);
    let resized: Vec<_> = viewer_again.resized.iter().map(|(_, size)| (size.cols, size.rows)).collect();
    assert_eq!(resized, [(100, 30)]);
    assert!(operator.resized.is_empty(), "it asked for the size itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_without_a_size_leaves_the_keyboard_to_others_until_it_types() {
    let rig = Rig::running("stty -echo; read x; echo \"<$x>\"; read y").await;
    let bearer = rig.bearer();
    let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "operator"), (CLIENT_HEADER, "pipe")];
    let mut pipe = TerminalClient::open(&rig.ws_url(), &headers, &[TTY_R1]).await.unwrap().unwrap();
    pipe.hello(Hello::default()).await.unwrap();
    pipe.wait_until(SOON, "who is there", |c| !c.presences.is_empty()).await.unwrap();
    assert!(!pipe.presences[0].held, "{:?}", pipe.presences);
    let mut person = rig.operator("person").await;
    person.wait_until(SOON, "the keyboard", |c| c.presences.last().is_some_and(|p| p.holds)).await.unwrap();
    // The other is told at once, though there is no output.
    pipe.wait_until(Duration::from_secs(5), "the other", |c| c.presences.last().is_some_and(|p| p.operators == 2))
        .await
        .unwrap();
    pipe.type_at_offset(b"to nobody\n").await.unwrap();
    pipe.wait_until(SOON, "an acknowledgement", |c| c.input_acked == Some(10)).await.unwrap();
    drop(person);
    pipe.wait_until(SOON, "nobody else", |c| c.presences.last().is_some_and(|p| !p.held)).await.unwrap();
    pipe.type_at_offset(b"to the program\n").await.unwrap();
    pipe.wait_for("<to the program>", SOON).await.unwrap();
    assert!(pipe.presences.last().unwrap().holds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_speaks_ttyd() {
    let rig = Rig::running("printf 'a\\033[6nb\\n'; read x; echo \"<$x>\"; printf 'c\\033[5nd\\n'; read y").await;
    rig.operator("first").await.wait_for("b\r\n", SOON).await.unwrap();
    let mut stock = rig.stock("stock").await;
    assert_eq!(stock.protocol.as_deref(), Some(TTY));
    stock.wait_for("ab\r\n", SOON).await.unwrap();
    assert!(stock.title.as_ref().unwrap().starts_with("printf"), "{:?}", stock.title);
    stock.type_text("x y\n").await.unwrap();
    // Replayed questions are taken out, live ones are not.
    stock.wait_for("<x y>\r\nc\x1b[5nd\r\n", SOON).await.unwrap();
    assert!(stock.starts.is_empty() && stock.waiting.is_empty());
    stock.type_text("\n").await.unwrap();
    assert_eq!(stock.wait_closed(SOON).await.unwrap(), Some(close::ENDED));
    assert!(stock.exit.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_quick_exits_arrive_whole() {
    let expected: String = (1..=20000).map(|n| format!("{n}\r\n")).collect();
    let expected = std::sync::Arc::new(expected);
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(4));
    let runs = (0..100).map(|n| {
        let (expected, places) = (expected.clone(), places.clone());
        tokio::spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let rig = Rig::running("seq 1 20000; exit 7").await;
            let protocol = if n % 2 == 0 { TTY } else { TTY_R1 };
            let mut client = rig.attach("c", "operator", protocol).await;
            assert_eq!(client.wait_closed(SOON).await.unwrap(), Some(close::ENDED), "run {n}");
            assert!(
                client.text().ends_with(&*expected),
                "run {n} ends with {:?}",
                client.text().get(client.output.len() - 80..)
            );
            assert!(protocol == TTY || client.exit.unwrap().code == Some(7));
            assert_eq!(rig.ended().await.exit_code, Some(7));
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_the_secret_or_no_role_gets_nothing() {
    let rig = Rig::running("read x").await;
    let bearer = rig.bearer();
    let status = |headers: Vec<(&'static str, String)>, protocols: &'static [&'static str]| {
        let url = rig.ws_url();
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            TerminalClient::open(&url, &headers, protocols).await.unwrap().err().map(|refused| refused.status)
        }
    };
    let role = || (ROLE_HEADER, "operator".to_owned());
    assert_eq!(status(vec![role()], &[TTY]).await, Some(401));
    assert_eq!(status(vec![role(), ("authorization", "Bearer x".into())], &[TTY]).await, Some(401));
    let mut cut = bearer.clone();
    cut.pop();
    assert_eq!(status(vec![role(), ("authorization", cut)], &[TTY]).await, Some(401));
    assert_eq!(status(vec![("authorization", bearer.clone())], &[TTY]).await, Some(400));
    let unknown = (ROLE_HEADER, "owner".to_owned());
    assert_eq!(status(vec![unknown, ("authorization", bearer.clone())], &[TTY]).await, Some(400));
    assert_eq!(status(vec![role(), ("authorization", bearer.clone())], &["other"]).await, Some(400));
    assert_eq!(status(vec![role(), ("authorization", bearer)], &["other", TTY]).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_the_limit_and_a_missing_hello_are_refused() {
    let rig = Rig::running("read x").await;
    let mut client = rig.operator("a").await;
    let huge = vec![b'0'; session::frames::MAX_CLIENT_FRAME + 1];
    client.send_raw(tokio_tungstenite::tungstenite::Message::Binary(huge.into())).await.unwrap();
    assert_eq!(client.wait_closed(SOON).await.unwrap(), Some(1009));
    let bearer = rig.bearer();
    let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, "viewer"), (CLIENT_HEADER, "b")];
    let mut silent = TerminalClient::open(&rig.ws_url(), &headers, &[TTY_R1]).await.unwrap().ok().unwrap();
    assert_eq!(silent.wait_closed(SOON).await.unwrap(), Some(1002));
    let mut rude = TerminalClient::open(&rig.ws_url(), &headers, &[TTY_R1]).await.unwrap().ok().unwrap();
    rude.type_text("no hello").await.unwrap();
    assert_eq!(rude.wait_closed(SOON).await.unwrap(), Some(1002));
    let mut bare = TerminalClient::open(&rig.ws_url(), &headers, &[TTY_R1]).await.unwrap().ok().unwrap();
    bare.hello(Hello::default()).await.unwrap();
    bare.wait_until(SOON, "a start", |client| client.starts.len() == 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_silent_connections_harm_nobody() {
    let rig = Rig::running("read x; echo \"<$x>\"").await;
    let mut held = Vec::new();
    for n in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(&rig.address).await.unwrap();
        let bytes: &[u8] = if n % 2 == 0 { b"\x16\x03\x01\x00garbage\r\n\r\n" } else { b"GET /ws HTTP/1.1\r\nhost" };
        tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await.unwrap();
        held.push(stream);
    }
    let mut client = rig.operator("a").await;
    client.type_text("still here\n").await.unwrap();
    client.wait_for("<still here>", Duration::from_secs(8)).await.unwrap();
}
