//! Files of a session: who may have them, what the runner is asked, and what becomes of either side's breaking off.

use http::header;
use serde_json::Value;
use session::problem::ProblemBody;
use session::{ProblemType, Role, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{BOTH, Harness, Session, soon};
use crate::page::{Answer, request};
use crate::runner::FakeRunner;

/// The page token of somebody who has just entered.
async fn page_token(harness: &Harness, session: &Session, role: Role) -> String {
    let token = harness.token(session, role).await;
    harness.dial(session, Some(&token), BOTH, &[]).await.open().await.tickets.unwrap().page_token
}

/// A session with a runner that is asked for files, its operator's page token, and where the files are.
async fn running(harness: &Harness) -> (FakeRunner, Session, String, String) {
    let runner = FakeRunner::start().await;
    let session = harness.running(runner.address).await;
    let token = page_token(harness, &session, Role::Operator).await;
    runner.accept().await;
    let files = format!("/ws/{}/files", session.id);
    (runner, session, format!("Authorization: Bearer {token}\r\n"), files)
}

#[track_caller]
fn assert_refused(answer: &Answer, kind: ProblemType) {
    assert_eq!(answer.status, kind.status(), "{}", answer.body);
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["type"], kind.uri(), "{}", answer.body);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
}

/// Reads a request's headers at the runner.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the request", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Answers as a runner does, and reads what it was asked.
async fn answer(runner: &FakeRunner, text: &str) -> String {
    let mut stream = runner.accept_tcp().await;
    let head = head(&mut stream).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    head
}

