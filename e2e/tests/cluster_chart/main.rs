//! The chart on a real cluster: installed by Helm, entered through a real proxy that is made from its Ingress, upgraded,
//! rolled back and removed. This machine must be the cluster's node, for the proxy sends to Services.
//!
//! An installation takes long, so each test makes one and does much with it.

mod bundled;
mod domain;
mod external;
mod images;
mod limits;
mod objects;
mod rights;
mod rollout;
mod secure;
mod variations;

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::cluster::chart::Installation;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

/// A string of an answer.
fn text<'a>(answer: &'a Value, name: &str) -> Result<&'a str> {
    answer[name].as_str().with_context(|| format!("no {name} in {answer}"))
}

/// Creates a session and waits for what its command says; answers its entry and the seconds until then.
async fn first_terminal(installation: &Installation, api: &Api) -> Result<(Value, f64)> {
    let began = Instant::now();
    let entry = api.create(installation.request("echo a terminal; exec cat")).await?;
    let mut client = TerminalClient::connect(text(&entry, "webSocketUrl")?, &[], &[TTY_R1]).await?;
    client.wait_for("a terminal", 2 * SOON).await?;
    Ok((entry, began.elapsed().as_secs_f64()))
}
