//! Those who use an installation while something is done to it: a person at a terminal, and a product's backend that
//! creates session after session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use session::frames::TTY_R1;

use crate::api::{Answer, Api};
use crate::stack::SOON;
use crate::terminal_client::TerminalClient;

/// Between two lines that a person types.
const TYPING: Duration = Duration::from_millis(100);
/// What a session runs at whose terminal somebody sits.
pub const ECHO: &str = "while read line; do echo got $line; done";

/// A person at a terminal of [`ECHO`]: types lines and sees them again, and comes back by ticket whenever the
/// connection breaks. Answers how often that was.
pub async fn sit_at_a_terminal(api: &Api, entry: &Value, over: &AtomicBool) -> Result<u32> {
    let url = entry["webSocketUrl"].as_str().context("an entry")?;
    let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    let mut returns = 0;
    let mut number = 0_u32;
    client.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let line = format!("line-{number}-of-mine");
        let typed = client.type_at_offset(format!("{line}\r").as_bytes()).await;
        let shown = match typed {
            Ok(()) => client.wait_for(&format!("got {line}"), SOON).await,
            Err(error) => Err(error),
        };
        if let Err(error) = shown {
            if client.exit.is_some() {
                bail!("the session ended: {error:#}");
            }
            client = come_back(api, &client, entry["sessionId"].as_str().context("an id")?).await?;
            returns += 1;
        }
        tokio::time::sleep(TYPING).await;
    }
    Ok(returns)
}

/// Through the public address, as the page does; a gateway that is about to stop may have to be asked again.
pub async fn come_back(api: &Api, old: &TerminalClient, id: &str) -> Result<TerminalClient> {
    let ticket = old.tickets.as_ref().context("no ticket was given")?.ticket.clone();
    let resume = old.resume_point().context("a start")?;
    let url = format!("{}/ws/{id}", api.api_url.replace("http", "ws"));
    let offered = format!("ticket.{ticket}");
    let deadline = Instant::now() + SOON;
    loop {
        let tried = TerminalClient::resume(&url, &[], &[TTY_R1, &offered], resume.clone()).await;
        if let Ok(mut client) = tried {
            let started = |client: &TerminalClient| !client.starts.is_empty() || client.closed.is_some();
            client.wait_until(SOON, "a start", started).await?;
            if let Some(start) = client.starts.last() {
                // What was typed and never arrived is typed anew.
                client.typed = start.input;
                return Ok(client);
            }
            if client.close_code() != Some(1012) {
                bail!("the ticket was refused: {:?}", client.closed);
            }
        }
        anyhow::ensure!(Instant::now() < deadline, "no gateway takes the ticket");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a product's backend has done.
#[derive(Debug, Default)]
pub struct Created {
    pub count: u32,
    /// What was answered where it had to ask once more.
    pub again: Vec<String>,
}

/// A product's backend: creates session after session by `body`, whose command exits with 5, and its user enters each.
/// An answer of 502 to 504 and a connection that broke are tried once more, a refusal after the time that it names.
pub async fn keep_creating(api: &Api, lane: &str, body: &Value, over: &AtomicBool) -> Result<Created> {
    let mut created = Created::default();
    while !over.load(Ordering::Relaxed) {
        let key = format!("lane-{lane}-{}", created.count);
        let mut answer = api.try_create(&key, body).await;
        let seconds = match &answer {
            Ok(Answer { status: 502..=504, retry_after, .. }) => {
                Some(retry_after.as_deref().and_then(|text| text.parse().ok()).unwrap_or(1))
            }
            Ok(_) => None,
            Err(_) => Some(1),
        };
        if let Some(seconds) = seconds {
            created.again.push(match answer {
                Ok(answer) => answer.status.to_string(),
                Err(error) => format!("{error:#}"),
            });
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            answer = api.try_create(&key, body).await;
        }
        let answer = answer?;
        anyhow::ensure!(answer.status == 201, "creating answered {}: {}", answer.status, answer.body);
        enter(api, &answer.body).await?;
        created.count += 1;
    }
    Ok(created)
}

/// Opens a new session's terminal, and sees its command end as it should. A gateway that is about to stop lets nobody in
/// any more, which uses no token up: then another is asked, as the page does.
async fn enter(api: &Api, entry: &Value) -> Result<()> {
    let url = entry["webSocketUrl"].as_str().context("an entry")?;
    let deadline = Instant::now() + SOON;
    loop {
        let entered = match TerminalClient::connect(url, &[], &[TTY_R1]).await {
            Ok(mut client) => client.wait_until(SOON, "tickets", |client| client.tickets.is_some()).await,
            Err(refused) => Err(refused),
        };
        match entered {
            Ok(()) => break,
            Err(error) if Instant::now() > deadline => return Err(error.context("nobody lets it in")),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let view = api.wait_ended(entry["sessionId"].as_str().context("an id")?).await?;
    anyhow::ensure!(view["exitCode"] == 5, "{view}");
    Ok(())
}
