//! The database away: nothing new begins and nobody enters, what runs goes on, and all recovers by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::{open, text};

/// Every replica's own address.
fn replicas(stack: &ClusterStack) -> Result<Vec<Api>> {
    let mut all = Vec::new();
    for index in [0, 1] {
        all.push(stack.controller_api(index)?);
        all.push(Api::new(&format!("http://{}", stack.gateway_address(index)?), &stack.key, SOON)?);
    }
    Ok(all)
}

/// Waits until every replica tells this of its database, and sees that all of them call themselves ready.
async fn wait_until_told(stack: &ClusterStack, healthy: bool) -> Result<()> {
    for replica in replicas(stack)? {
        let deadline = Instant::now() + SOON;
        loop {
            let (status, health) = replica.call(Method::GET, "/healthz", None).await?;
            if (status, health["db_healthy"].as_bool()) == (200, Some(healthy)) {
                break;
            }
            anyhow::ensure!(Instant::now() < deadline, "{} says {status}: {health}", replica.api_url);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(replica.call(Method::GET, "/readyz", None).await?.0, 200, "{}", replica.api_url);
    }
    Ok(())
}

/// Types a line and sees it answered.
async fn talk(client: &mut TerminalClient, line: &str) -> Result<()> {
    client.type_at_offset(format!("{line}\r").as_bytes()).await?;
    client.wait_for(&format!("got {line}"), SOON).await
}

#[tokio::test]
async fn without_its_database_nothing_begins_nobody_enters_and_open_terminals_go_on() -> Result<()> {
    ClusterOptions::default()
        .own_database_server()
        .run(async |stack| {
            let database = stack.database_server.as_ref().context("a server of its own")?;
            let (entry, id, _) = stack.running("while read line; do echo got $line; done").await?;
            let unused = stack.token(&id, "operator").await?;
            let mut client = open(&entry).await?;
            talk(&mut client, "before").await?;

            database.stop().await?;
            wait_until_told(stack, false).await?;
            let answer = stack.try_create("away", &stack.request("exit 3")).await?;
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.retry_after.is_some(), "{answer:?}");
            let mut stranger = TerminalClient::connect(text(&unused, "webSocketUrl")?, &[], &[TTY_R1]).await?;
            stranger.wait_closed(SOON).await?;
            assert!(stranger.tickets.is_none(), "somebody entered without a database");
            talk(&mut client, "meanwhile").await?;

            database.start().await?;
            wait_until_told(stack, true).await?;
            let entry = stack.create(stack.request("exit 3")).await?;
            let view = stack.wait_ended(text(&entry, "sessionId")?).await?;
            assert_eq!(view["exitCode"], 3, "{view}");
            talk(&mut client, "after").await?;
            assert_eq!(stack.show(&id).await?["state"], "running");
            Ok(())
        })
        .await
}