/// A client that has sent this and reads nothing yet.
async fn begin(harness: &Harness, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_file_comes_from_the_runner_as_bytes_and_never_as_a_page_of_this_server() {
    let harness = Harness::start().await;
    let (runner, session, bearer, files) = running(&harness).await;
    let said = "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/9\r\nContent-Type: text/html\r\n\
        Set-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\nAccept-Ranges: bytes\r\n\r\n<p>hi";
    let path = format!("{files}/a/%2e%2e/b%2Fc%20%22.html?x=1");
    let headers = format!("{bearer}Range: bytes=0-4\r\nOrigin: https://elsewhere.example\r\nX-Else: 1\r\n");
    let (got, asked) = tokio::join!(request(&harness, "GET", &path, &headers), answer(&runner, said));
    assert!(asked.starts_with("get /files/a/%2e%2e/b%2fc%20%22.html http/1.1\r\n"), "{asked}");
    for line in
        ["range: bytes=0-4", "cliscale-role: operator", &format!("authorization: bearer {}", session.secret.expose())]
    {
        assert!(asked.contains(&format!("{line}\r\n")), "{line} in {asked}");
    }
    assert!(!asked.contains("x-else") && !asked.contains("origin"), "{asked}");
    assert_eq!((got.status, got.body.as_str()), (206, "<p>hi"));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"c _.html\"; filename*=UTF-8''c%20%22%2Ehtml"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("content-range", "bytes 0-4/9"),
        ("content-length", "5"),
    ] {
        assert_eq!(got.headers[name], value, "{name}");
    }
    for name in ["set-cookie", "access-control-allow-origin"] {
        assert!(!got.headers.contains_key(name), "{name}");
    }
    let packed = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ngzp\r\n0\r\n\r\n";
    let path = format!("{files}.tar.gz");
    let (got, asked) = tokio::join!(request(&harness, "GET", &path, &bearer), answer(&runner, packed));
    assert!(asked.starts_with("get /files.tar.gz http/1.1\r\n"), "{asked}");
    assert!(got.body.contains("gzp"));
    let name = format!("{}.tar.gz", session.id);
    assert!(got.headers[header::CONTENT_DISPOSITION].to_str().unwrap().contains(&name));
    harness.metric(r#"cliscale_gateway_transfers_total{outcome="download"} 1"#).await;
    harness.metric(r#"cliscale_gateway_transfers_total{outcome="archive"} 1"#).await;
}

#[tokio::test]
async fn files_are_for_the_session_s_operators_alone() {
    let harness = Harness::start().await;
    let (runner, session, bearer, files) = running(&harness).await;
    let viewer = page_token(&harness, &session, Role::Viewer).await;
    runner.accept().await;
    let viewer = format!("Authorization: Bearer {viewer}\r\n");
    let other = harness.queued().await;
    let mut strangers = Vec::new();
    for (method, end) in [("GET", "/x"), ("PUT", "/x"), ("GET", ".tar.gz")] {
        assert_refused(&request(&harness, method, &format!("{files}{end}"), &viewer).await, ProblemType::Forbidden);
        for (id, headers) in [
            (session.id.to_string(), ""),
            (session.id.to_string(), "Authorization: Bearer wrong\r\n"),
            (other.id.to_string(), &*bearer),
            (SessionId::new().to_string(), &*bearer),
            ("%ff".to_owned(), &*bearer),
        ] {
            let refused = request(&harness, method, &format!("/ws/{id}/files{end}"), headers).await;
            assert_refused(&refused, ProblemType::PageTokenInvalid);
            strangers.push(refused.body);
        }
    }
    strangers.dedup();
    assert_eq!(strangers.len(), 1, "{strangers:?}");
    for method in ["OPTIONS", "POST", "DELETE"] {
        let refused = request(&harness, method, &format!("{files}/x"), &bearer).await;
        assert_refused(&refused, ProblemType::MethodNotAllowed);
        assert!(!refused.headers.contains_key("access-control-allow-origin"));
    }
    // A cookie or a query opens nothing.
    let token = bearer.trim().rsplit(' ').next().unwrap();
    let cookie = format!("Cookie: token={token}\r\n");
    let refused = request(&harness, "GET", &format!("{files}/x?token={token}"), &cookie).await;
    assert_refused(&refused, ProblemType::PageTokenInvalid);
}

#[tokio::test]
async fn what_the_runner_refuses_is_told_and_what_is_wrong_with_it_is_not() {
    let harness = Harness::start().await;
    let (runner, _, bearer, files) = running(&harness).await;
    let path = format!("{files}/x");
    let ask = || request(&harness, "GET", &path, &bearer);
    for kind in
        [ProblemType::FileNotFound, ProblemType::NotAFile, ProblemType::RangeNotSatisfiable, ProblemType::Conflict]
    {
        let body = serde_json::to_string(&ProblemBody::new(kind, "as it is")).unwrap();
        let said = format!(
            "HTTP/1.1 {} X\r\nContent-Range: bytes */9\r\nContent-Length: {}\r\n\r\n{body}",
            kind.status(),
            body.len()
        );
        let (got, _) = tokio::join!(ask(), answer(&runner, &said));
        assert_refused(&got, kind);
        assert_eq!(got.headers.contains_key(header::CONTENT_RANGE), kind == ProblemType::RangeNotSatisfiable);
    }
    for said in [
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nsecret",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let (got, _) = tokio::join!(ask(), answer(&runner, said));
        assert_refused(&got, ProblemType::Unavailable);
        assert!(!got.body.contains("secret"), "{}", got.body);
    }
    drop(runner);
    assert_refused(&ask().await, ProblemType::Unavailable);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let harness = Harness::start().await;
    let (runner, _, bearer, files) = running(&harness).await;
    let path = format!("{files}.tar.gz");
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n";
    let (got, _) = tokio::join!(request(&harness, "GET", &path, &bearer), answer(&runner, said));
    assert!(got.body.contains("cut") && !got.body.ends_with("0\r\n\r\n"), "{}", got.body);
}

#[tokio::test]
async fn an_upload_goes_on_while_it_comes_in_and_ends_with_the_client() {
    let harness = Harness::start().await;
    let (runner, _, bearer, files) = running(&harness).await;
    let text = format!(
        "PUT {files}/x HTTP/1.1\r\nHost: h\r\n{bearer}Content-Length: 10\r\nContent-Type: text/html\r\n\r\nhalf."
    );
    let mut client = begin(&harness, &text).await;
    let mut stream = runner.accept_tcp().await;
    let asked = head(&mut stream).await;
    assert!(asked.starts_with("put /files/x http/1.1\r\n") && asked.contains("content-length: 10\r\n"), "{asked}");
    let mut half = [0; 5];
    soon("the first half", stream.read_exact(&mut half)).await.unwrap();
    assert_eq!(&half, b"half.");
    client.write_all(b"other").await.unwrap();
    soon("the other half", stream.read_exact(&mut half)).await.unwrap();
    stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let mut got = [0; 20];
    soon("an answer", client.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"HTTP/1.1 201 Created");
    harness.metric(r#"cliscale_gateway_transfers_total{outcome="upload"} 1"#).await;

    let client = begin(&harness, &text).await;
    let mut stream = runner.accept_tcp().await;
    head(&mut stream).await;
    soon("the first half", stream.read_exact(&mut half)).await.unwrap();
    drop(client);
    let mut rest = Vec::new();
    let _ = soon("the end of the upload", stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_the_runner_up_instead_of_filling_memory() {
    let harness = Harness::start().await;
    let (runner, _, bearer, files) = running(&harness).await;
    let _client = begin(&harness, &format!("GET {files}/x HTTP/1.1\r\nHost: h\r\n{bearer}\r\n")).await;
    let mut stream = runner.accept_tcp().await;
    head(&mut stream).await;
    const SIZE: usize = 256 << 20;
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
    let (block, mut taken) = (vec![0; 1 << 20], 0);
    while taken < SIZE {
        match tokio::time::timeout(std::time::Duration::from_secs(1), stream.write(&block)).await {
            Ok(written) => taken += written.unwrap(),
            Err(_) => break,
        }
    }
    // What the kernel holds of two connections, and little more.
    assert!(taken < 64 << 20, "{taken} bytes were taken for somebody who reads none");
}

#[tokio::test]
async fn one_gateway_serves_so_many_at_once_and_whoever_leaves_makes_room() {
    let harness = Harness::start().await;
    let (_runner, _, bearer, files) = running(&harness).await;
    let text = format!("GET {files}/x HTTP/1.1\r\nHost: h\r\n{bearer}\r\n");
    let mut open = Vec::new();
    let path = format!("{files}/x");
    // The runner answers none of them.
    for _ in 0..128 {
        open.push(begin(&harness, &text).await);
    }
    soon("a gateway without room", async {
        loop {
            let asked =
                tokio::time::timeout(std::time::Duration::from_millis(300), request(&harness, "GET", &path, &bearer));
            if let Ok(answer) = asked.await {
                assert_refused(&answer, ProblemType::TooManyTransfers);
                assert!(answer.headers.contains_key(header::RETRY_AFTER));
                return;
            }
        }
    })
    .await;
    drop(open);
    soon("room", async {
        let asked =
            || tokio::time::timeout(std::time::Duration::from_millis(300), request(&harness, "GET", &path, &bearer));
        while asked().await.is_ok() {}
    })
    .await;
}

#[tokio::test]
async fn without_a_runner_there_are_no_files() {
    let harness = Harness::start().await;
    let queued = harness.queued().await;
    let token = page_token(&harness, &queued, Role::Operator).await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let path = format!("/ws/{}/files/x", queued.id);
    assert_refused(&request(&harness, "GET", &path, &bearer).await, ProblemType::Conflict);
    harness.end_and_forget(&queued, 0).await;
    assert_refused(&request(&harness, "PUT", &path, &bearer).await, ProblemType::SessionEnded);
    harness.metric(r#"cliscale_gateway_transfers_total{outcome="session_ended"} 1"#).await;
}

#[tokio::test]
async fn results_can_be_had_after_the_end_while_the_runner_lingers() {
    let harness = Harness::start().await;
    let (runner, session, bearer, files) = running(&harness).await;
    harness.end(&session, 0).await;
    let path = format!("{files}/result");
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    let (got, _) = tokio::join!(request(&harness, "GET", &path, &bearer), answer(&runner, said));
    assert_eq!((got.status, got.body.as_str()), (200, "done"));
}

#[tokio::test]
async fn a_head_is_told_that_there_is_no_such_file() {
    let harness = Harness::start().await;
    let (runner, _session, bearer, files) = running(&harness).await;
    let path = format!("{files}/x");
    // Of a HEAD's answer there is no body that could say more.
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n";
    let (got, asked) = tokio::join!(request(&harness, "HEAD", &path, &bearer), answer(&runner, missing));
    assert!(asked.starts_with("head /files/x "), "{asked}");
    assert_eq!((got.status, got.body.as_str()), (404, ""));
    harness.metric(r#"cliscale_gateway_transfers_total{outcome="file_not_found"} 1"#).await;
}
