//! HTTP/1.1 as cheaply as it is done: what the driver uses, the database that shares its core lacks.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::task::spawn_local;

/// One connection, on which one request follows the other.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// From this address of the machine's own.
    pub async fn open(from: Ipv4Addr, to: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(to).await.context("connecting")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(async move {
            // Whoever sends is told of its end.
            let _ = connection.await;
        });
        Ok(Self(sender))
    }

    /// Posts JSON, which must succeed.
    pub async fn post(&mut self, path: &str, bearer: &str, body: &impl Serialize) -> Result<Bytes> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::AUTHORIZATION, format!("Bearer {bearer}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let done = [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT].contains(&status);
        ensure!(done, "{path} answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}
