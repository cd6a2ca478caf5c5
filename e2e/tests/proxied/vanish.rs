//! Clients that vanish without a word: how long they are believed to be there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use session::frames::{TTY, TTY_R1};
use testkit::connector::Connector;
use testkit::stack::{SOON, Stack};
use testkit::terminal_client::TerminalClient;

use crate::replicas::Replicas;
use crate::swallow::Network;

/// The promise, and a busy machine.
const FOUND_WITHIN: Duration = Duration::from_secs(75);
const LATE: Duration = Duration::from_secs(5);
/// Two unanswered pings at least, or one that was slow would be taken for gone.
const AT_LEAST: Duration = Duration::from_secs(50);

/// How long the sessions may be without an operator.
const IDLE: Duration = Duration::from_secs(5);

struct Vanished {
    entry: Value,
    since: Instant,
    _network: Network,
}

/// A terminal through a network of its own.
async fn connect(server: &str, entry: &Value, protocol: &str) -> Result<(Network, TerminalClient)> {
    let network = Network::before(server.to_owned()).await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let url = format!("ws://{}{}", network.address, &url[url.find("/ws/").context("a path")?..]);
    let client = TerminalClient::connect(&url, &[], &[protocol]).await?;
    Ok((network, client))
}

/// An operator that sees the program's first word, and of whom nothing is heard any more.
async fn vanish(stack: &Stack, protocol: &str, command: &str) -> Result<Vanished> {
    let folder = stack.data_dir.join("empty-folder");
    std::fs::create_dir_all(&folder)?;
    let body = json!({ "code_url": folder, "command": command, "install_cmd": "", "idle_seconds": IDLE.as_secs() });
    let entry = stack.create(body).await?;
    let (network, mut client) = connect(stack.api_url.trim_start_matches("http://"), &entry, protocol).await?;
    client.wait_for("ready", SOON).await?;
    network.vanish();
    Ok(Vanished { entry, since: Instant::now(), _network: network })
}

/// Waits until a gateway believes that no terminal is open; `admin` is where it tells what it counts.
async fn wait_until_given_up(admin: &str, since: Instant) -> Result<()> {
    let http = Connector::default().http()?.build()?;
    let connections = async || -> Result<u64> {
        let text = http.get(format!("{admin}/metrics")).send().await?.text().await?;
        let gauge = text.lines().find_map(|line| line.strip_prefix("cliscale_gateway_connections "));
        Ok(gauge.context("the gauge")?.parse()?)
    };
    anyhow::ensure!(connections().await? == 1, "it is connected");
    while connections().await? > 0 {
        anyhow::ensure!(since.elapsed() < FOUND_WITHIN + LATE, "still believed to be there");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let after = since.elapsed();
    anyhow::ensure!(after > AT_LEAST, "given up after {after:?}, without a chance");
    Ok(())
}

/// With an operator a session is never idle, so its end says that the operator has been given up.
async fn vanish_in_silence(protocol: &str) -> Result<()> {
    let stack = Stack::start().await?;
    let vanished = vanish(&stack, protocol, "echo ready; read -r line").await?;
    let id = vanished.entry["sessionId"].as_str().context("an id")?;
    let view = loop {
        let view = stack.show(id).await?;
        let after = vanished.since.elapsed();
        anyhow::ensure!(after < FOUND_WITHIN + IDLE + LATE, "{protocol}: still believed to be there: {view}");
        if view["state"] == "ended" {
            anyhow::ensure!(after > AT_LEAST, "{protocol}: given up after {after:?}, without a chance");
            break view;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    anyhow::ensure!(view["endReason"] == "idle", "{view}");
    stack.stop().await?;
    Ok(())
}

/// Output all the time does not hide that nobody takes it.
async fn vanish_under_output() -> Result<()> {
    let stack = Stack::start().await?;
    let vanished = vanish(&stack, TTY_R1, "echo ready; while :; do seq 500; sleep 0.1; done").await?;
    wait_until_given_up(stack.printed.get("admin_url").context("admin_url")?, vanished.since).await?;
    stack.stop().await?;
    Ok(())
}

/// There is nobody yet but the gateway who could notice.
async fn vanish_while_waiting() -> Result<()> {
    let replicas = Replicas::start().await?;
    let entry = replicas.create("read -r line").await?;
    let (network, mut client) = connect(&replicas.clients.to_string(), &entry, TTY_R1).await?;
    client.wait_until(SOON, "news", |client| !client.waiting.is_empty()).await?;
    network.vanish();
    wait_until_given_up(&format!("http://{}", replicas.admin), Instant::now()).await?;
    replicas.stop().await
}

/// One test, since all of it takes the same minute.
#[tokio::test]
async fn clients_that_vanish_are_given_up_within_75_seconds_whatever_they_did_before() -> Result<()> {
    tokio::try_join!(vanish_in_silence(TTY_R1), vanish_in_silence(TTY), vanish_under_output(), vanish_while_waiting(),)?;
    Ok(())
}
