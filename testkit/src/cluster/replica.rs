//! One controller or gateway as a process of its own: started, told to stop, killed, started again. Its ports are its
//! own choice and are read from its log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::watch;

use crate::stack::{SOON, binary, signal};

/// How a process ended; `None` while it runs.
pub type Ended = watch::Receiver<Option<ExitStatus>>;

/// What a replica's log says when it serves.
pub type ReadPorts<P> = fn(&[Value]) -> Option<P>;

pub struct Replica<P> {
    /// Names its logs.
    name: String,
    program: &'static str,
    settings: BTreeMap<String, String>,
    logs: PathBuf,
    starts: AtomicUsize,
    read_ports: ReadPorts<P>,
    /// Told where it serves, and that it does no more.
    announce: Arc<dyn Fn(Option<P>) + Send + Sync>,
    running: Mutex<Option<(u32, Ended)>>,
}

impl<P: Copy + Send + 'static> Replica<P> {
    pub fn new(
        name: String,
        program: &'static str,
        settings: BTreeMap<String, String>,
        logs: &Path,
        read_ports: ReadPorts<P>,
        announce: impl Fn(Option<P>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            program,
            settings,
            logs: logs.to_owned(),
            starts: AtomicUsize::new(0),
            read_ports,
            announce: Arc::new(announce),
            running: Mutex::new(None),
        }
    }

    /// Starts it, with further settings for this life alone, and waits until it serves.
    pub async fn start(&self, extra: &[(&str, &str)]) -> Result<()> {
        let life = self.starts.fetch_add(1, Ordering::Relaxed);
        let log = self.logs.join(format!("{}-{life}.log", self.name));
        let mut child = Command::new(binary(self.program))
            .envs(&self.settings)
            .envs(extra.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program))?;
        let pid = child.id().context("a process that was just started")?;
        let (told, ended) = watch::channel(None);
        let announce = Arc::clone(&self.announce);
        // Owns the process: it ends with the test's runtime at the latest.
        tokio::spawn(async move {
            let status = child.wait().await.ok();
            announce(None);
            let _ = told.send(status);
        });
        *self.running.lock().unwrap() = Some((pid, ended.clone()));
        let ports = self.wait_until_it_serves(&log, &ended).await?;
        // One that has died meanwhile must not be announced after its end was.
        if ended.borrow().is_none() {
            (self.announce)(Some(ports));
        }
        if ended.borrow().is_some() {
            (self.announce)(None);
        }
        Ok(())
    }

    async fn wait_until_it_serves(&self, log: &Path, ended: &Ended) -> Result<P> {
        let deadline = Instant::now() + SOON;
        loop {
            let text = std::fs::read_to_string(log)?;
            let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            if let Some(ports) = (self.read_ports)(&lines) {
                return Ok(ports);
            }
            if ended.borrow().is_some() || Instant::now() > deadline {
                bail!("{} does not serve: {text}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of the life that was started last.
    pub fn ended(&self) -> Result<Ended> {
        let running = self.running.lock().unwrap();
        Ok(running.as_ref().context("it was never started")?.1.clone())
    }

    /// Sends a signal and waits for the end. Before it is told to stop nobody is sent to it any more, as a Service does
    /// for a pod that terminates.
    pub async fn end(&self, name: &str) -> Result<ExitStatus> {
        let (pid, ended) = self.running.lock().unwrap().clone().context("it was never started")?;
        if ended.borrow().is_none() {
            if name == "TERM" {
                (self.announce)(None);
            }
            signal(pid, name).await?;
        }
        wait_for_end(ended).await.with_context(|| format!("{} after SIG{name}", self.name))
    }
}

/// Waits until a process has ended.
pub async fn wait_for_end(mut ended: Ended) -> Result<ExitStatus> {
    let status = tokio::time::timeout(SOON, ended.wait_for(Option::is_some)).await.context("it did not end")??;
    status.context("an end")
}

/// The fields of the first log line with this message that satisfies `wanted`.
pub fn field(lines: &[Value], message: &str, wanted: impl Fn(&Value) -> bool, name: &str) -> Option<SocketAddr> {
    let fields = lines.iter().map(|line| &line["fields"]);
    let line = fields.filter(|fields| fields["message"] == message).find(|fields| wanted(fields))?;
    line[name].as_str()?.parse().ok()
}
