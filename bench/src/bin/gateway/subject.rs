//! The proxies that are measured: each in front of the same backend, alone on its core.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::machine::version_of;
use bench::pin::{Running, SUBJECT, pinned};
use bench::proc::Usage;
use tokio::net::{TcpListener, TcpStream};

use crate::entrance::Entrance;
use crate::wire;

const PATIENCE: Duration = Duration::from_secs(30);

/// One proxy, running; or none: straight to the backend.
pub struct Subject {
    pub name: String,
    pub address: SocketAddr,
    pub process: Option<Running>,
    pub entrance: Entrance,
}

impl Subject {
    /// What it has used, with all of its processes.
    pub fn usage(&self) -> Result<Usage> {
        self.process.as_ref().map_or(Ok(Usage::default()), |process| Usage::of_tree(process.pid()))
    }

    pub async fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.process.as_mut().and_then(|process| process.0.try_wait().ok().flatten());
            ensure!(ended.is_none() && Instant::now() < deadline, "{} does not serve ({ended:?})", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Connects, and reads up to the backend's first word. Answers with what came before it, such as tickets.
pub async fn enter(address: SocketAddr, path: &str, protocols: &str) -> Result<(TcpStream, Vec<Vec<u8>>)> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    wire::ask(&mut stream, path, protocols).await?;
    let mut before = Vec::new();
    loop {
        let payload = wire::read_frame(&mut stream).await.context("the first frames")?;
        if payload == wire::READY[2..] {
            return Ok((stream, before));
        }
        before.push(payload);
    }
}

/// A port that was free a moment ago.
pub async fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

/// A peer that is installed, in front of this backend; `None` where it is missing.
pub struct Peers<'a> {
    pub backend: SocketAddr,
    pub folder: &'a Path,
}

impl Peers<'_> {
    pub async fn nginx(&self) -> Result<Option<Subject>> {
        let Some(version) = version_of(Command::new("/usr/sbin/nginx").arg("-v")) else { return Ok(None) };
        let address = free_port().await?;
        let folder = self.folder.join("nginx");
        std::fs::create_dir_all(&folder)?;
        // With less than a sixteenth of its connections free, nginx closes those that have not asked for anything yet: more
        // than it has descriptors for leaves that sixteenth free.
        let configuration = format!(
            "worker_processes 1; daemon off; pid nginx.pid; error_log stderr error; worker_rlimit_nofile 20000;\n\
             events {{ worker_connections 30000; }}\n\
             http {{ access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u;\n\
             scgi_temp_path s; server {{ listen {address} backlog=4096; location / {{ proxy_pass http://{}; \
             proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; \
             proxy_read_timeout 1h; proxy_send_timeout 1h; }} }} }}\n",
            self.backend
        );
        std::fs::write(folder.join("nginx.conf"), configuration)?;
        let mut command = pinned("/usr/sbin/nginx", SUBJECT);
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        self.start(format!("nginx {version}"), address, &mut command).await.map(Some)
    }

    /// As it comes, or with buffers of 64 KiB and splice.
    pub async fn haproxy(&self, tuned: bool) -> Result<Option<Subject>> {
        let Some(version) = version_of(Command::new("/usr/sbin/haproxy").arg("-v")) else { return Ok(None) };
        let address = free_port().await?;
        let (buffers, splice) = if tuned {
            (" maxpipes 16\n tune.bufsize 65536\n tune.pipesize 262144\n", " option splice-auto\n")
        } else {
            ("", "")
        };
        let configuration = format!(
            "global\n nbthread 1\n maxconn 9940\n{buffers}defaults\n mode http\n timeout connect 5s\n timeout client 1h\n \
             timeout server 1h\n timeout tunnel 1h\n{splice}frontend f\n bind {address} backlog 4096\n \
             default_backend b\nbackend b\n server s {}\n",
            self.backend
        );
        let file = self.folder.join(if tuned { "haproxy-tuned.cfg" } else { "haproxy.cfg" });
        std::fs::write(&file, configuration)?;
        let mut command = pinned("/usr/sbin/haproxy", SUBJECT);
        command.arg("-f").arg(&file);
        let name = format!("HAProxy {version}{}", if tuned { " tuned" } else { "" });
        self.start(name, address, &mut command).await.map(Some)
    }

    /// A gateway in Node, by the package that most are made with.
    pub async fn node(&self) -> Result<Option<Subject>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let Some(version) = version_of(Command::new("node").arg("--version")) else { return Ok(None) };
        if !folder.join("node_modules/http-proxy").exists() {
            return Ok(None);
        }
        let address = free_port().await?;
        let mut command = pinned("node", SUBJECT);
        command.arg(folder.join("gateway.mjs")).arg(address.port().to_string()).arg(format!("http://{}", self.backend));
        self.start(format!("http-proxy, Node {version}"), address, &mut command).await.map(Some)
    }

    async fn start(&self, name: String, address: SocketAddr, command: &mut Command) -> Result<Subject> {
        let log = std::fs::File::create(self.folder.join("peer.log"))?;
        let process = Running::start(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))?;
        let mut subject = Subject { name, address, process: Some(process), entrance: Entrance::Open };
        subject.wait_until_it_listens().await?;
        Ok(subject)
    }
}
