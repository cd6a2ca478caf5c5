//! The server's directory and its process.
//!
//! The process has a watcher, a shell whose standard input is a pipe from the test process: when that ends, however it
//! ends, the shell reads end-of-file, ends the server and removes the directory.

use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::certificates;
use super::programs::{self, Programs};

/// Each line on its standard input is a signal for the server; where there was none before the end, the server is ended
/// and its directory removed. The watcher ends with the server.
const WATCHER: &str = r#"
folder=$1; shift
"$@" </dev/null & server=$!
exec 3<&0
(
    while read -r signal <&3; do kill -"$signal" $server; sent=yes; done
    [ -z "$sent" ] || exit
    kill -QUIT $server
    while kill -0 $server; do sleep 0.05; done
    rm -rf "$folder"
) 2>/dev/null &
exec 0</dev/null 3<&-
wait $server
"#;

/// Every test process has a server, so each takes little; nothing is forced to the disk, where nobody will look for it.
const SETTINGS: &str = "
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 256MB
autovacuum_naptime = 1h
deadlock_timeout = 200ms
ssl = on
log_min_messages = warning
";

/// What a server is told to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// Fast shutdown: what is running is undone, connections are closed.
    Stop,
    Kill,
    /// Nothing, since it has ended by itself.
    Forget,
}

/// A directory with data, and where its server listens.
pub(super) struct Cluster {
    folder: TempDir,
    programs: Programs,
    as_root: bool,
    address: IpAddr,
    pub(super) port: u16,
    pub(super) password: String,
}

impl Cluster {
    pub(super) fn create(programs: Programs, address: IpAddr) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cliscale-postgres-").tempdir()?;
        let as_root = folder.path().metadata()?.uid() == 0;
        let password = uuid::Uuid::new_v4().simple().to_string();
        fs::write(folder.path().join("password"), &password)?;
        certificates::write(folder.path())?;
        if as_root {
            programs::give(folder.path())?;
        }
        // Another process may take it in between; then the server does not start.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let cluster = Self { folder, programs, as_root, address, port, password };
        cluster.initialise()?;
        Ok(cluster)
    }

    fn initialise(&self) -> Result<()> {
        let mut command = self.programs.command("initdb", self.as_root);
        command.args(["--username=postgres", "--auth=scram-sha-256", "--no-sync", "--no-locale", "--encoding=UTF8"]);
        command.arg(format!("--pwfile={}", self.path("password").display())).arg("-D").arg(self.path("data"));
        let output = command.current_dir(self.folder.path()).output().context("initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let mut settings = File::options().append(true).open(self.path("data/postgresql.conf"))?;
        writeln!(settings, "{SETTINGS}")?;
        for (setting, file) in [("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")] {
            writeln!(settings, "{setting} = '{}'", self.path(file).display())?;
        }
        if self.address.is_loopback() {
            writeln!(settings, "listen_addresses = '127.0.0.1'")?;
        } else {
            writeln!(settings, "listen_addresses = '127.0.0.1,{}'", self.address)?;
            let mut access = File::options().append(true).open(self.path("data/pg_hba.conf"))?;
            writeln!(access, "host all all all scram-sha-256")?;
        }
        Ok(())
    }

    pub(super) fn start(&self) -> Result<Process> {
        let mut server = self.programs.command("postgres", self.as_root);
        server.arg("-D").arg(self.path("data")).args(["-p", &self.port.to_string()]);
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCHER, "watcher"]).arg(self.folder.path());
        watcher.arg(server.get_program()).args(server.get_args());
        watcher.current_dir("/").stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        Ok(Process { watcher: watcher.spawn().context("the watcher of PostgreSQL")? })
    }

    /// The end of what the server wrote.
    pub(super) fn log(&self) -> String {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub(super) fn other_ca(&self) -> PathBuf {
        self.path("other_ca.pem")
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A server that runs, or tries to. Dropping it ends it, and removes its directory.
pub(super) struct Process {
    watcher: Child,
}

impl Process {
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.watcher.try_wait()?.is_some())
    }

    /// Ends the server, and leaves its directory. Waits for it.
    pub(super) fn end(mut self, signal: Signal) -> Result<()> {
        let signal = match signal {
            Signal::Stop => "INT",
            Signal::Kill => "KILL",
            Signal::Forget => "0",
        };
        if let Some(mut input) = self.watcher.stdin.take() {
            writeln!(input, "{signal}")?;
        }
        self.watcher.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watcher.stdin.take();
        // A test that goes on would otherwise find its server half there.
        let _ = self.watcher.wait();
    }
}
