//! A gateway that stops while terminals are open: who is told when, what newcomers are told, and when it is over.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gateway::GatewayConfig;
use http::header;
use session::Role;
use session::frames::{Hello, Resume, ServerFrame};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{BOTH, Harness, PATIENCE, STOCK, Session, soon};
use crate::peer::{Client, Dialled, Got};
use crate::runner::FakeRunner;

async fn draining_over(spread: Duration) -> Harness {
    Harness::start_with(GatewayConfig { drain_spread: spread, ..GatewayConfig::default() }).await
}

/// Reads to the close and answers when it came, and how much output came before.
async fn told(mut client: Client) -> (Instant, usize) {
    let mut output = 0;
    loop {
        match client.frame().await {
            Got::Frame(ServerFrame::Output(bytes)) => output += bytes.len(),
            Got::Frame(_) => {}
            Got::Close(1012, reason) => {
                assert_eq!(reason, "draining");
                return (Instant::now(), output);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn terminals_are_let_go_of_one_after_the_other_whether_bridged_or_waiting() {
    let spread = Duration::from_secs(2);
    let (harness, runner) = (draining_over(spread).await, FakeRunner::start().await);
    let (running, queued) = (harness.running(runner.address).await, harness.queued().await);
    let mut clients = Vec::new();
    let mut attached = Vec::new();
    for _ in 0..10 {
        for protocols in [BOTH, STOCK] {
            clients.push(harness.enter(&running, protocols).await);
            attached.push(runner.accept().await);
            clients.push(harness.enter(&queued, protocols).await);
        }
    }
    harness.metric("cliscale_gateway_connections 40").await;
    let began = Instant::now();
    harness.shutdown.begin();
    let ends: Vec<_> = clients.into_iter().map(|client| tokio::spawn(told(client))).collect();
    let mut after = Vec::new();
    for end in ends {
        after.push(end.await.unwrap().0 - began);
    }
    after.sort();
    // Each quarter of the time has a quarter of the terminals, give or take the two at its ends and a busy machine.
    for quarter in 1..4 {
        let told = after.iter().filter(|moment| **moment < spread * quarter / 4).count();
        let expected = 10 * usize::try_from(quarter).unwrap();
        assert!(told.abs_diff(expected) <= 4, "{told} instead of {expected}: {after:?}");
    }
    assert!(harness.shutdown.finish(PATIENCE).await);
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="drained"} 40"#).await;
}

#[tokio::test]
async fn newcomers_are_sent_away_with_what_they_came_with_while_others_are_still_served() {
    // Over as soon as the test is: a drain without terminals has nothing to wait for.
    let spread = Duration::from_secs(15);
    let (harness, runner) = (draining_over(spread).await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    // Enough of them that some are told late.
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push((harness.enter(&session, BOTH).await, runner.accept().await));
    }
    let away = harness.enter(&session, BOTH).await;
    let ticket = away.tickets.clone().unwrap().ticket;
    drop((runner.accept().await, away));
    let token = harness.token(&session, Role::Operator).await;
    harness.shutdown.begin();

    let offer = format!("{BOTH}, ticket.{ticket}");
    for (token, protocols) in [(Some(token.as_str()), BOTH), (None, offer.as_str())] {
        let ours = harness.dial(&session, token, protocols, &[]).await.closed().await;
        assert_eq!(ours, (1012, "draining".to_owned()));
    }
    match harness.dial(&session, Some(&token), STOCK, &[]).await {
        Dialled::Refused { status, headers, .. } => {
            assert_eq!((status, headers[header::RETRY_AFTER].to_str().unwrap()), (503, "1"));
        }
        Dialled::Open(_) => panic!("accepted"),
    }
    // Typing and its echo go on for those who were not told yet.
    let mut echoed = 0;
    for (client, attached) in &mut open {
        if client.socket.send(Message::Binary(Bytes::from_static(b"0key"))).await.is_err() {
            continue;
        }
        if let Some(Ok(Message::Binary(_))) = soon("the key", attached.socket.next()).await {
            let echo = ServerFrame::Output(Bytes::from_static(b"key")).encode();
            let sent = attached.socket.send(Message::Binary(echo)).await.is_ok();
            echoed += usize::from(sent && matches!(client.frame().await, Got::Frame(ServerFrame::Output(_))));
        }
    }
    assert!(echoed >= 4, "{echoed} of 8 were served");
    // Nothing was used up: elsewhere both enter.
    let elsewhere = harness.another().await;
    elsewhere.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    elsewhere.dial(&session, None, &offer, &[]).await.open().await;
    drop(open);
    assert!(harness.shutdown.finish(PATIENCE).await);
}

/// A runner's stream that never ends: the byte at each offset follows from the offset, in frames of changing lengths.
fn stream_byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

async fn flood(runner: &FakeRunner, from: u64) -> tokio::task::JoinHandle<()> {
    let stream = runner.accept().await.socket.into_inner();
    tokio::spawn(async move {
        let mut stream = stream;
        let mut at = from;
        loop {
            // Every length of header, and pieces that do not end where frames do.
            let mut pieces = Vec::new();
            for length in [1_u64, 124, 70_000, 126, 3_000, 65_535, 17] {
                let bytes: Vec<u8> = (at..at + length).map(stream_byte).collect();
                at += length;
                pieces.extend(gateway_frame(&bytes));
            }
            for piece in pieces.chunks(7_919) {
                if stream.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
    })
}

fn gateway_frame(output: &[u8]) -> Vec<u8> {
    let length = output.len() + 1;
    let mut frame = vec![0x82];
    match length {
        0..=125 => frame.push(length as u8),
        126..=65_535 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.push(b'0');
    frame.extend_from_slice(output);
    frame
}

/// Reads output and checks every byte of it, until the close or `enough`. Answers the offset of the next byte.
async fn follow(client: &mut Client, mut at: u64, enough: u64) -> u64 {
    while at < enough {
        match client.frame().await {
            Got::Frame(ServerFrame::Output(bytes)) => {
                for byte in bytes {
                    assert_eq!(byte, stream_byte(at), "at {at}");
                    at += 1;
                }
            }
            Got::Close(1012, _) => return at,
            other => panic!("at {at}: {other:?}"),
        }
    }
    at
}

#[tokio::test]
async fn a_flood_goes_on_elsewhere_where_draining_stopped_it_with_no_byte_lost_or_twice() {
    let (mut harness, runner) = (draining_over(Duration::from_millis(300)).await, FakeRunner::start().await);
    let session: Session = harness.running(runner.address).await;
    let mut client = harness.enter(&session, BOTH).await;
    let mut flooding = flood(&runner, 0).await;
    let mut at = 0;
    // One gateway after the other goes under it; the client comes back by its ticket with its offset.
    for _ in 0..12 {
        at = follow(&mut client, at, at + 400_000).await;
        harness.shutdown.begin();
        at = follow(&mut client, at, u64::MAX).await;
        let ticket = client.tickets.clone().unwrap().ticket;
        drop(client);
        soon("the flood's end", flooding).await.unwrap();
        assert!(harness.shutdown.finish(PATIENCE).await);
        harness = harness.another().await;
        client = harness.dial(&session, None, &format!("{BOTH}, ticket.{ticket}"), &[]).await.open().await;
        let resume = Resume { sid: "s".into(), off: at, input: 0, client: String::new() };
        let hello = Hello { resume: Some(resume), ..Hello::default() };
        client.send(serde_json::to_vec(&hello).unwrap()).await;
        flooding = flood(&runner, at).await;
    }
    assert!(at > 12 * 400_000);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_when_its_time_is_over() {
    let config = GatewayConfig {
        drain_spread: Duration::from_millis(200),
        drain_timeout: Duration::from_millis(300),
        ..GatewayConfig::default()
    };
    let (harness, runner) = (Harness::start_with(config).await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let client = harness.enter(&session, BOTH).await;
    let flooding = flood(&runner, 0).await;
    // Until what lies between the two is full.
    let mut before = String::new();
    soon("a standstill", async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = harness.metrics_text().await;
            if now == before {
                return;
            }
            before = now;
        }
    })
    .await;
    let began = Instant::now();
    harness.shutdown.begin();
    assert!(harness.shutdown.finish(PATIENCE).await);
    // Its moment, its frame's end, a closing handshake that never comes; and a busy machine.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="drained"} 1"#).await;
    drop(client);
    soon("the flood's end", flooding).await.unwrap();
}
