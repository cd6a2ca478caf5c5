//! PostgreSQL goes away, or stalls, under a controller and a gateway: nothing begins and nobody enters, open terminals go
//! on, no end and no token is lost, and all recovers by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use session::frames::close;
use testkit::postgres::{self, Server};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;
use tokio::net::{TcpListener, TcpStream};

use crate::sharing;
use crate::world::World;

/// How long any answer may take while the database is in trouble.
const BOUND: Duration = Duration::from_secs(15);
/// Says what it reads.
const ECHO: &str = "while read line; do echo got $line; done";

/// Nothing begins, an unused token lets nobody in, and no link is handed out.
async fn is_closed(world: &World, open: &TerminalClient, unused: &Value) -> Result<()> {
    let began = Instant::now();
    let answer = world.api.try_create("away", &world.request("exit 3")).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.retry_after.is_some(), "{answer:?}");
    let mut stranger = world.open(unused).await?;
    assert_eq!(stranger.wait_closed(BOUND).await?, Some(close::UNAVAILABLE));
    assert!(stranger.tickets.is_none(), "somebody entered without a database");
    ensure!(began.elapsed() < BOUND, "the refusals took {:?}", began.elapsed());
    let tickets = open.tickets.as_ref().context("tickets")?;
    let session = unused["sessionId"].as_str().context("an id")?;
    let began = Instant::now();
    let (status, problem) = sharing::ask(world, session, &tickets.page_token).await?;
    assert_eq!((status, &problem["type"]), (503, &json!("/docs/errors/unavailable")), "{problem}");
    ensure!(began.elapsed() < BOUND, "no link took {:?}", began.elapsed());
    Ok(())
}

/// Types a line and sees it answered.
async fn talk(client: &mut TerminalClient, line: &str) -> Result<()> {
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    client.type_at_offset(format!("{line}\r").as_bytes()).await?;
    client.wait_for(&format!("got {line}"), SOON).await
}

#[tokio::test]
async fn while_the_database_is_away_what_runs_goes_on_and_no_end_and_no_token_is_lost() -> Result<()> {
    if postgres::missing() {
        return Ok(());
    }
    let server = Server::start_new().await?;
    let database = server.database().await?;
    let world = World::start(&database.url).await?;
    let (entry, id) = world.running(ECHO).await?;
    let unused = world.api.token(&id, "operator").await?;
    let mut open = world.open(&entry).await?;
    talk(&mut open, "before").await?;
    let (ending, ended) = world.running("read line; exit 7").await?;
    let mut ending = world.open(&ending).await?;
    ending.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;

    server.stop().await?;
    world.until_told(false).await?;
    is_closed(&world, &open, &unused).await?;
    talk(&mut open, "meanwhile").await?;
    // A command that ends now is seen by who is there, and reported when somebody can take it down.
    ending.type_at_offset(b"now\r").await?;
    ending.wait_closed(SOON).await?;
    assert_eq!(ending.exit.as_ref().and_then(|exit| exit.code), Some(7));

    server.start().await?;
    world.until_told(true).await?;
    let view = world.api.wait_ended(&ended).await?;
    assert_eq!((&view["endReason"], &view["exitCode"]), (&json!("exited"), &json!(7)), "{view}");
    // The token was not used up by those who were turned away. On PostgreSQL tokens outlive an orderly stop.
    let mut late = world.open(&unused).await?;
    late.wait_for("got meanwhile", SOON).await?;
    talk(&mut open, "after").await?;
    let fresh = world.api.create(world.request("exit 3")).await?;
    let view = world.api.wait_ended(fresh["sessionId"].as_str().context("an id")?).await?;
    assert_eq!(view["exitCode"], 3, "{view}");
    assert_eq!(world.api.show(&id).await?["state"], "running");
    world.stop().await
}

/// A way to the server that can be made to carry nothing, as a network does that drops what it is given.
struct Way {
    address: SocketAddr,
    stalled: Arc<AtomicBool>,
}

impl Way {
    async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let way = Self { address: listener.local_addr()?, stalled: Arc::default() };
        let stalled = Arc::clone(&way.stalled);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let stalled = Arc::clone(&stalled);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = carry(from_client, to_server, &stalled) => {}
                        () = carry(from_server, to_client, &stalled) => {}
                    }
                });
            }
        });
        Ok(way)
    }

    fn carries(&self, carries: bool) {
        self.stalled.store(!carries, Ordering::SeqCst);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    stalled: &AtomicBool,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        while stalled.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_database_that_stalls_holds_nobody_up_for_long() -> Result<()> {
    if postgres::missing() {
        return Ok(());
    }
    let server = Server::shared().await?;
    let database = server.database().await?;
    let way = Way::to(server.port()).await?;
    let url = server.url_at(&way.address.to_string(), &database.name, "sslmode=disable");
    let world = World::start(&url).await?;
    let (entry, id) = world.running(ECHO).await?;
    let unused = world.api.token(&id, "operator").await?;
    let mut open = world.open(&entry).await?;
    talk(&mut open, "before").await?;

    way.carries(false);
    world.until_told(false).await?;
    is_closed(&world, &open, &unused).await?;
    talk(&mut open, "meanwhile").await?;

    way.carries(true);
    world.until_told(true).await?;
    talk(&mut open, "after").await?;
    let fresh = world.api.create(world.request("exit 3")).await?;
    let view = world.api.wait_ended(fresh["sessionId"].as_str().context("an id")?).await?;
    assert_eq!(view["exitCode"], 3, "{view}");
    assert_eq!(world.api.show(&id).await?["state"], "running");
    world.stop().await
}
