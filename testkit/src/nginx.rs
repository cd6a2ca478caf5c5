//! nginx as a process of the tests: the proxy that stands before most installations, with its own ideas of silence.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::stack::SOON;

/// Where Debian has it; root's path alone leads there.
const PROGRAMS: &[&str] = &["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];

/// How every configuration begins, up to and into `http {`: one process in the foreground, which writes below its own
/// folder only, and logs addresses without queries, since tokens are in them.
pub const HEAD: &str = "worker_processes 1;\ndaemon off;\nmaster_process off;\npid nginx.pid;\n\
     error_log logs/nginx-error.log info;\nevents { worker_connections 1024; }\nhttp {\n\
     log_format plain '$msec $remote_addr $request_method $uri $status $upstream_addr $upstream_status $request_time';\n\
     access_log logs/nginx-access.log plain;\nserver_tokens off;\nkeepalive_timeout 75s;\n\
     client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\n\
     scgi_temp_path scgi;\n\
     map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n";

fn program() -> Option<&'static Path> {
    PROGRAMS.iter().map(Path::new).find(|path| path.exists())
}

/// Whether nginx is not installed here. Then the test that asks is skipped by name, except under CI, where that fails
/// it.
pub fn missing() -> bool {
    if program().is_some() {
        return false;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: nginx is missing");
    println!("skipped: {test}: nginx is not installed (sudo apt-get install nginx-light)");
    true
}

/// Serves until dropped.
pub struct Nginx {
    process: Child,
}

impl Nginx {
    /// Starts it with a whole configuration, and waits until it serves at one of its addresses. `folder` gets what it
    /// needs; its logs are in `folder/logs`.
    pub async fn start(folder: &Path, configuration: &str, address: SocketAddr) -> Result<Self> {
        std::fs::create_dir_all(folder.join("logs"))?;
        std::fs::write(folder.join("nginx.conf"), configuration)?;
        let mut nginx = Self { process: spawn(folder)? };
        nginx.wait_until_it_serves(folder, address).await?;
        Ok(nginx)
    }

    async fn wait_until_it_serves(&mut self, folder: &Path, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(address).await.is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(folder.join("logs/nginx-error.log")).unwrap_or_default();
                bail!("nginx does not serve ({ended:?}): {log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Ends with the test's thread, however that ends.
fn spawn(folder: &Path) -> Result<Child> {
    let log = std::fs::File::create(folder.join("logs/nginx-output.log"))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program().context("nginx")?);
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command.arg("-e").arg(folder.join("logs/nginx-error.log"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.kill_on_drop(true).spawn().context("starting nginx")
}
