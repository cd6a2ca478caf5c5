//! What stands in front of replicas: by path as the ingress does for clients, or by bytes alone as a network that
//! rewrites addresses does for runners. Replicas take turns, and one that refuses a connection is passed over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::routes::Routes;

/// A request's line and headers.
const MAX_HEAD: usize = 64 * 1024;
const NOBODY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[derive(Clone, Copy)]
enum Kind {
    /// Clients: `/ws` to gateways, everything else to controllers.
    Paths,
    /// Runners: to the controllers' internal ports, whatever it is.
    Internal,
}

struct Shared {
    routes: Arc<Routes>,
    kind: Kind,
    turn: AtomicUsize,
}

/// Serves until dropped, connections included.
pub struct Balancer {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    /// The public address.
    pub(super) async fn public(routes: Arc<Routes>) -> std::io::Result<Self> {
        Self::start("127.0.0.1:0", routes, Kind::Paths).await
    }

    /// An internal address behind which controllers see only this machine's own.
    pub(super) async fn internal(routes: Arc<Routes>) -> std::io::Result<Self> {
        Self::start("0.0.0.0:0", routes, Kind::Internal).await
    }

    async fn start(listen: &str, routes: Arc<Routes>, kind: Kind) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { routes, kind, turn: AtomicUsize::new(0) });
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // A connection that breaks is its two ends' business.
                    let _ = shared.carry(stream).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn carry(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let (head, backends) = match self.kind {
            Kind::Internal => {
                let controllers = self.routes.controllers();
                (Vec::new(), controllers.into_iter().flatten().map(|ports| ports.internal).collect())
            }
            Kind::Paths => {
                let Some(head) = read_head(&mut client).await? else { return Ok(()) };
                let backends = self.public_backends(&head);
                (closing(head), backends)
            }
        };
        let Some(mut backend) = self.connect(backends).await else {
            if matches!(self.kind, Kind::Paths) {
                client.write_all(NOBODY).await?;
            }
            return Ok(());
        };
        backend.set_nodelay(true)?;
        backend.write_all(&head).await?;
        copy_bidirectional(&mut client, &mut backend).await?;
        Ok(())
    }

    fn public_backends(&self, head: &[u8]) -> Vec<SocketAddr> {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if path.starts_with(b"/ws/") {
            return self.routes.gateways().into_iter().flatten().collect();
        }
        self.routes.controllers().into_iter().flatten().map(|ports| ports.public).collect()
    }

    async fn connect(&self, mut backends: Vec<SocketAddr>) -> Option<TcpStream> {
        if backends.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % backends.len();
        backends.rotate_left(turn);
        for mut address in backends {
            // What listens everywhere is reached here.
            if address.ip().is_unspecified() {
                address.set_ip([127, 0, 0, 1].into());
            }
            if let Ok(stream) = TcpStream::connect(address).await {
                return Some(stream);
            }
        }
        None
    }
}

/// Everything up to the end of the headers, and what came with it; `None` when the client left before.
async fn read_head(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(4096);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 || head.len() > MAX_HEAD {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// One request per connection, since the next may belong to another kind of replica; an upgrade stays as it is.
fn closing(head: Vec<u8>) -> Vec<u8> {
    let end = head.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(head.len());
    let text = String::from_utf8_lossy(&head[..end]).into_owned();
    let named = |line: &str, name: &str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    if text.lines().any(|line| named(line, "upgrade")) {
        return head;
    }
    let kept: Vec<&str> = text.split("\r\n").filter(|line| !named(line, "connection")).collect();
    let mut changed = format!("{}\r\nconnection: close", kept.join("\r\n")).into_bytes();
    changed.extend_from_slice(&head[end..]);
    changed
}
