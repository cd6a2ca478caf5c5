//! From `POST /api/sessions` to the first byte of a nonce that the command prints, at a WebSocket client: on one machine, by
//! `cliscale up`, from a local folder, one session after the other.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::pin::Running;
use bench::{Goal, OURS, Options, Row, percentile};
use serde_json::json;
use session::SessionId;
use session::frames::TTY_R1;
use tempfile::TempDir;
use testkit::api::Api;
use testkit::terminal_client::TerminalClient;

const PATIENCE: Duration = Duration::from_secs(30);
/// Warm starts between two waits for the pool to be full.
const STANDBYS: usize = 8;

pub async fn measure(options: &Options, program: &Path) -> Result<()> {
    let runs = options.size(10 * options.runs(), 1);
    let row = |start: &str, what: &str| {
        Row::new(format!("local {start} start, POST to first byte (local folder){what}"), OURS, "ms")
    };
    let mut up = Up::start(program, 0)?;
    // The first pays for connections and caches that a server at work has.
    up.first_byte().await?;
    let mut cold = row("cold", "").goal(Goal::at_most(15.0));
    for _ in 0..runs {
        cold.samples.push(up.first_byte().await?);
    }
    up.process.stop()?;
    up = Up::start(program, options.size(STANDBYS, 1))?;
    up.wait_until_full(options.size(STANDBYS, 1)).await?;
    up.first_byte().await?;
    let mut warm = row("warm", "");
    while warm.samples.len() < runs {
        up.wait_until_full(options.size(STANDBYS, 1)).await?;
        for _ in 0..options.size(STANDBYS, 1).min(runs - warm.samples.len()) {
            warm.samples.push(up.first_byte().await?);
        }
    }
    up.process.stop()?;
    for (name, row_of_all) in [("cold", cold), ("warm", warm)] {
        let p95 = percentile(&row_of_all.samples, 0.95);
        row_of_all.print();
        row(name, ": p95").samples([p95]).print();
    }
    shell_alone(runs, &row("cold", "").measure)
}

/// What the command's shell costs alone, which is part of every start.
fn shell_alone(runs: usize, measure: &str) -> Result<()> {
    let mut shell = Row::new(measure, "bash -lc alone", "ms");
    let home = tempfile::tempdir()?;
    for _ in 0..runs {
        let began = Instant::now();
        Command::new("bash").args(["-lc", "printf nonce"]).env("HOME", home.path()).stdin(Stdio::null()).output()?;
        shell.samples.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    shell.print();
    Ok(())
}

/// A running `cliscale up`.
struct Up {
    process: Running,
    api: Api,
    folder: TempDir,
}

impl Up {
    fn start(program: &Path, standbys: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("code"))?;
        let mut command = Command::new(program);
        command.args(["up", "--listen", "127.0.0.1:0", "--create-rate", "10000/min", "--log", "error"]);
        // Lingering: a warm start may be over before the client has come.
        command.args(["--linger-secs", "2", "--pool-min", &standbys.to_string()]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        // A person's profile, which login shells read, may cost more than all else.
        command.env("HOME", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Running::start(&mut command)?;
        let output = BufReader::new(process.0.stdout.take().context("its output")?);
        let lines = output.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let said: HashMap<String, String> =
            lines.filter_map(|line| line.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect();
        let api_url = said.get("api_url").context("cliscale up does not serve")?;
        let key = std::fs::read_to_string(said.get("api_key_file").context("a key")?)?;
        let api = Api::new(api_url, key.trim(), PATIENCE)?;
        Ok(Self { process, api, folder })
    }

    /// Milliseconds.
    async fn first_byte(&self) -> Result<f64> {
        let nonce = SessionId::new().to_string().replace('-', "");
        // In two halves, so that no echo of the command itself is taken for what it prints.
        let (head, tail) = nonce.split_at(16);
        let command = format!("printf %s%s {head} {tail}");
        let body = json!({ "code_url": self.folder.path().join("code"), "command": command, "install_cmd": "" });
        let began = Instant::now();
        let entry = self.api.create(body).await?;
        let url = entry["webSocketUrl"].as_str().context("a URL")?;
        let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
        client.wait_for(&nonce, PATIENCE).await?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    }

    async fn wait_until_full(&self, standbys: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, answer) = self.api.call(reqwest::Method::GET, "/api/pools", None).await?;
            if answer["pools"][0]["idle"].as_u64() == Some(standbys as u64) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the pool is not full: {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
