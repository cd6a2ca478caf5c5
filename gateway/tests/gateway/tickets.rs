//! Ways back that go wrong: answers that never arrive, and tickets that come twice.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use session::Role;
use session::runner_api::CLIENT_HEADER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{BOTH, Harness, Session, soon};
use crate::runner::FakeRunner;

fn offer(ticket: &str) -> String {
    format!("{BOTH}, ticket.{ticket}")
}

/// Asks for an upgrade by a ticket, and takes `read` bytes of the answer; what is dropped is cut.
async fn ask(harness: &Harness, session: &Session, ticket: &str, read: usize) -> TcpStream {
    ask_with(harness, session, "", &offer(ticket), read).await
}

async fn ask_with(harness: &Harness, session: &Session, query: &str, offers: &str, read: usize) -> TcpStream {
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    let request = format!(
        "GET /ws/{}{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
        session.id, harness.address, offers
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    soon("a part of the answer", stream.read_exact(&mut vec![0; read])).await.unwrap();
    stream
}

#[tokio::test]
async fn an_answer_that_was_lost_after_its_ticket_was_used_locks_nobody_out() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let mut client = harness.enter(&session, BOTH).await;
    let name = runner.accept().await.headers[CLIENT_HEADER].clone();
    let mut lost = 0;
    // Before the first byte of the 101, in the middle of it, and in the frame with the next ticket (which is some 200
    // bytes on).
    for read in [0, 1, 60, 220] {
        let ticket = client.tickets.clone().unwrap().ticket;
        drop(client);
        // And once more, as a page does that is cut off again and again.
        for _ in 0..2 {
            let cut = ask(&harness, &session, &ticket, read).await;
            lost += 1;
            // The ticket's use is committed by now.
            let line = format!(r#"cliscale_gateway_admissions_total{{outcome="admitted_ticket"}} {lost}"#);
            harness.metric(&line).await;
            drop(cut);
        }
        client = harness.dial(&session, None, &offer(&ticket), &[]).await.open().await;
        lost += 1;
        // Those that were lost may have reached the runner, too; the last one is this client's.
        client.send(format!("0after {read}")).await;
        loop {
            let stream = runner.accept_tcp().await;
            let Some(mut attached) = FakeRunner::try_to_shake_hands(stream).await else { continue };
            assert_eq!(attached.headers[CLIENT_HEADER], name, "it is the same client");
            if let Some(message) = attached.message_if_any().await {
                assert_eq!(message, format!("0after {read}"));
                attached.output("welcome").await;
                break;
            }
        }
        assert_eq!(client.output().await, "welcome");
    }
    let (last, next) = (client.tickets.clone().unwrap().ticket, harness.another().await);
    let successor = next.dial(&session, None, &offer(&last), &[]).await.open().await.tickets.unwrap().ticket;
    next.dial(&session, None, &offer(&successor), &[]).await.open().await;
    // Once the successor was used, whoever comes with the one before has a copy.
    let stolen = next.dial(&session, None, &offer(&last), &[]).await.closed().await;
    assert_eq!(stolen, (4401, "ticket_reused".to_owned()));
}

#[tokio::test]
async fn an_answer_that_was_lost_after_the_token_was_used_locks_nobody_out_who_drew_a_ticket() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    for (number, read) in [0, 1, 60, 220].into_iter().enumerate() {
        let token = harness.token(&session, Role::Operator).await;
        let own = BASE64_URL_SAFE_NO_PAD.encode([number as u8; 32]);
        let offers = format!("{BOTH}, own-ticket.{own}");
        let cut = ask_with(&harness, &session, &format!("?token={token}"), &offers, read).await;
        let line = format!(r#"cliscale_gateway_admissions_total{{outcome="admitted_token"}} {}"#, number + 1);
        harness.metric(&line).await;
        drop(cut);
        // Without the ticket it is a used token like any other.
        let stranger = harness.dial(&session, Some(&token), &offers, &[]).await.closed().await;
        assert_eq!(stranger, (4401, "token_used".to_owned()));
        let again = format!("{offers}, ticket.{own}");
        let client = harness.dial(&session, Some(&token), &again, &[]).await.open().await;
        assert_ne!(client.tickets.unwrap().ticket, own, "it has a new one from now on");
    }
    // What anybody could guess is not taken as one.
    let token = harness.token(&session, Role::Operator).await;
    let client = harness.dial(&session, Some(&token), &format!("{BOTH}, own-ticket.AAAA"), &[]).await.open().await;
    assert_ne!(client.tickets.unwrap().ticket, "AAAA");
}
