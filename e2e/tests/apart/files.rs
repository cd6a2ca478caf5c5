//! Files of a session, through a gateway: what an operator sends the command sees, and what the command made is there, also
//! after its end; with a page token that came in band, as a product has it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, StatusCode};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::world::World;

/// Adds to what it was sent, says so, and makes a result at its end.
const WORK: &str =
    "while read line; do [ $line = end ] && break; echo more >> in/data; echo added; done; echo 42 > result";

struct Files {
    client: Client,
    /// `/ws/{id}/files`
    base: String,
    token: String,
}

impl Files {
    async fn ask(&self, method: Method, end: &str, body: &'static str) -> Result<(StatusCode, String)> {
        let url = format!("{}{end}", self.base);
        let answer = self.client.request(method, url).bearer_auth(&self.token).body(body).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    async fn names(&self) -> Result<Vec<String>> {
        let answer = self.client.get(format!("{}.tar.gz", self.base)).bearer_auth(&self.token).send().await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        let packed = answer.bytes().await?;
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
        let names = tar.entries()?.map(|entry| Ok(entry?.path()?.display().to_string()));
        let mut names = names.collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }
}

#[tokio::test]
async fn operators_send_files_in_and_have_results_out_while_it_runs_and_after_the_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = World::start(&format!("sqlite:{}", folder.path().join("cliscale.db").display())).await?;
    let (entry, id) = world.running(WORK).await?;
    let mut operator: TerminalClient = world.open(&entry).await?;
    operator.wait_until(SOON, "tickets", |client| client.tickets.is_some()).await?;
    let token = operator.tickets.as_ref().context("tickets")?.page_token.clone();
    let base = format!("{}/ws/{id}/files", world.gateway.api_url);
    let files = Files { client: Client::builder().no_proxy().build()?, base, token };

    assert_eq!(files.ask(Method::PUT, "/in/data", "sent\n").await?.0, StatusCode::CREATED);
    operator.type_text("go\r").await?;
    operator.wait_for("added", SOON).await?;
    assert_eq!(files.ask(Method::GET, "/in/data", "").await?, (StatusCode::OK, "sent\nmore\n".to_owned()));
    assert_eq!(files.ask(Method::PUT, "/in/data", "again\n").await?.0, StatusCode::NO_CONTENT);
    assert_eq!(files.names().await?, ["README", "in", "in/data"]);
    assert_eq!(files.ask(Method::GET, "/..%2fcode/README", "").await?.0, StatusCode::BAD_REQUEST);
    let early = files.ask(Method::GET, "/result", "").await?;
    assert_eq!(early.0, StatusCode::NOT_FOUND);
    assert!(early.1.contains("/docs/errors/file_not_found"), "{}", early.1);

    operator.type_text("end\r").await?;
    operator.wait_closed(SOON).await?;
    assert_eq!(files.ask(Method::GET, "/result", "").await?, (StatusCode::OK, "42\n".to_owned()));
    // The runner lingers for two seconds, and then its files are gone with it.
    let deadline = Instant::now() + SOON;
    loop {
        match files.ask(Method::GET, "/result", "").await?.0 {
            StatusCode::GONE => break,
            status => ensure!(Instant::now() < deadline, "still {status}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!world.logs().contains(&files.token), "a token is in a log");
    world.stop().await
}
