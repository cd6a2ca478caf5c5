//! A server that counts who called: how often a command really ran.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use axum::Router;
use axum::extract::{Request, State};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::stack::SOON;

type Counts = Arc<Mutex<HashMap<String, usize>>>;

/// Serves until dropped, for pods too.
pub struct Hits {
    address: SocketAddr,
    counts: Counts,
    task: JoinHandle<()>,
}

impl Hits {
    /// `host`: this machine as those see it who call.
    pub async fn start(host: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        let address = SocketAddr::new(host, listener.local_addr()?.port());
        let counts = Counts::default();
        let app = Router::new().fallback(count).with_state(counts.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Ok(Self { address, counts, task })
    }

    /// A line of bash, without any program's help, that calls under a name and waits until that was counted.
    pub fn call(&self, name: &str) -> String {
        format!(
            "exec 9<>/dev/tcp/{}/{} && printf 'POST /{name} HTTP/1.0\\r\\nContent-Length: 0\\r\\n\\r\\n' >&9 && \
             cat <&9 >/dev/null; exec 9>&-",
            self.address.ip(),
            self.address.port()
        )
    }

    pub fn count(&self, name: &str) -> usize {
        self.counts.lock().unwrap().get(&format!("/{name}")).copied().unwrap_or(0)
    }

    /// Waits until somebody has called under a name.
    pub async fn wait_for(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while self.count(name) == 0 {
            if Instant::now() > deadline {
                bail!("nobody called as {name}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Hits {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn count(State(counts): State<Counts>, request: Request) {
    *counts.lock().unwrap().entry(request.uri().path().to_owned()).or_default() += 1;
}
