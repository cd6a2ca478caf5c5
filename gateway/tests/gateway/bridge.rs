//! The bridge: bytes both ways, and every way in which one side can end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gateway::GatewayConfig;
use session::frames::ServerFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::harness::{BOTH, Harness, STOCK, Session, soon};
use crate::peer::{Client, Got};
use crate::runner::{Attached, FakeRunner};
use crate::waiting::expect_end;

struct Stage {
    harness: Harness,
    session: Session,
    client: Client,
    attached: Attached,
}

async fn bridged(protocols: &str) -> Stage {
    bridged_with(protocols, GatewayConfig::default()).await
}

async fn bridged_with(protocols: &str, config: GatewayConfig) -> Stage {
    let (harness, runner) = (Harness::start_with(config).await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let client = harness.enter(&session, protocols).await;
    let attached = runner.accept().await;
    Stage { harness, session, client, attached }
}

/// One unmasked frame of `length` bytes of output.
fn output_frame(length: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 127];
    frame.extend_from_slice(&(length as u64).to_be_bytes());
    frame.resize(10 + length, b'0');
    frame
}

#[tokio::test]
async fn messages_of_every_length_cross_both_ways_and_are_counted() {
    for protocols in [BOTH, STOCK] {
        let Stage { harness, mut client, mut attached, .. } = bridged(protocols).await;
        for length in [1, 2, 125, 126, 65_535, 65_536, 300_000] {
            let message = Bytes::from(vec![b'0'; length]);
            attached.socket.send(Message::Binary(message.clone())).await.unwrap();
            assert_eq!(client.output().await.len(), length - 1);
            client.send(message.clone()).await;
            assert_eq!(attached.message().await, message);
        }
        // Whole frames, whatever the gateway itself does with control frames elsewhere.
        attached.socket.send(Message::Ping(Bytes::from_static(b"live"))).await.unwrap();
        attached.output("after").await;
        assert_eq!(client.output().await, "after");
        client.socket.flush().await.unwrap();
        let pong = soon("a pong", attached.socket.next()).await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong(Bytes::from_static(b"live")));
        let text = harness.metrics_text().await;
        let counted = text.lines().find_map(|line| line.strip_prefix("cliscale_gateway_to_client_bytes_total "));
        assert!(counted.unwrap().parse::<u64>().unwrap() > 431_000, "{text}");
    }
}

