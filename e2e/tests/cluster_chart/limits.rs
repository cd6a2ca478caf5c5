//! Another image for runners, with nothing of ours in it; and creations counted by who really sent them.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::archive_server::Reply;
use testkit::cluster::chart::{self, IngressProxy, Installation};
use testkit::cluster::code::tar_gz;
use testkit::connector::Connector;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::text;

/// A minute's creations for each client.
const RATE: usize = 6;

#[tokio::test]
async fn any_image_runs_sessions_and_limits_count_the_client_whom_the_proxy_saw() -> Result<()> {
    chart::run(async |installation| {
        let database = installation.external_database().await?;
        let values = json!({
            "database": { "url": database.url },
            // One of each: what is counted by each replica is exact.
            "controller": { "replicas": 1 },
            "gateway": { "replicas": 1 },
            "runner": { "installer": { "enabled": true }, "image": { "repository": "debian" } },
            "sessions": { "createRate": format!("{RATE}/min") },
        });
        installation.deploy(&["install"], &[&values]).await?.succeeded()?;
        let proxy = installation.proxy().await?;
        let api = installation.api(&Connector::default(), &proxy.url()).await?;
        tokio::try_join!(archives_run(installation, &api), repositories_name_git(installation, &api))?;
        clients_are_told_apart(installation, &proxy, &api.key).await
    })
    .await
}

async fn archives_run(installation: &Installation, api: &Api) -> Result<()> {
    let say = b"echo \"$(id -u) in $(pwd) says $(cat word)\"; exit 3\n";
    let archive = tar_gz(&[("say.sh", say), ("word", b"hello")])?;
    let code_url = installation.code.archives.serve("/bare.tar.gz", Reply::Whole(archive)).to_string();
    let entry = api.create(json!({ "code_url": code_url, "command": "sh say.sh", "install_cmd": "" })).await?;
    let mut client = TerminalClient::connect(text(&entry, "webSocketUrl")?, &[], &[TTY_R1]).await?;
    client.wait_for("says hello", 3 * SOON).await?;
    assert!(client.has("10001 in /workspace"), "{}", client.text());
    assert_eq!(api.wait_ended(text(&entry, "sessionId")?).await?["exitCode"], 3);
    Ok(())
}

async fn repositories_name_git(installation: &Installation, api: &Api) -> Result<()> {
    let repo = installation.code.git.create_repo("owner/bare.git");
    repo.branch("main");
    repo.commit(&[("say.sh", "echo hello\n")]);
    let code_url = installation.code.git.url("/owner/bare.git").to_string();
    let entry = api.create(json!({ "code_url": code_url, "command": "sh say.sh", "install_cmd": "" })).await?;
    let view = api.wait_ended(text(&entry, "sessionId")?).await?;
    assert_eq!(view["endReason"], "fetch_failed", "{view}");
    assert!(text(&view, "endMessage")?.contains("git"), "{view}");
    Ok(())
}

/// Attempts count for whoever the proxy saw, whatever a client says of itself; another client is not held back by them.
async fn clients_are_told_apart(installation: &Installation, proxy: &IngressProxy, key: &str) -> Result<()> {
    let (greedy, modest): (IpAddr, IpAddr) = ("127.0.0.77".parse()?, "127.0.0.78".parse()?);
    let invented = |number: usize| format!("203.0.113.{number}, 198.51.100.{number}");
    // None of them is valid, so that nothing runs; each counts.
    let mut refused = Value::Null;
    for number in 0..=RATE {
        let (status, answer) = attempt(proxy, key, greedy, &invented(number)).await?;
        assert_eq!(status == 429, number == RATE, "attempt {number}: {answer}");
        refused = answer;
    }
    let detail = text(&refused, "detail").context("a 429 that says why")?;
    assert!(detail.contains(&format!("client {greedy}")), "{detail}");
    assert_ne!(attempt(proxy, key, modest, &greedy.to_string()).await?.0, 429);
    // Past the proxy, from inside of the cluster, nobody is a proxy either: the limit is of the sender.
    assert_ne!(installation.kubernetes.host, greedy);
    Ok(())
}

/// A creation that is not valid, from one of this machine's addresses.
async fn attempt(proxy: &IngressProxy, key: &str, from: IpAddr, forwarded: &str) -> Result<(u16, Value)> {
    let client = Connector::default().http()?.local_address(from).build()?;
    let answer = client
        .post(format!("{}/api/sessions", proxy.url()))
        .bearer_auth(key)
        .header("x-forwarded-for", forwarded)
        .header("x-real-ip", forwarded)
        .header("forwarded", format!("for={forwarded}"))
        .json(&json!({ "command": "true" }))
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}
