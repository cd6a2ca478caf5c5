//! Creations counted by who really sent them.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::Value;
use testkit::cluster::chart::{IngressProxy, Installation};
use testkit::connector::Connector;

use crate::text;

/// A minute's creations for each client; more than anybody else on this machine's address needs.
pub const RATE: usize = 5;

/// Creations count for whoever the proxy saw, whatever a client says of itself; another client is not held back by them.
pub async fn clients_are_told_apart(installation: &Installation, proxy: &IngressProxy, key: &str) -> Result<()> {
    let (greedy, modest): (IpAddr, IpAddr) = ("127.0.0.77".parse()?, "127.0.0.78".parse()?);
    let body = installation.request("true");
    for number in 0..RATE {
        let (status, answer) = create(proxy, key, greedy, &format!("203.0.113.{number}, 198.51.100.7"), &body).await?;
        assert_eq!(status, 201, "creation {number}: {answer}");
    }
    let (status, answer) = create(proxy, key, greedy, "203.0.113.99", &body).await?;
    assert_eq!(status, 429, "{answer}");
    let detail = text(&answer, "detail")?;
    assert!(detail.contains(&format!("client {greedy}")), "{detail}");
    let (status, answer) = create(proxy, key, modest, &greedy.to_string(), &body).await?;
    assert_eq!(status, 201, "{answer}");
    Ok(())
}

/// A creation from one of this machine's addresses, which claims to come from others.
async fn create(proxy: &IngressProxy, key: &str, from: IpAddr, forwarded: &str, body: &Value) -> Result<(u16, Value)> {
    let client = Connector::default().http()?.local_address(from).build()?;
    let answer = client
        .post(format!("{}/api/sessions", proxy.url()))
        .bearer_auth(key)
        .header("x-forwarded-for", forwarded)
        .header("x-real-ip", forwarded)
        .header("forwarded", format!("for={forwarded}"))
        .json(body)
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}
