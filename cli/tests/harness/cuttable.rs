//! A way to a server that can be cut.

use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Passes connections on to a server until they are cut.
pub async fn cuttable(server: String) -> (String, Arc<Mutex<CancellationToken>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cut = Arc::new(Mutex::new(CancellationToken::new()));
    let current = Arc::clone(&cut);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let cut = current.lock().unwrap().clone();
            let server = server.clone();
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut upstream) => {}
                    () = cut.cancelled() => {}
                }
            });
        }
    });
    (url, cut)
}

pub fn sever(cut: &Arc<Mutex<CancellationToken>>) {
    std::mem::take(&mut *cut.lock().unwrap()).cancel();
}
