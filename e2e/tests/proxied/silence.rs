//! Minutes without a byte of output, behind a real nginx that cuts connections after 60 seconds of silence.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use session::frames::{TTY, TTY_R1};
use testkit::nginx::{HEAD, Nginx, missing};
use testkit::stack::{SOON, Stack};
use testkit::terminal_client::TerminalClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::replicas::Replicas;

/// More than twice what the proxy allows: one lucky ping is not enough.
const SILENCE: Duration = Duration::from_secs(150);

struct Proxy {
    address: SocketAddr,
    _nginx: Nginx,
    _folder: tempfile::TempDir,
}

impl Proxy {
    async fn before(upstream: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = format!(
            "{HEAD}server {{ listen {address}; location / {{\n\
             proxy_pass http://{upstream};\nproxy_http_version 1.1;\n\
             proxy_set_header Host $http_host;\nproxy_set_header Upgrade $http_upgrade;\n\
             proxy_set_header Connection $connection_upgrade;\n\
             proxy_read_timeout 60s;\nproxy_send_timeout 60s;\n}} }}\n}}\n"
        );
        let nginx = Nginx::start(folder.path(), &configuration, address).await?;
        Ok(Self { address, _nginx: nginx, _folder: folder })
    }

    /// A session's WebSocket through this proxy.
    fn terminal(&self, entry: &Value) -> Result<String> {
        let url = entry["webSocketUrl"].as_str().context("a URL")?;
        let at = url.find("/ws/").context("a path")?;
        Ok(format!("ws://{}{}", self.address, &url[at..]))
    }
}

/// Reads on, as every client does, for as long as the silence is to last.
async fn stay_silent(client: &mut TerminalClient) -> Result<()> {
    let until = Instant::now() + SILENCE;
    // Time itself is what is tested: nothing that could be waited for happens before it is over.
    while let Ok(taken) = tokio::time::timeout_at(until.into(), client.take_one()).await {
        anyhow::ensure!(taken?, "closed with {:?} after {:?}", client.closed, SILENCE - (until - Instant::now()));
    }
    Ok(())
}

async fn sit_in_silence(proxy: &Proxy, entry: &Value, protocol: &str) -> Result<()> {
    let mut client = TerminalClient::connect(&proxy.terminal(entry)?, &[], &[protocol]).await?;
    client.wait_for("ready", SOON).await?;
    let before = client.output.len();
    stay_silent(&mut client).await?;
    anyhow::ensure!(client.output.len() == before, "not silent: {}", client.text());
    match protocol {
        TTY => client.type_text("still here\r").await?,
        _ => client.type_at_offset(b"still here\r").await?,
    }
    client.wait_for("echo still here", SOON).await?;
    anyhow::ensure!(client.starts.len() <= 1, "taken up anew: {:?}", client.starts);
    Ok(())
}

async fn sit_at_silent_terminals() -> Result<()> {
    let stack = Stack::start().await?;
    let proxy = Proxy::before(stack.api_url.trim_start_matches("http://")).await?;
    let command = "stty -echo; echo ready; while read -r line; do echo \"echo $line\"; done";
    let (ours, stock) = (stack.run(command).await?, stack.run(command).await?);
    tokio::try_join!(sit_in_silence(&proxy, &ours, TTY_R1), sit_in_silence(&proxy, &stock, TTY))?;
    stack.stop().await?;
    Ok(())
}

/// There is nobody yet but the gateway to keep these connections up.
async fn wait_for_a_sandbox() -> Result<()> {
    let replicas = Replicas::start().await?;
    let proxy = Proxy::before(&replicas.clients.to_string()).await?;
    let entry = replicas.create("echo at last; read -r line").await?;
    let mut client = TerminalClient::connect(&proxy.terminal(&entry)?, &[], &[TTY_R1]).await?;
    stay_silent(&mut client).await.context("waiting")?;
    anyhow::ensure!(!client.waiting.is_empty() && client.starts.is_empty(), "it did not wait: {}", client.text());
    replicas.let_runners_come()?;
    client.wait_for("at last", SOON).await?;
    replicas.stop().await
}

/// The control: were the proxy more patient than it is told to be, the others would show nothing.
async fn be_cut_without_pings() -> Result<()> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::before(&silent.local_addr()?.to_string()).await?;
    let mut client = TcpStream::connect(proxy.address).await?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await?;
    let (mut upstream, _) = silent.accept().await?;
    anyhow::ensure!(upstream.read(&mut [0; 1024]).await? > 0, "no request");
    upstream.write_all(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await?;
    let began = Instant::now();
    tokio::time::timeout(SILENCE, client.read_to_end(&mut Vec::new())).await.context("it was not cut")??;
    let after = began.elapsed().as_secs();
    anyhow::ensure!((55..=75).contains(&after), "cut after {after} s");
    Ok(())
}

/// One test, since all of it takes the same minutes.
#[tokio::test]
async fn terminals_without_a_byte_of_output_or_input_outlive_a_proxys_patience_and_so_does_waiting_for_one()
-> Result<()> {
    if missing() {
        return Ok(());
    }
    tokio::try_join!(sit_at_silent_terminals(), wait_for_a_sandbox(), be_cut_without_pings())?;
    Ok(())
}
