//! The whole stack as a user has it: the real `cliscale up` as a child process on port 0, with a data directory of
//! its own, and a client of its API.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use session::frames::TTY_R1;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api::Api;
use crate::terminal_client::TerminalClient;

/// How long anything that should happen soon may take on a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);

/// A binary of this workspace, built with the profile that the tests run with.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // target/PROFILE/deps/TEST or target/PROFILE/PROGRAM -> target/PROFILE/NAME
    let folder = test.parent().expect("a program is in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("target/PROFILE") } else { folder };
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: cargo build --profile ci --workspace --bins", path.display());
    path
}

/// A running `cliscale up`.
pub struct Stack {
    api: Api,
    pub data_dir: PathBuf,
    /// Every `key=value` line that it printed.
    pub printed: HashMap<String, String>,
    child: Child,
    log: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

/// What to start, beside the defaults.
#[derive(Default)]
pub struct StackOptions {
    args: Vec<String>,
    env: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
}

impl StackOptions {
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses a directory that outlives the stack.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    pub async fn start(self) -> Result<Stack> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let temporary = if self.data_dir.is_none() { Some(tempfile::tempdir()?) } else { None };
        let data_dir =
            self.data_dir.clone().unwrap_or_else(|| temporary.as_ref().expect("made above").path().join("data"));
        std::fs::create_dir_all(&data_dir)?;
        let log = data_dir.join(format!("up-{}.log", uuid::Uuid::now_v7()));
        let mut child = Command::new(binary("cliscale"))
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data_dir)
            .args(["--create-rate", "10000/min", "--log", "debug"])
            .args(&self.args)
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("starting cliscale up")?;
        let stdout = child.stdout.take().context("stdout")?;
        let printed = match tokio::time::timeout(SOON, read_announcement(stdout)).await {
            Ok(printed) => printed?,
            Err(_) => bail!("cliscale up did not become ready: {}", std::fs::read_to_string(&log)?),
        };
        let Some(api_url) = printed.get("api_url").cloned() else {
            bail!("cliscale up failed: {}", std::fs::read_to_string(&log)?);
        };
        let key_file = printed.get("api_key_file").context("no api_key_file= line")?;
        let key = std::fs::read_to_string(key_file)?.trim().to_owned();
        let api = Api::new(&api_url, &key, SOON)?;
        Ok(Stack { api, data_dir, printed, child, log, _temporary: temporary })
    }
}

/// Reads the lines up to the first blank one; the rest is drained, so that the server never blocks on it.
async fn read_announcement(stdout: tokio::process::ChildStdout) -> Result<HashMap<String, String>> {
    let mut lines = BufReader::new(stdout).lines();
    let mut printed = HashMap::new();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once('=') {
            printed.insert(name.to_owned(), value.to_owned());
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(printed)
}

impl std::ops::Deref for Stack {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Stack {
    /// The defaults.
    pub async fn start() -> Result<Stack> {
        StackOptions::default().start().await
    }

    pub fn options() -> StackOptions {
        StackOptions::default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("still running")
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Creates a session that runs a command in an empty folder with nothing to install.
    pub async fn run(&self, command: &str) -> Result<Value> {
        let folder = self.data_dir.join("empty-folder");
        std::fs::create_dir_all(&folder)?;
        self.create(json!({ "code_url": folder, "command": command, "install_cmd": "" })).await
    }

    /// Waits until a session's view satisfies `done`; the log is told where it never does.
    pub async fn wait_for(&self, id: &str, what: &str, done: impl Fn(&Value) -> bool) -> Result<Value> {
        self.api.wait_for(id, what, done).await.with_context(|| self.log())
    }

    pub async fn wait_ended(&self, id: &str) -> Result<Value> {
        self.wait_for(id, "ended", |view| view["state"] == "ended").await
    }

    /// SIGTERM, as a service manager does it; answers how it exited.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        signal(self.pid(), "TERM").await?;
        tokio::time::timeout(SOON, self.child.wait()).await.context("cliscale up did not stop")?.map_err(Into::into)
    }

    /// `kill -9`: nothing of it gets to run again.
    pub async fn kill(mut self) -> Result<()> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }
}

/// What a server's `/metrics` says after a session with a terminal: everything that can be counted was counted then, for
/// families without a member are not shown.
pub async fn metrics_after_a_session() -> Result<String> {
    let stack = Stack::start().await?;
    let entry = stack.run("true").await?;
    let url = entry["webSocketUrl"].as_str().context("webSocketUrl")?;
    let mut terminal = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    terminal.wait_closed(SOON).await?;
    let page = Api::new(&stack.api_url, &terminal.tickets.context("tickets")?.page_token, SOON)?;
    let path = format!("/ws/{}", entry["sessionId"].as_str().context("sessionId")?);
    let (status, link) = page.call(reqwest::Method::POST, &format!("{path}/share"), None).await?;
    anyhow::ensure!(status == 200, "sharing a session that has just ended answered {status}: {link}");
    let (status, file) = page.call(reqwest::Method::GET, &format!("{path}/files/none"), None).await?;
    anyhow::ensure!(status == 404, "a file that is not there was answered {status}: {file}");
    let url = format!("{}/metrics", stack.printed["admin_url"]);
    let deadline = Instant::now() + SOON;
    loop {
        let text = reqwest::get(&url).await?.text().await?;
        if text.contains("\ncliscale_gateway_connection_ends_total{") {
            stack.stop().await?;
            return Ok(text);
        }
        anyhow::ensure!(Instant::now() < deadline, "the end of a connection is not counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends a signal to one process, by its id.
pub async fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().await?;
    anyhow::ensure!(status.success(), "kill -{name} {pid} failed");
    Ok(())
}

/// Whether a process is there and not a zombie.
pub fn is_running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the command's closing parenthesis; the command itself may hold anything.
    !matches!(stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()), None | Some('Z' | 'X'))
}

/// Waits until `done`, and names what was waited for when it never comes.
pub async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