#[tokio::test]
async fn the_runners_last_word_arrives_whole_before_its_close() {
    for _ in 0..20 {
        let Stage { harness, mut client, mut attached, .. } = bridged(BOTH).await;
        let sending = tokio::spawn(async move {
            for _ in 0..50 {
                attached.socket.feed(Message::Binary(vec![b'0'; 20_001].into())).await.unwrap();
            }
            let close = CloseFrame { code: 1000.into(), reason: "".into() };
            attached.socket.close(Some(close)).await.unwrap();
            // The client's own close frame comes back through the bridge.
            while let Some(Ok(_)) = attached.socket.next().await {}
        });
        let mut total = 0;
        loop {
            match client.frame().await {
                Got::Frame(ServerFrame::Output(bytes)) => total += bytes.len(),
                Got::Close(1000, _) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(total, 50 * 20_000);
        assert!(matches!(client.frame().await, Got::Cut));
        drop(client);
        soon("the runner's end", sending).await.unwrap();
        harness.metric(r#"cliscale_gateway_connection_ends_total{by="runner_closed"} 1"#).await;
    }
}

#[tokio::test]
async fn bytes_that_come_with_the_runners_handshake_are_not_lost() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let mut client = harness.enter(&session, BOTH).await;
    let mut stream = runner.accept_tcp().await;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: tty.r1\r\n\r\n"
    );
    let together = [answer.as_bytes(), b"\x82\x060first"].concat();
    stream.write_all(&together).await.unwrap();
    assert_eq!(client.output().await, "first");
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_runner() {
    let Stage { harness, client, mut attached, .. } = bridged(BOTH).await;
    drop(client);
    soon("the runner to notice", async { while let Some(Ok(_)) = attached.socket.next().await {} }).await;
    drop(attached);
    harness.metric("cliscale_gateway_connections 0").await;
}

#[tokio::test]
async fn a_runner_that_vanishes_is_explained_by_the_sessions_row() {
    let Stage { harness, session, mut client, attached } = bridged(BOTH).await;
    drop(attached);
    harness.end(&session, 137).await;
    expect_end(&mut client, 137).await;
    drop(client);
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="runner_error"} 1"#).await;

    let Stage { harness: _harness, mut client, attached, .. } = bridged(BOTH).await;
    drop(attached);
    // Nothing says that the session is over, so this tab is to come back.
    assert!(matches!(client.frame().await, Got::Close(1013, reason) if reason == "runner_lost"));
}

#[tokio::test]
async fn a_fragmented_message_under_way_is_not_interrupted_by_another() {
    let Stage { harness, session, mut client, attached } = bridged(BOTH).await;
    let mut stream = attached.socket.into_inner();
    // A first fragment, and no last one: an X frame could not stand here, a close frame can.
    stream.write_all(b"\x02\x040abc").await.unwrap();
    harness.end(&session, 0).await;
    drop(stream);
    assert!(matches!(client.frame().await, Got::Close(1013, _)));
}

#[tokio::test]
async fn a_frame_that_a_dying_runner_cut_is_never_completed_by_ours() {
    for cut in [1, 5, 10, 11, 1000] {
        let Stage { harness, session, mut client, attached } = bridged(BOTH).await;
        let mut stream = attached.socket.into_inner();
        stream.write_all(b"\x82\x060whole").await.unwrap();
        stream.write_all(&output_frame(5000)[..cut]).await.unwrap();
        assert_eq!(client.output().await, "whole");
        harness.end(&session, 0).await;
        drop(stream);
        assert!(matches!(client.frame().await, Got::Cut), "cut after {cut}");
    }
}

#[tokio::test]
async fn draining_closes_between_two_frames_of_a_flood() {
    for _ in 0..10 {
        let Stage { harness, mut client, attached, .. } = bridged(BOTH).await;
        let mut stream = attached.socket.into_inner();
        // Written in pieces that never fall on frames' ends.
        let flood = tokio::spawn(async move {
            let frames = output_frame(50_001).repeat(13);
            loop {
                for piece in frames.chunks(7919) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                }
            }
        });
        for _ in 0..20 {
            client.output().await;
        }
        harness.shutdown.begin();
        loop {
            match client.frame().await {
                Got::Frame(ServerFrame::Output(bytes)) => assert_eq!(bytes.len(), 50_000),
                Got::Close(1012, _) => break,
                other => panic!("{other:?}"),
            }
        }
        drop(client);
        soon("the flood's end", flood).await.unwrap();
        assert!(harness.shutdown.finish(crate::harness::PATIENCE).await);
    }
}

#[tokio::test]
async fn draining_does_not_wait_for_ever_for_a_frames_end() {
    let config = GatewayConfig { drain_timeout: Duration::from_millis(100), ..GatewayConfig::default() };
    let Stage { harness, mut client, attached, .. } = bridged_with(BOTH, config).await;
    let mut stream = attached.socket.into_inner();
    stream.write_all(&output_frame(5000)[..100]).await.unwrap();
    harness.metric("cliscale_gateway_to_client_bytes_total 100").await;
    harness.shutdown.begin();
    assert!(matches!(client.frame().await, Got::Cut));
    assert!(harness.shutdown.finish(crate::harness::PATIENCE).await);
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="drained"} 1"#).await;
}

#[tokio::test]
async fn a_slow_client_holds_its_runner_back_instead_of_filling_memory() {
    let Stage { harness: _harness, mut client, attached, .. } = bridged(BOTH).await;
    let mut stream = attached.socket.into_inner();
    let frame = output_frame(100_001);
    let mut sent = 0usize;
    let mut at = 0;
    // The client reads nothing: what can be sent is what sockets and one buffer hold, which is far below this.
    let limit = 64 * 1024 * 1024;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), stream.write(&frame[at..])).await {
        at = (at + written.unwrap()) % frame.len();
        sent += 1;
        assert!(sent * 8192 < limit, "nothing holds the runner back");
    }
    // And then it goes on where it stopped.
    let rest = tokio::spawn(async move {
        stream.write_all(&frame[at..]).await.unwrap();
        stream.write_all(b"\x82\x040end").await.unwrap();
        stream
    });
    loop {
        let output = client.output().await;
        if output == "end" {
            break;
        }
        assert_eq!(output.len(), 100_000);
    }
    drop(rest.await.unwrap());
}
