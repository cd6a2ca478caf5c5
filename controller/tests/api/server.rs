//! The whole process's parts, on ports of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use controller::config::Flags;
use controller::server::Running;
use service::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const KEY: &str = "a-key-from-a-mounted-secret";

async fn get(address: SocketAddr, path: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    read_to_end(client).await
}

/// A whole controller in front of a fixed server, with everything of its own in `dir`.
async fn start(dir: &Path, shutdown: &Shutdown) -> Running {
    let path = |name: &str| dir.join(name).display().to_string();
    std::fs::write(path("api-key"), format!("{KEY}\n")).unwrap();
    let flags = Flags::parse_from([
        "cliscale-controller",
        "--listen=127.0.0.1:0",
        "--internal-listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--launcher=static",
        "--static-backend=127.0.0.1:7681",
        &format!("--database-url=sqlite:{}", path("c.db")),
        &format!("--encryption-key-file={}", path("seal.key")),
        &format!("--keys-dir={}", path("keys")),
        &format!("--api-key-file={}", path("api-key")),
    ]);
    Running::start(flags.config().unwrap(), shutdown.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_serves_its_own_and_stopping_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), &Shutdown::new()).await;
    assert!(get(running.public, "/healthz").await.contains(r#""db_healthy":true"#));
    assert!(get(running.public, "/.well-known/jwks.json").await.contains(r#""kty":"RSA""#));
    assert!(get(running.public, "/metrics").await.starts_with("HTTP/1.1 404"));
    assert!(get(running.public, "/internal/runners/x/ready").await.starts_with("HTTP/1.1 404"));
    assert!(get(running.admin, "/metrics").await.contains("cliscale_api_requests"));
    assert!(get(running.admin, "/readyz").await.contains("ready"));
    assert!(get(running.internal, "/api/sessions").await.starts_with("HTTP/1.1 404"));
    let began = Instant::now();
    running.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_not_ready_and_creates_sessions_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = Shutdown::new();
    let running = start(dir.path(), &shutdown).await;
    shutdown.leaving().cancel();
    for address in [running.public, running.admin] {
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    }
    let (mut client, rest) = begin_creation(running.public).await;
    client.write_all(rest.as_bytes()).await.unwrap();
    let answer = read_to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("connection: close\r\n"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_that_are_under_way_when_a_stop_begins_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = Shutdown::new();
    let running = start(dir.path(), &shutdown).await;
    let public = running.public;
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(begin_creation(public).await);
    }
    let stopping = tokio::spawn(running.stop());
    shutdown.token().cancelled().await;
    for (mut client, rest) in begun {
        client.write_all(rest.as_bytes()).await.unwrap();
        let answer = read_to_end(client).await;
        assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("sessionJWT"), "{answer}");
    }
    stopping.await.unwrap().unwrap();
    assert!(TcpStream::connect(public).await.is_err());
}

/// Begins to create a session; answers when the server reads the body, of which the rest is still to be sent.
async fn begin_creation(address: SocketAddr) -> (TcpStream, &'static str) {
    let body = r#"{"code_url": "https://code.example/a.zip", "command": "true"}"#;
    let (first, rest) = body.split_at(9);
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/sessions HTTP/1.1\r\nHost: h.example\r\nAuthorization: Bearer {KEY}\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{first}",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut wanted = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    client.read_exact(&mut wanted).await.unwrap();
    assert_eq!(wanted, b"HTTP/1.1 100 Continue\r\n\r\n");
    (client, rest)
}

async fn read_to_end(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}
