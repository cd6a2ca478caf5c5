//! A gateway in a process of its own, beside a whole stack and on the same database, so that it can be killed while
//! everything else goes on; and one address in front of both, which is all that a client knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use testkit::cluster::replica::{Replica, field};
use testkit::stack::{SOON, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Ends with the test.
pub struct Gateway {
    /// What clients are told: `/ws` is the gateway's, everything else the stack's.
    pub url: String,
    replica: Replica<SocketAddr>,
}

impl Gateway {
    pub async fn before(stack: &Stack) -> Self {
        let path = |name: &str| stack.data_dir.join(name).display().to_string();
        let settings = [
            ("CLISCALE_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_ADMIN", "127.0.0.1:0".to_owned()),
            ("CLISCALE_LOG_FORMAT", "json".to_owned()),
            ("CLISCALE_DATABASE_URL", format!("sqlite:{}", path("cliscale.db"))),
            ("CLISCALE_ENCRYPTION_KEY_FILE", path("encryption.key")),
            ("CLISCALE_JWKS_URL", format!("{}/.well-known/jwks.json", stack.api_url)),
        ];
        let settings: BTreeMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let read_port = |lines: &[Value]| field(lines, "listening", |fields| fields["what"] == "clients", "address");
        let (tell, address) = watch::channel(None);
        let announce = move |now: Option<SocketAddr>| {
            tell.send_replace(now);
        };
        let program = "cliscale-gateway";
        let replica = Replica::new("gateway".to_owned(), program, settings, &stack.data_dir, read_port, announce);
        replica.start(&[]).await.unwrap();
        let server = stack.api_url.trim_start_matches("http://").to_owned();
        Self { url: front(server, address).await, replica }
    }

    /// `kill -9`: nobody is told anything.
    pub async fn kill(&self) {
        self.replica.end("KILL").await.unwrap();
    }

    /// Starts it anew, on another port.
    pub async fn restart(&self) {
        self.replica.start(&[]).await.unwrap();
    }
}

async fn front(server: String, gateway: watch::Receiver<Option<SocketAddr>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::<str>::from(server);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, gateway) = (Arc::clone(&server), *gateway.borrow());
            // A connection that breaks is its two ends' business.
            tokio::spawn(async move { carry(client, &server, gateway).await.ok() });
        }
    });
    url
}

async fn carry(mut client: TcpStream, server: &str, gateway: Option<SocketAddr>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = tokio::time::timeout(SOON, client.read_buf(&mut head)).await??;
        if read == 0 {
            return Ok(());
        }
    }
    let for_gateway = head.starts_with(b"GET /ws/");
    let mut upstream = match (for_gateway, gateway) {
        (false, _) => TcpStream::connect(server).await?,
        (true, Some(address)) => TcpStream::connect(address).await?,
        // Dropped: as refused as a connection can be once it was taken.
        (true, None) => return Ok(()),
    };
    upstream.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}
