//! The terminal through the whole stack: typing, roles, replay, resize, and an end that loses nothing.

use std::time::Instant;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use session::frames::{Hello, TTY, TTY_R1};
use session::state::{EndReason, Stage};
use testkit::stack::{SOON, Stack};
use testkit::terminal_client::TerminalClient;

async fn connect(entry: &serde_json::Value, protocol: &str) -> Result<TerminalClient> {
    TerminalClient::connect(entry["webSocketUrl"].as_str().expect("a WebSocket URL"), &[], &[protocol]).await
}

fn id(entry: &serde_json::Value) -> &str {
    entry["sessionId"].as_str().expect("an id")
}

#[tokio::test]
async fn a_session_goes_through_its_stages_takes_input_and_gives_its_exit_code() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("read -p 'name? ' name; echo hello $name; exit 5").await?;
    let mut client = connect(&entry, TTY_R1).await?;
    assert_eq!(client.protocol.as_deref(), Some(TTY_R1));
    client.wait_for("name? ", SOON).await?;
    assert_eq!(stack.show(id(&entry)).await?["state"], "running");
    client.type_at_offset(b"world\r").await?;
    assert_eq!(client.wait_closed(SOON).await?, Some(1000));
    assert!(client.has("hello world"), "{}", client.text());
    let exit = client.exit.expect("an X frame before the close");
    assert_eq!((exit.code, exit.reason, exit.end), (Some(5), EndReason::Exited, client.offset));
    assert!(client.waiting.iter().any(|news| news.stage == Stage::Running), "{:?}", client.waiting);
    let view = stack.wait_ended(id(&entry)).await?;
    assert_eq!((view["exitCode"].as_i64(), view["endReason"].as_str()), (Some(5), Some("exited")), "{view}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn everyone_sees_the_same_from_the_first_byte_and_a_viewer_cannot_type() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("printf 'before %s came\\n' anyone; cat").await?;
    stack.wait_for(id(&entry), "running", |view| view["state"] == "running").await?;
    let mut operator = connect(&entry, TTY_R1).await?;
    operator.wait_for("before anyone came", SOON).await?;
    let mut viewer = connect(&stack.token(id(&entry), "viewer").await?, TTY_R1).await?;
    viewer.wait_for("before anyone came", SOON).await?;
    viewer.type_at_offset(b"from the viewer\r").await?;
    operator.type_at_offset(b"from the operator\r").await?;
    viewer.wait_for("from the operator", SOON).await?;
    // The operator's line came after the viewer's on the same runner: had the viewer's been typed, it would be here.
    assert!(!viewer.has("from the viewer"), "{}", viewer.text());
    operator.type_at_offset(b"\x04").await?;
    operator.wait_closed(SOON).await?;
    viewer.wait_closed(SOON).await?;
    assert_eq!(operator.text(), viewer.text());
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_resize_reaches_the_program() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("trap 'stty size' WINCH; echo armed; while :; do read -t 1; done").await?;
    let mut client = connect(&entry, TTY_R1).await?;
    client.wait_for("armed", SOON).await?;
    client.resize(101, 33).await?;
    client.wait_for("33 101", SOON).await?;
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_ticket_brings_a_cut_terminal_back_where_it_was() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("printf '%s-one\\n' first; read x; printf '%s-two\\n' then; read y").await?;
    let mut first = connect(&entry, TTY_R1).await?;
    first.wait_for("first-one", SOON).await?;
    let ticket = first.tickets.clone().expect("tickets before the first byte").ticket;
    let resume = first.resume_point();
    drop(first);
    let url = format!("{}/ws/{}", stack.api_url.replace("http", "ws"), id(&entry));
    let offered = format!("ticket.{ticket}");
    let mut second = TerminalClient::resume(&url, &[], &[TTY_R1, &offered], resume.expect("a start")).await?;
    second.type_at_offset(b"\r").await?;
    second.wait_for("then-two", SOON).await?;
    assert!(!second.has("first-one"), "replayed what had been seen: {}", second.text());
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_stock_ttyd_client_works_too() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("read line; echo got $line; exit 2").await?;
    let mut client = connect(&entry, TTY).await?;
    assert_eq!(client.protocol.as_deref(), Some(TTY));
    client.type_text("it\r").await?;
    assert_eq!(client.wait_closed(SOON).await?, Some(1000));
    assert!(client.has("got it"), "{}", client.text());
    assert_eq!(stack.wait_ended(id(&entry)).await?["exitCode"], 2);
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_session_that_is_extended_outlives_its_first_deadline_and_none_outlives_its_maximum() -> Result<()> {
    let stack = Stack::start().await?;
    let folder = tempfile::tempdir()?;
    let request = |command: &str, ttl: u64, max: u64| {
        json!({
            "code_url": folder.path(), "command": command, "install_cmd": "", "ttl_seconds": ttl, "max_ttl_seconds": max
        })
    };
    let entry = stack.create(request("while :; do sleep 0.1; echo t$SECONDS.; done", 6, 600)).await?;
    let extend = async |seconds: u64| {
        let path = format!("/api/sessions/{}/extend", id(&entry));
        stack.call(Method::POST, &path, Some(json!({ "ttl_seconds": seconds }))).await
    };
    let (status, problem) = extend(601 + 60).await?;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("ttl_seconds")), "{problem}");
    assert_eq!(extend(500).await?.0, 200);
    let mut client = connect(&entry, TTY_R1).await?;
    let is_told = |client: &TerminalClient| client.deadlines.last().is_some_and(|told| told.left_ms > 100_000);
    client.wait_until(SOON, "the later deadline", is_told).await?;
    // The page's own way.
    let page_token = client.tickets.clone().expect("tickets before the first byte").page_token;
    let path = format!("{}/ws/{}/extend", stack.api_url, id(&entry));
    let asked = reqwest::Client::new().post(&path).bearer_auth(page_token).json(&json!({"seconds": 550}));
    let answered = asked.send().await?;
    assert_eq!(answered.status(), 200, "{}", answered.text().await?);
    let is_told = |client: &TerminalClient| client.deadlines.last().is_some_and(|told| told.left_ms > 510_000);
    client.wait_until(SOON, "the page's deadline", is_told).await?;
    client.wait_for("t7.", SOON).await?;
    assert_eq!(stack.show(id(&entry)).await?["state"], "running");

    let short = stack.create(request("cat", 1, 1)).await?;
    let view = stack.wait_ended(id(&short)).await?;
    assert_eq!(view["endReason"], "timed_out", "{view}");
    let path = format!("/api/sessions/{}/extend", id(&short));
    let (status, problem) = stack.call(Method::POST, &path, Some(json!({"ttl_seconds": 1}))).await?;
    assert_eq!((status, problem["type"].as_str()), (409, Some("/docs/errors/conflict")), "{problem}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn death_by_a_signal_and_a_missing_command_are_reported_as_such() -> Result<()> {
    let stack = Stack::start().await?;
    let killed = stack.run("kill -KILL $$").await?;
    let view = stack.wait_ended(id(&killed)).await?;
    assert_eq!((view["signal"].as_str(), view["exitCode"].as_i64()), (Some("SIGKILL"), Some(137)), "{view}");
    let missing = stack.run("no-such-command-anywhere").await?;
    assert_eq!(stack.wait_ended(id(&missing)).await?["exitCode"], 127);
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_session_ends_cancelled_and_its_viewers_are_told() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run("sleep 1000").await?;
    let mut client = connect(&entry, TTY_R1).await?;
    stack.wait_for(id(&entry), "running", |view| view["state"] == "running").await?;
    for _ in 0..2 {
        let (status, view) = stack.call(Method::DELETE, &format!("/api/sessions/{}", id(&entry)), None).await?;
        assert_eq!((status, view["endReason"].as_str()), (200, Some("cancelled")), "{view}");
    }
    assert_eq!(client.wait_closed(SOON).await?, Some(1000));
    assert_eq!(client.exit.expect("an X frame").reason, EndReason::Cancelled);
    stack.stop().await?;
    Ok(())
}

