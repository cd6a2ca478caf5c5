//! A network that can vanish: it carries bytes until told to swallow them, and never says that it does.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Carries connections to one address until dropped.
pub struct Network {
    pub address: SocketAddr,
    swallows: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Network {
    pub async fn before(upstream: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (swallows, told) = watch::channel(false);
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, told) = (upstream.clone(), told.clone());
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(upstream).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(carry(from_client, to_server, told.clone()), carry(from_server, to_client, told),);
                });
            }
        });
        Ok(Self { address, swallows, task })
    }

    /// From now on nothing arrives on either side: no byte, and no end either. What is sent is taken in all the same.
    pub fn vanish(&self) {
        self.swallows.send_replace(true);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, told: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !*told.borrow() && to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    if *told.borrow() {
        // Holds the other side open: its peer hears of nothing.
        std::future::pending::<()>().await;
    }
    let _ = to.shutdown().await;
}
