//! A TCP proxy on loopback that can swallow what it is given, as a network does that was cut.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Proxy {
    port: u16,
    swallow: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let swallow = Arc::new(watch::Sender::new(false));
        let state = Arc::clone(&swallow);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(from_near, to_far, state.subscribe()));
                tokio::spawn(carry(from_far, to_near, state.subscribe()));
            }
        });
        Self { port: own, swallow, task }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What is sent while this is set is acknowledged and lost, and so is everything after it on the same connection.
    pub fn swallow(&self, on: bool) {
        self.swallow.send_replace(on);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: watch::Receiver<bool>) {
    let mut lost = false;
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        lost |= *swallow.borrow();
        if !lost && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