/// A hundred quick exits, half of them watched through each wire: the last byte always arrives before the close.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_quick_exits_arrive_whole() -> Result<()> {
    let stack = Stack::options().arg("--max-sessions").arg("8").arg("--linger-secs").arg("1").start().await?;
    let expected: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    for round in 0..25 {
        let runs = (0..4).map(|lane| one_quick_exit(&stack, &expected, if lane % 2 == 0 { TTY_R1 } else { TTY }));
        for result in futures_util::future::join_all(runs).await {
            result.map_err(|error| error.context(format!("round {round}")))?;
        }
    }
    stack.stop().await?;
    Ok(())
}

async fn one_quick_exit(stack: &Stack, expected: &str, protocol: &str) -> Result<()> {
    let entry = stack.run("seq 1 20000; exit 7").await?;
    let mut client = connect(&entry, protocol).await?;
    assert_eq!(client.wait_closed(SOON).await?, Some(1000));
    let text = client.text();
    // Before the command's own bytes come the stages' lines.
    assert!(
        text.ends_with(expected),
        "{protocol}: {} bytes, ending {:?}",
        text.len(),
        &text[text.len().saturating_sub(40)..]
    );
    assert_eq!(stack.wait_ended(id(&entry)).await?["exitCode"], 7);
    Ok(())
}

#[tokio::test]
async fn a_session_that_ended_long_ago_says_so_at_once() -> Result<()> {
    let stack = Stack::options().arg("--linger-secs").arg("0").arg("--recordings=").start().await?;
    // The token is from before the end: for a session of which nothing is left no new one is made.
    let entry = stack.run("exit 6").await?;
    stack.wait_ended(id(&entry)).await?;
    let tokens = format!("/api/sessions/{}/tokens", id(&entry));
    let deadline = Instant::now() + SOON;
    while stack.call(Method::POST, &tokens, Some(json!({ "role": "viewer" }))).await?.0 != 410 {
        assert!(Instant::now() < deadline, "the runner never left");
    }
    let url = entry["webSocketUrl"].as_str().expect("a URL");
    let mut client = TerminalClient::open(url, &[], &[TTY_R1]).await?.expect("an accepted upgrade");
    client.hello(Hello::default()).await?;
    client.wait_closed(SOON).await?;
    assert_eq!(client.exit.expect("an X frame").code, Some(6));
    stack.stop().await?;
    Ok(())
}
