//! The handshake itself: origins, subprotocols, correctness, limits.

use gateway::GatewayConfig;
use session::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{BOTH, Harness, STOCK, soon};
use crate::peer::Dialled;
use crate::runner::FakeRunner;

#[tokio::test]
async fn pages_of_other_sites_cannot_open_a_terminal_unless_they_are_listed() {
    let embed_origins = vec!["https://app.example".parse().unwrap()];
    let harness = Harness::start_with(GatewayConfig { embed_origins, ..GatewayConfig::default() }).await;
    let session = harness.queued().await;
    let token = harness.token(&session, Role::Operator).await;
    for origin in
        ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example", "http://127.0.0.1:1"]
    {
        let origin = [("origin", origin)];
        let ours = harness.dial(&session, Some(&token), BOTH, &origin).await.closed().await;
        assert_eq!(ours, (4403, "forbidden_origin".to_owned()), "{origin:?}");
        let stock = harness.dial(&session, Some(&token), STOCK, &origin).await.refused();
        assert_eq!(stock, (403, "forbidden_origin".to_owned()), "{origin:?}");
    }
    // The token was not used up by any of them.
    harness.dial(&session, Some(&token), BOTH, &[("origin", "https://app.example")]).await.open().await;
    let own = format!("http://{}", harness.address);
    let token = harness.token(&session, Role::Operator).await;
    harness.dial(&session, Some(&token), BOTH, &[("origin", own.as_str())]).await.open().await;
}

#[tokio::test]
async fn a_subprotocol_is_agreed_on_or_the_handshake_is_refused() {
    let (harness, runner) = (Harness::start().await, FakeRunner::start().await);
    let session = harness.running(runner.address).await;
    let token = harness.token(&session, Role::Operator).await;
    for none in ["", "chat", "tty.r2"] {
        assert_eq!(harness.dial(&session, Some(&token), none, &[]).await.refused().0, 400, "{none:?}");
    }
    assert_eq!(harness.dial(&session, Some(&token), STOCK, &[]).await.open().await.protocol(), "tty");
    assert_eq!(runner.accept().await.headers["sec-websocket-protocol"], "tty");
    assert_eq!(harness.enter(&session, "tty.r1").await.protocol(), "tty.r1");
    assert_eq!(runner.accept().await.headers["sec-websocket-protocol"], "tty.r1");

    let stock = harness.fixed(runner.address).await;
    assert_eq!(harness.enter(&stock, BOTH).await.protocol(), "tty");
    let attached = runner.accept().await;
    assert_eq!(attached.path, "/ws");
    assert!(!attached.headers.contains_key("authorization"));
    assert_eq!(harness.dial(&stock, Some(&token), "tty.r1", &[]).await.refused().0, 400);
}

#[tokio::test]
async fn what_is_no_websocket_handshake_is_refused_and_no_extension_is_taken() {
    let harness = Harness::start().await;
    let session = harness.queued().await;
    let ask = async |lines: &str| {
        let mut stream = TcpStream::connect(harness.address).await.unwrap();
        let text = format!("GET /ws/{} HTTP/1.1\r\nHost: x\r\n{lines}\r\n", session.id);
        // A refusal may come before all of it was taken.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = vec![0; 12];
        soon("an answer", stream.read_exact(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let rest = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: tty.r1, tty\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(ask(&format!("{rest}{key}Sec-WebSocket-Version: 8\r\n")).await, "HTTP/1.1 400");
    assert_eq!(ask(&format!("{rest}Sec-WebSocket-Version: 13\r\n")).await, "HTTP/1.1 400");
    assert_eq!(ask(&format!("Upgrade: websocket\r\n{key}Sec-WebSocket-Version: 13\r\n")).await, "HTTP/1.1 400");
    assert_eq!(ask(&format!("X-Long: {}\r\n", "y".repeat(200_000))).await, "HTTP/1.1 431");

    let token = harness.token(&session, Role::Operator).await;
    let offer = [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")];
    let client = harness.dial(&session, Some(&token), BOTH, &offer).await.open().await;
    assert!(!client.headers.contains_key("sec-websocket-extensions"));
}

#[tokio::test]
async fn a_full_gateway_says_so_and_has_room_again_when_somebody_leaves() {
    let harness = Harness::start_with(GatewayConfig { max_connections: 2, ..GatewayConfig::default() }).await;
    let session = harness.queued().await;
    let first = harness.enter(&session, BOTH).await;
    let _second = harness.enter(&session, STOCK).await;
    let token = harness.token(&session, Role::Operator).await;
    let ours = harness.dial(&session, Some(&token), BOTH, &[]).await.closed().await;
    assert_eq!(ours, (4429, "too_many_connections".to_owned()));
    let stock = harness.dial(&session, Some(&token), STOCK, &[]).await.refused();
    assert_eq!(stock, (429, "too_many_connections".to_owned()));
    drop(first);
    harness.metric("cliscale_gateway_connections 1").await;
    harness.metric(r#"cliscale_gateway_connection_ends_total{by="client_closed"} 1"#).await;
    soon("room", async {
        while let Dialled::Refused { .. } = harness.dial(&session, Some(&token), STOCK, &[]).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
