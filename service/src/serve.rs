//! The HTTP/1.1 server around a router: takes a bound listener, bounds what a connection may cost before it has said
//! anything sensible, and stops with the process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::shutdown::Stopping;
use crate::unread::Lent;

/// What one server's connections may cost.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// From accepting a connection, or from the end of the answer before, to the end of a request's headers.
    pub header_timeout: Duration,
    /// Bytes of a request's line and headers (hyper takes no less than 8192).
    pub header_bytes: usize,
    /// How long requests that are being answered may go on once stopping began.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_timeout: Duration::from_secs(10),
            header_bytes: 32 * 1024,
            drain: Duration::from_secs(5),
        }
    }
}

/// Serves until it is to stop, then lets open requests finish within the drain time. While it leaves, each answer is its
/// connection's last, so that those who keep connections open look for another server before this one is gone. Upgraded
/// connections are not waited for: whoever upgraded them owns them.
pub async fn serve(listener: TcpListener, router: Router, limits: ServeLimits, stopping: impl Into<Stopping>) {
    let stopping = stopping.into();
    let stop = &stopping.stop;
    let room = Arc::new(Semaphore::new(limits.connections));
    let tasks = TaskTracker::new();
    let hurry = CancellationToken::new();
    loop {
        let Some(permit) = (tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit.ok(),
            () = stop.cancelled() => None,
        }) else {
            break;
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer left already: neither ends the server. The pause keeps a
                    // lasting shortage from spinning.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let connection = serve_connection(stream, peer, router.clone(), limits.clone(), stopping.clone());
        let hurry = hurry.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = hurry.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(limits.drain, tasks.wait()).await.is_err() {
        hurry.cancel();
        tasks.wait().await;
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ServeLimits,
    Stopping { leaving, stop }: Stopping,
) {
    // Keystrokes and their echoes are small; waiting to fill a segment would be felt.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (router, leaving) = (router.clone(), leaving.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = Lent::new(body);
            // Who waits to be asked for the body is not asked for it just to throw it away.
            let is_sent = !head.headers.contains_key(header::EXPECT);
            let mut response = router.oneshot(hyper::Request::from_parts(head, body.body())).await?;
            if is_sent {
                body.read_rest().await;
            }
            if leaving.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes.max(8192));
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server whose `/slow` says when it was asked, and answers when it is told to.
    struct Server {
        address: SocketAddr,
        stopping: Stopping,
        asked: Arc<Semaphore>,
        answers: Arc<Semaphore>,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(limits: ServeLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, answers) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (heard, told) = (Arc::clone(&asked), Arc::clone(&answers));
        let slow = move || async move {
            heard.add_permits(1);
            told.acquire().await.unwrap().forget();
            "done"
        };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/quick", get(|| async { "done" }))
            .route("/refused", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }));
        let stopping = Stopping::from(CancellationToken::new());
        let task = tokio::spawn(serve(listener, router, limits, stopping.clone()));
        Server { address, stopping, asked, answers, task }
    }

    async fn ask(server: &Server, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        ask_again(&mut client, path).await;
        client
    }

    async fn ask_again(client: &mut TcpStream, path: &str) {
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    }

    /// An answer on a connection that stays open.
    async fn read_answer(client: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"done") {
            answer.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(answer).unwrap()
    }

    async fn read_to_end(mut client: TcpStream) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_answer_that_comes_before_the_request_has_ended_is_not_lost_and_the_connection_goes_on() {
        let server = start(ServeLimits::default()).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let length = 3 * 1024 * 1024;
        let head = format!("POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        // All of it, before any of the answer is read: a reset would be seen here or below.
        client.write_all(&vec![b'x'; length]).await.unwrap();
        ask_again(&mut client, "/quick").await;
        let answers = read_answer(&mut client).await;
        assert!(answers.starts_with("HTTP/1.1 413") && answers.contains("HTTP/1.1 200"), "{answers}");
        // More than is read in vain: cut off, not read for ever.
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n").await.unwrap();
        let chunk = vec![b'x'; 1024 * 1024];
        while client.write_all(&chunk).await.is_ok() {}
        // Who waits to be asked is answered at once.
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let head = "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(client).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_whole_when_stopping() {
        let server = start(ServeLimits::default()).await;
        let client = ask(&server, "/slow").await;
        server.asked.acquire().await.unwrap().forget();
        server.stopping.stop.cancel();
        server.answers.add_permits(1);
        let answer = read_to_end(client).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn who_leaves_serves_on_and_lets_go_of_kept_connections_with_an_answer() {
        let server = start(ServeLimits::default()).await;
        let mut kept = ask(&server, "/quick").await;
        assert!(!read_answer(&mut kept).await.contains("connection:"));
        server.stopping.leaving.cancel();
        // Whoever has a connection, and whoever comes now.
        ask_again(&mut kept, "/quick").await;
        for client in [kept, ask(&server, "/quick").await] {
            let answer = read_to_end(client).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
        }
        server.stopping.stop.cancel();
        server.task.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn a_kept_connection_without_a_request_does_not_hold_up_a_stop() {
        let server = start(ServeLimits { header_timeout: Duration::from_secs(600), ..ServeLimits::default() }).await;
        let mut kept = ask(&server, "/quick").await;
        read_answer(&mut kept).await;
        server.stopping.stop.cancel();
        assert_eq!(read_to_end(kept).await, "");
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_never_finishes_its_headers_is_closed() {
        let limits = ServeLimits { header_timeout: Duration::from_millis(100), ..ServeLimits::default() };
        let server = start(limits).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"GET /slow HTTP/1.1\r\nHost:").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
    }

    #[tokio::test]
    async fn headers_above_the_limit_are_refused() {
        let server = start(ServeLimits { header_bytes: 8192, ..ServeLimits::default() }).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /slow HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000));
        let _ = client.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
}
