//! Read-only links, from the operator's page to the viewer's terminal: through a gateway that asks its controller, on both
//! databases, and through the server that is both.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use session::frames::TTY_R1;
use session::{Role, SessionId};
use testkit::api::Api;
use testkit::postgres::{self, Server};
use testkit::stack::{SOON, Stack};
use testkit::terminal_client::TerminalClient;

use crate::world::World;

/// Says what it reads.
const ECHO: &str = "while read line; do echo got $line; done";

/// Asks the gateway for a link, as the page does.
pub async fn ask(world: &World, session: &str, page_token: &str) -> Result<(u16, Value)> {
    ask_at(&world.gateway.api_url, session, page_token).await
}

async fn ask_at(gateway: &str, session: &str, page_token: &str) -> Result<(u16, Value)> {
    Api::new(gateway, page_token, SOON)?.call(Method::POST, &format!("/ws/{session}/share"), None).await
}

fn page_token(client: &TerminalClient) -> Result<&str> {
    Ok(&client.tickets.as_ref().context("tickets")?.page_token)
}

/// The link that was handed out, as a terminal client takes it.
fn web_socket_url(answer: &(u16, Value)) -> Result<String> {
    anyhow::ensure!(answer.0 == 200, "{answer:?}");
    Ok(answer.1["url"].as_str().context("a link")?.replacen("http", "ws", 1))
}

fn problem(answer: (u16, Value)) -> (u16, String) {
    (answer.0, answer.1["type"].as_str().unwrap_or_default().trim_start_matches("/docs/errors/").to_owned())
}

/// An operator shares; whoever follows the link sees all and changes nothing; it serves once, and is no operator's.
async fn an_operator_shares(gateway: &str, id: &str, mut operator: TerminalClient) -> Result<Vec<String>> {
    operator.wait_until(SOON, "a start", |client| !client.starts.is_empty()).await?;
    operator.type_at_offset(b"before\r").await?;
    operator.wait_for("got before", SOON).await?;
    let shared = ask_at(gateway, id, page_token(&operator)?).await?;
    let link = web_socket_url(&shared)?;
    assert!(link.starts_with(&format!("{}/ws/{id}?token=", gateway.replacen("http", "ws", 1))), "{link}");

    let mut viewer = TerminalClient::connect(&link, &[], &[TTY_R1]).await?;
    viewer.wait_for("got before", SOON).await?;
    assert_eq!(viewer.starts[0].role, Role::Viewer);
    viewer.type_at_offset(b"nobody hears\r").await?;
    viewer.type_text("nobody hears\r").await?;
    viewer.resize(33, 11).await?;
    operator.type_at_offset(b"after\r").await?;
    for client in [&mut operator, &mut viewer] {
        client.wait_for("got after", SOON).await?;
        assert!(!client.has("nobody hears") && client.resized.is_empty(), "{}", client.text());
    }
    assert_eq!(problem(ask_at(gateway, id, page_token(&viewer)?).await?), (403, "forbidden".to_owned()));
    let mut again = TerminalClient::open(&link, &[], &[TTY_R1]).await?.ok().context("an upgrade")?;
    again.wait_closed(SOON).await?;
    assert_eq!(again.closed.flatten(), Some((4401, "token_used".to_owned())));
    let token = link.rsplit("token=").next().context("a token")?.to_owned();
    Ok(vec![token, page_token(&operator)?.to_owned(), page_token(&viewer)?.to_owned()])
}

async fn links_through_a_gateway(database_url: &str) -> Result<()> {
    let world = World::start(database_url).await?;
    let (entry, id) = world.running(ECHO).await?;
    let operator = world.open(&entry).await?;
    let mut secrets = an_operator_shares(&world.gateway.api_url, &id, operator).await?;

    let further = world.api.token(&id, "operator").await?;
    let mut operator = world.open(&further).await?;
    operator.wait_until(SOON, "tickets", |client| client.tickets.is_some()).await?;
    let mut request = world.request(ECHO);
    request["share"] = json!(false);
    let unshared = world.api.create(request).await?;
    let closed = unshared["sessionId"].as_str().context("an id")?;
    let mut owner = world.open(&unshared).await?;
    owner.wait_until(SOON, "tickets", |client| client.tickets.is_some()).await?;
    assert_eq!(problem(ask(&world, closed, page_token(&owner)?).await?), (403, "share_forbidden".to_owned()));
    for (session, token) in [
        (&*id, page_token(&owner)?),
        (closed, page_token(&operator)?),
        (&SessionId::new().to_string(), page_token(&operator)?),
        (&id, "wrong"),
        (&id, &world.api.key),
    ] {
        let refused = (401, "page_token_invalid".to_owned());
        assert_eq!(problem(ask(&world, session, token).await?), refused, "{session}");
    }
    is_for_gateways_alone(&world, &id).await?;

    // The controller is away and the database is there.
    world.controllers.end("KILL").await?;
    assert_eq!(problem(ask(&world, &id, page_token(&operator)?).await?), (503, "unavailable".to_owned()));
    world.controllers.start(&[]).await?;
    secrets.push(page_token(&operator)?.to_owned());
    let logs = world.logs();
    assert!(logs.contains("a read-only link was handed out"), "{logs}");
    for secret in secrets {
        assert!(!logs.contains(&secret), "a token is in a log");
    }
    world.stop().await
}

/// What gateways ask for is on the internal port alone, and for nobody else.
async fn is_for_gateways_alone(world: &World, id: &str) -> Result<()> {
    let path = session::gateway_api::viewer_tokens_path(id.parse()?);
    for public in [&world.api, &world.gateway] {
        assert_eq!(public.call(Method::POST, &path, None).await?.0, 404, "{}", public.api_url);
    }
    let internal = Api::new(&format!("http://{}", world.internal), &world.api.key, SOON)?;
    assert_eq!(problem(internal.call(Method::POST, &path, None).await?), (401, "unauthorized".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_read_only_link_watches_once_and_is_handed_out_by_operators_alone_on_sqlite() -> Result<()> {
    let folder = tempfile::tempdir()?;
    links_through_a_gateway(&format!("sqlite:{}", folder.path().join("cliscale.db").display())).await
}

#[tokio::test]
async fn a_read_only_link_watches_once_and_is_handed_out_by_operators_alone_on_postgresql() -> Result<()> {
    if postgres::missing() {
        return Ok(());
    }
    let database = Server::shared().await?.database().await?;
    links_through_a_gateway(&database.url).await
}

#[tokio::test]
async fn the_server_that_is_both_hands_out_links_by_itself() -> Result<()> {
    let stack = Stack::start().await?;
    let entry = stack.run(ECHO).await?;
    let id = entry["sessionId"].as_str().context("an id")?;
    let operator = TerminalClient::connect(entry["webSocketUrl"].as_str().context("a URL")?, &[], &[TTY_R1]).await?;
    for secret in an_operator_shares(&stack.api_url, id, operator).await? {
        assert!(!stack.log().contains(&secret), "a token is in the log");
    }
    let path = session::gateway_api::viewer_tokens_path(id.parse()?);
    assert_eq!(stack.call(Method::POST, &path, None).await?.0, 404);
    stack.stop().await?;
    Ok(())
}
