//! Before the runner is there: what the client is told, and what becomes of what it sends.

use futures_util::SinkExt;
use session::frames::{ServerFrame, Waiting};
use session::{EndReason, Stage};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{BOTH, Harness, STOCK};
use crate::peer::{Client, Got};
use crate::runner::FakeRunner;

pub async fn expect_end(client: &mut Client, code: i32) {
    match client.frame().await {
        Got::Frame(ServerFrame::Exit(exit)) => {
            assert_eq!((exit.code, exit.reason), (Some(code), EndReason::Exited));
        }
        other => panic!("expected the end, got {other:?}"),
    }
    assert!(matches!(client.frame().await, Got::Close(1000, _)));
}

async fn waiting(client: &mut Client) -> Waiting {
    match client.frame().await {
        Got::Frame(ServerFrame::Waiting(waiting)) => waiting,
        other => panic!("expected to be told about waiting, got {other:?}"),
    }
}

#[tokio::test]
async fn a_client_is_told_each_stage_until_its_runner_is_there() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.queued().await;
    let mut client = harness.enter(&session, BOTH).await;
    let mut stock = harness.enter(&session, STOCK).await;
    assert_eq!(waiting(&mut client).await.stage, Stage::Queued);
    assert_eq!(stock.output().await, "Waiting for a sandbox ...\r\n");
    harness.advance(&session, Stage::Assigned).await;
    assert_eq!(waiting(&mut client).await.stage, Stage::Assigned);
    harness.ready(&session, runner.address).await;
    for _ in 0..2 {
        let mut attached = runner.accept().await;
        assert_eq!(attached.headers["authorization"], "Bearer runner-secret-0123456789");
        attached.output("ready").await;
        tokio::spawn(async move { attached.message().await });
    }
    assert_eq!(client.output().await, "ready");
}

#[tokio::test]
async fn what_a_client_sends_early_arrives_once_and_in_order() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.queued().await;
    let mut client = harness.enter(&session, BOTH).await;
    client.send(&br#"{"AuthToken":"","columns":80,"rows":24}"#[..]).await;
    for number in 0..100 {
        client.send(format!("0early {number}")).await;
        if number % 10 == 0 {
            // Answered by the gateway itself, and no business of the runner's.
            client.socket.send(Message::Ping(vec![number].into())).await.unwrap();
        }
    }
    let pong = crate::harness::soon("a pong", async {
        loop {
            if let Message::Pong(payload) = futures_util::StreamExt::next(&mut client.socket).await.unwrap().unwrap() {
                return payload;
            }
        }
    })
    .await;
    assert_eq!(pong[..], [0]);
    harness.ready(&session, runner.address).await;
    let mut attached = runner.accept().await;
    client.send("0late").await;
    assert_eq!(attached.message().await, r#"{"AuthToken":"","columns":80,"rows":24}"#);
    for number in 0..100 {
        assert_eq!(attached.message().await, format!("0early {number}"));
    }
    assert_eq!(attached.message().await, "0late");
}

#[tokio::test]
async fn more_than_is_held_is_refused() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let mut client = harness.enter(&session, BOTH).await;
    client.send(vec![b'0'; gateway::MAX_HELD + 1]).await;
    assert!(matches!(waiting(&mut client).await.stage, Stage::Queued));
    assert!(matches!(client.frame().await, Got::Close(1009, _)));
    drop(client);
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="client_refused"} 1"#).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_noticed_and_answered() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let mut client = harness.enter(&session, BOTH).await;
    waiting(&mut client).await;
    harness.metric("cliscale_gateway_connections 1").await;
    client.socket.close(None).await.unwrap();
    assert!(matches!(client.frame().await, Got::Close(..) | Got::Cut));
    harness.metric("cliscale_gateway_connections 0").await;
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="client_closed"} 1"#).await;
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_waited_for_shows_its_end() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let mut client = harness.enter(&session, BOTH).await;
    let mut stock = harness.enter(&session, STOCK).await;
    waiting(&mut client).await;
    harness.end_and_forget(&session, 3).await;
    expect_end(&mut client, 3).await;
    stock.output().await;
    assert!(matches!(stock.frame().await, Got::Close(1000, _)));
}

#[tokio::test]
async fn a_runner_that_refuses_at_first_is_tried_again_and_harms_no_other() {
    let (harness, healthy) = (Harness::start().await, FakeRunner::start().await);
    // An address that nobody listens at, for now.
    let address = FakeRunner::start().await.address;
    let session = harness.running(address).await;
    let mut client = harness.enter(&session, BOTH).await;
    assert_eq!(waiting(&mut client).await.stage, Stage::Running);

    let other = harness.running(healthy.address).await;
    let mut neighbour = harness.enter(&other, BOTH).await;
    healthy.accept().await.output("fine").await;
    assert_eq!(neighbour.output().await, "fine");

    let runner = FakeRunner::start_at(address).await;
    // One that answers with something else than an upgrade is as good as one that refuses.
    let mut rude = runner.accept_tcp().await;
    tokio::io::AsyncWriteExt::write_all(&mut rude, b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let mut attached = runner.accept().await;
    attached.output("at last").await;
    assert_eq!(client.output().await, "at last");
}

#[tokio::test]
async fn a_runner_that_is_gone_with_its_ended_session_leaves_the_end_to_be_shown() {
    let harness = Harness::start().await;
    let address = FakeRunner::start().await.address;
    let session = harness.running(address).await;
    harness.end(&session, 5).await;
    let mut client = harness.enter(&session, BOTH).await;
    expect_end(&mut client, 5).await;
}

#[tokio::test]
async fn stopping_tells_those_who_wait() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let mut client = harness.enter(&session, BOTH).await;
    waiting(&mut client).await;
    harness.shutdown.begin();
    assert!(matches!(client.frame().await, Got::Close(1012, _)));
    drop(client);
    assert!(harness.shutdown.finish(crate::harness::PATIENCE).await);
}
