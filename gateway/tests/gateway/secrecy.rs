//! What must never be logged, is not.

use std::io::Write;
use std::sync::{Arc, Mutex};

use session::Role;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{BOTH, Harness, STOCK};
use crate::runner::FakeRunner;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_token_ticket_or_runner_secret_is_in_any_log() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(captured.clone());
    // For the whole process: the gateway's tasks run on threads of their own.
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let token = harness.token(&session, Role::Operator).await;
    let client = harness.dial(&session, Some(&token), BOTH, &[]).await.open().await;
    drop(runner.accept().await);
    let tickets = client.tickets.clone().unwrap();
    drop(client);
    let link = crate::share::link(&crate::share::ask(&harness, &session.id.to_string(), &tickets.page_token).await);
    let shared = link.rsplit('.').next().unwrap().to_owned();
    crate::share::ask(&harness, &session.id.to_string(), &token).await;
    harness.dial(&session, Some(&token), STOCK, &[]).await.refused();
    let garbage = format!("{token}garbage");
    harness.dial(&session, Some(&garbage), BOTH, &[]).await.closed().await;
    crate::page::get(&harness, &format!("/ws/{}?token={garbage}", session.id)).await;
    let offer = format!("{BOTH}, ticket.{}", tickets.ticket);
    harness.dial(&session, None, &offer, &[]).await.open().await;
    runner.accept().await;
    harness.metric(r#"cliscale_gateway_admissions_total{outcome="admitted_ticket"} 1"#).await;

    let log = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    assert!(log.contains("admitted") && log.contains(&session.id.to_string()), "{log}");
    let parts: Vec<&str> = token.split('.').collect();
    for secret in [parts[1], parts[2], &tickets.ticket, &tickets.page_token, &shared, session.secret.expose()] {
        assert!(!log.contains(secret), "{log}");
    }
}
