//! A TCP proxy on loopback that fails as networks do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    swallow: AtomicBool,
    cut_at: Mutex<Option<String>>,
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
        let faults = Arc::new(Faults::default());
        let given = Arc::clone(&faults);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                let cut = Arc::new(AtomicBool::new(false));
                tokio::spawn(carry(from_near, to_far, Arc::clone(&given), Arc::clone(&cut), true));
                tokio::spawn(carry(from_far, to_near, Arc::clone(&given), cut, false));
            }
        });
        Self { port: own, faults, task }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What is sent while this is set is acknowledged and lost, and so is everything after it on the same connection.
    pub fn swallow(&self, on: bool) {
        self.faults.swallow.store(on, Ordering::SeqCst);
    }

    /// What is sent next with this text in it reaches the server, and then the connection breaks.
    pub fn cut_at(&self, text: &str) {
        *self.faults.cut_at.lock().unwrap() = Some(text.to_owned());
    }
}

/// Carries one direction. `cut` is the connection's own: nothing more comes back once it is set.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: Arc<Faults>,
    cut: Arc<AtomicBool>,
    to_server: bool,
) {
    let mut lost = false;
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let bytes = &bytes[..count];
        if to_server {
            let mut cut_at = faults.cut_at.lock().unwrap();
            let is_there = |text: &String| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            if cut_at.take_if(|text| is_there(text)).is_some() {
                cut.store(true, Ordering::SeqCst);
            }
        }
        lost |= faults.swallow.load(Ordering::SeqCst);
        if !to_server && cut.load(Ordering::SeqCst) {
            return;
        }
        if !lost && to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
