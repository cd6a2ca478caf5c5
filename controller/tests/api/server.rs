//! The whole process's parts, on ports of their own.

use std::time::{Duration, Instant};

use clap::Parser;
use controller::config::Flags;
use controller::server::Running;
use service::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_serves_its_own_and_stopping_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("api-key"), "a-key-from-a-mounted-secret\n").unwrap();
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
    let running = Running::start(flags.config().unwrap(), Shutdown::new()).await.unwrap();
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
