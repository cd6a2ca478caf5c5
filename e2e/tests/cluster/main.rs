//! The whole stack on Kubernetes with PostgreSQL: two controllers, two gateways, each session a Job. Every test has a
//! namespace and a database of its own; what breaks the cluster itself is in `cluster_node`.

mod any_image;
mod failures;
mod job;
mod kills;
mod outages;
mod pools;
mod recordings;
mod replicas;

use anyhow::{Context, Result};
use serde_json::Value;
use session::frames::TTY_R1;
use testkit::terminal_client::TerminalClient;

/// A string of an answer.
fn text<'a>(answer: &'a Value, name: &str) -> Result<&'a str> {
    answer[name].as_str().with_context(|| format!("no {name} in {answer}"))
}

/// Opens the terminal that an entry leads to.
async fn open(entry: &Value) -> Result<TerminalClient> {
    TerminalClient::connect(text(entry, "webSocketUrl")?, &[], &[TTY_R1]).await
}
