//! A real `cliscale-runner` process with a controller of its own, started per test and gone with it.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod answering;
pub mod asking;
pub mod cutting;
pub mod player;
pub mod transcript;
pub mod witness;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use session::frames::{TTY, TTY_R1};
use session::runner_api::{Assign, CLIENT_HEADER, FetchPolicy, ROLE_HEADER};
use session::{AllowedHosts, Ended, SessionId, SessionSecrets, SessionSpec};
use tempfile::TempDir;
use testkit::fake_controller::{self, FakeController};
use testkit::terminal_client::TerminalClient;

/// Long enough for a machine that does much else.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Rig {
    pub controller: FakeController,
    pub runner: Child,
    pub folder: TempDir,
    /// The secret and port that it told the controller.
    pub address: String,
    pub secret: String,
    pub session: SessionId,
}

/// How a rig's runner differs from the usual.
#[derive(Default)]
pub struct Setup {
    pub flags: Vec<String>,
    /// Started as this user, who then owns the folder.
    pub uid: Option<u32>,
    pub lifeline: bool,
    /// A program and its arguments that starts the runner.
    pub through: Vec<String>,
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let controller = FakeController::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["code", "workspace", "home"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let runner = spawn(&controller, folder.path(), &setup);
        let ready = controller.wait_ready().await.unwrap();
        Self {
            address: ready.address.to_string(),
            secret: ready.secret.expose().to_owned(),
            controller,
            runner,
            folder,
            session: SessionId::new(),
        }
    }

    /// A runner that was assigned `command` with the usual specification.
    pub async fn running(command: &str) -> Self {
        let rig = Self::start().await;
        rig.assign(rig.spec(command)).await;
        rig
    }

    pub fn code(&self) -> PathBuf {
        self.folder.path().join("code")
    }

    pub fn spec(&self, command: &str) -> SessionSpec {
        fake_controller::spec(self.code().to_str().unwrap(), command)
    }

    pub fn assignment(&self, spec: SessionSpec) -> Assign {
        Assign {
            session: self.session,
            epoch: 1,
            deadline_ms: spec.ttl_secs * 1000,
            max_deadline_ms: Some(spec.max_ttl_secs() * 1000),
            spec,
            secrets: SessionSecrets::default(),
            fetch: FetchPolicy { allowed_hosts: AllowedHosts::any(), allow_private: true, allow_local: true },
            recording: None,
        }
    }

    pub async fn assign(&self, spec: SessionSpec) {
        assert_eq!(self.controller.assign(&self.assignment(spec)).await.unwrap(), 200);
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.secret)
    }

    pub async fn attach(&self, client: &str, role: &str, protocol: &str) -> TerminalClient {
        let bearer = self.bearer();
        let headers = [("authorization", bearer.as_str()), (ROLE_HEADER, role), (CLIENT_HEADER, client)];
        TerminalClient::connect(&self.ws_url(), &headers, &[protocol]).await.unwrap()
    }

    /// A `tty.r1` operator.
    pub async fn operator(&self, client: &str) -> TerminalClient {
        self.attach(client, "operator", TTY_R1).await
    }

    /// A stock ttyd client.
    pub async fn stock(&self, client: &str) -> TerminalClient {
        self.attach(client, "operator", TTY).await
    }

    pub async fn ended(&self) -> Ended {
        self.controller.wait_ended().await.unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.runner.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits until the runner has exited.
    pub async fn exit_status(&mut self) -> ExitStatus {
        eventually("the runner's exit", || self.runner.try_wait().unwrap()).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the runner's log:\n{}", self.log());
        }
        // Asked first, so that it takes its own tree down; killed if that takes too long.
        let _ = kill(self.pid(), Signal::SIGTERM);
        for _ in 0..200 {
            if !matches!(self.runner.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

fn spawn(controller: &FakeController, folder: &Path, setup: &Setup) -> Child {
    let mut words = setup.through.clone();
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_cliscale-runner"));
    if let Some(uid) = setup.uid {
        for name in ["", "code", "workspace", "home"] {
            std::os::unix::fs::chown(folder.join(name), Some(uid), Some(uid)).unwrap();
        }
        // The build's own folder may be closed to others.
        let copy = folder.join("cliscale-runner");
        std::fs::copy(&program, &copy).unwrap();
        program = copy;
    }
    words.push(program.to_str().unwrap().to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.args(["--controller-url", &controller.url(), "--runner-id", &controller.runner().to_string()]);
    command.args(["--listen", "127.0.0.1:0", "--linger-secs", "20"]);
    command.arg("--workspace").arg(folder.join("workspace")).arg("--home").arg(folder.join("home"));
    command.args(&setup.flags).current_dir("/");
    command.stdout(Stdio::null()).stderr(File::create(folder.join("log")).unwrap());
    if setup.lifeline {
        command.arg("--lifeline").stdin(Stdio::piped());
    } else {
        command.env("CLISCALE_BOOT_TOKEN", controller.boot_token()).stdin(Stdio::null());
    }
    command.env("CLISCALE_LOG", "debug");
    if let Some(uid) = setup.uid {
        std::os::unix::process::CommandExt::uid(&mut command, uid);
        std::os::unix::process::CommandExt::gid(&mut command, uid);
    }
    let mut child = command.spawn().unwrap();
    if let Some(lifeline) = &mut child.stdin {
        std::io::Write::write_all(lifeline, format!("{}\n", controller.boot_token()).as_bytes()).unwrap();
    }
    child
}

/// Waits until `found` finds something.
pub async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process of this number runs.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}
