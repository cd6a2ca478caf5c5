//! Recordings and logs: who has them, what of a request and an answer goes through, and what of the controller does not.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use gateway::{ControllerLink, GatewayConfig, HttpLink, LocalLink};
use http::{HeaderName, StatusCode, header};
use service::Problem;
use session::gateway_api::{LOG, RECORDING};
use session::{ProblemType, Role, Secret, SessionId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{Harness, Session};
use crate::page::{Answer, request};
use crate::share::{assert_refused, page_token};

const TOKEN: &str = "0123456789abcdef";

/// What the controller was asked: path, query, headers.
type Asked = mpsc::UnboundedReceiver<http::request::Parts>;

/// A controller that answers all of it with `answer`, and tells what it was asked.
fn controller(answer: fn() -> Response) -> (Router, Asked) {
    let (tell, asked) = mpsc::unbounded_channel();
    let handler = move |request: Request| {
        tell.send(request.into_parts().0).unwrap();
        std::future::ready(answer())
    };
    (Router::new().route(RECORDING, get(handler.clone())).route(LOG, get(handler)), asked)
}

/// Over a network.
async fn linked(answer: fn() -> Response) -> (Harness, Asked) {
    let (router, asked) = controller(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    let link: Arc<dyn ControllerLink> = Arc::new(HttpLink::new(url, &Secret::new(TOKEN)).unwrap());
    (Harness::start_linked(GatewayConfig::default(), Some(link)).await, asked)
}

async fn ask(harness: &Harness, session: &Session, role: Role, path: &str, more: &str) -> Answer {
    let token = page_token(harness, session, role).await;
    let headers = format!("Authorization: Bearer {token}\r\n{more}");
    request(harness, "GET", &format!("/ws/{}/{path}", session.id), &headers).await
}

fn some_bytes() -> Response {
    let headers = [
        (header::CONTENT_RANGE, "bytes 2-5/9"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::ETAG, "\"1\""),
        (header::CONTENT_TYPE, "text/html"),
        (header::SET_COOKIE, "a=b"),
        (HeaderName::from_static("x-else"), "1"),
    ];
    (StatusCode::PARTIAL_CONTENT, headers, "cast").into_response()
}

#[tokio::test]
async fn whoever_is_in_the_session_has_its_recording_in_parts_too() {
    let (harness, mut asked) = linked(some_bytes).await;
    let session = harness.queued().await;
    for role in [Role::Operator, Role::Viewer] {
        let more = "Range: bytes=2-5\r\nIf-Range: \"1\"\r\nX-Else: 1\r\nCookie: a=b\r\n";
        let got = ask(&harness, &session, role, "recording.cast?format=raw&x=1", more).await;
        assert_eq!((got.status, got.body.as_str()), (206, "cast"));
        for (name, value) in [
            ("content-type", "application/x-asciicast"),
            ("content-disposition", &*format!("attachment; filename=\"{}.cast\"", session.id)),
            ("content-range", "bytes 2-5/9"),
            ("accept-ranges", "bytes"),
            ("content-length", "4"),
            ("etag", "\"1\""),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox; default-src 'none'"),
        ] {
            assert_eq!(got.headers[name], value, "{name}");
        }
        for name in ["set-cookie", "x-else", "access-control-allow-origin"] {
            assert!(!got.headers.contains_key(name), "{name}");
        }
        let asked = asked.recv().await.unwrap();
        assert_eq!(asked.uri.to_string(), format!("/internal/gateway/sessions/{}/recording", session.id));
        assert_eq!(asked.headers[header::AUTHORIZATION], format!("Bearer {TOKEN}"));
        assert_eq!(asked.headers[header::RANGE], "bytes=2-5");
        assert_eq!(asked.headers[header::IF_RANGE], "\"1\"");
        assert!(!asked.headers.contains_key("x-else") && !asked.headers.contains_key(header::COOKIE));
    }
    harness.metric(r#"cliscale_gateway_transfers_total{outcome="recording"} 2"#).await;
}

#[tokio::test]
async fn a_log_is_text_unless_its_bytes_are_asked_for_and_nothing_else() {
    let (harness, mut asked) = linked(|| "log\n".into_response()).await;
    let session = harness.queued().await;
    for (path, query, kind, name) in [
        ("log", "format=text", "text/plain; charset=utf-8", "log"),
        ("log?format=text", "format=text", "text/plain; charset=utf-8", "log"),
        ("log?format=raw", "format=raw", "application/octet-stream", "raw.log"),
    ] {
        let got = ask(&harness, &session, Role::Viewer, path, "").await;
        assert_eq!((got.status, got.body.as_str()), (200, "log\n"));
        assert_eq!(got.headers[header::CONTENT_TYPE], kind);
        assert!(got.headers[header::CONTENT_DISPOSITION].to_str().unwrap().ends_with(&format!(".{name}\"")));
        let asked = asked.recv().await.unwrap();
        assert_eq!(asked.uri.to_string(), format!("/internal/gateway/sessions/{}/log?{query}", session.id));
    }
    for path in ["log?format=html", "log?format=", "log?format=text%26x=1"] {
        assert_refused(&ask(&harness, &session, Role::Viewer, path, "").await, ProblemType::InvalidRequest);
    }
    asked.try_recv().unwrap_err();
}

#[tokio::test]
async fn without_a_page_token_of_the_session_nothing_is_asked_of_the_controller() {
    let (harness, mut asked) = linked(some_bytes).await;
    let (session, other) = (harness.queued().await, harness.queued().await);
    let good = page_token(&harness, &session, Role::Operator).await;
    let mut answers = Vec::new();
    for path in ["recording.cast", "log"] {
        for (id, headers) in [
            (session.id.to_string(), String::new()),
            (session.id.to_string(), "Authorization: Bearer wrong\r\n".to_owned()),
            (other.id.to_string(), format!("Authorization: Bearer {good}\r\n")),
            (SessionId::new().to_string(), format!("Authorization: Bearer {good}\r\n")),
            ("%ff".to_owned(), format!("Authorization: Bearer {good}\r\n")),
        ] {
            let refused = request(&harness, "GET", &format!("/ws/{id}/{path}"), &headers).await;
            assert_refused(&refused, ProblemType::PageTokenInvalid);
            answers.push(refused.body);
        }
        let refused = request(&harness, "POST", &format!("/ws/{}/{path}", session.id), "").await;
        assert_refused(&refused, ProblemType::MethodNotAllowed);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    asked.try_recv().unwrap_err();
}

#[tokio::test]
async fn the_controller_s_refusals_are_handed_on_and_what_is_between_the_servers_is_not() {
    for (answer, kind) in [
        (
            (|| Problem::new(ProblemType::Conflict, "as it is").into_response()) as fn() -> Response,
            ProblemType::Conflict,
        ),
        (
            || Problem::new(ProblemType::RangeNotSatisfiable, "as it is").into_response(),
            ProblemType::RangeNotSatisfiable,
        ),
        (
            || Problem::new(ProblemType::Unavailable, "as it is").retry_after(7).into_response(),
            ProblemType::Unavailable,
        ),
        (|| Problem::new(ProblemType::Unauthorized, "as it is").into_response(), ProblemType::Unavailable),
        (|| Problem::new(ProblemType::NotFound, "as it is").into_response(), ProblemType::Unavailable),
        (|| StatusCode::IM_A_TEAPOT.into_response(), ProblemType::Unavailable),
        (
            || (StatusCode::FOUND, [(header::LOCATION, "http://else.example/")]).into_response(),
            ProblemType::Unavailable,
        ),
    ] {
        let (router, _asked) = controller(answer);
        let link: Arc<dyn ControllerLink> = Arc::new(LocalLink::new(router, &Secret::new(TOKEN)));
        let harness = Harness::start_linked(GatewayConfig::default(), Some(link)).await;
        let session = harness.queued().await;
        let refused = ask(&harness, &session, Role::Viewer, "recording.cast", "").await;
        assert_refused(&refused, kind);
        assert!(!refused.headers.contains_key(header::LOCATION));
        assert_eq!(refused.headers.contains_key(header::RETRY_AFTER), kind == ProblemType::Unavailable);
    }
}

#[tokio::test]
async fn a_controller_that_is_away_or_unknown_is_no_riddle() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap()).parse().unwrap();
    drop(nobody);
    let link: Arc<dyn ControllerLink> = Arc::new(HttpLink::new(url, &Secret::new(TOKEN)).unwrap());
    for (link, kind) in [(Some(link), ProblemType::Unavailable), (None, ProblemType::NotFound)] {
        let harness = Harness::start_linked(GatewayConfig::default(), link).await;
        let session = harness.queued().await;
        assert_refused(&ask(&harness, &session, Role::Operator, "log", "").await, kind);
    }
}

#[tokio::test]
async fn a_recording_that_breaks_off_never_looks_complete() {
    fn broken() -> Response {
        let pieces = [Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("gone"))];
        Body::from_stream(futures_util::stream::iter(pieces)).into_response()
    }
    fn whole() -> Response {
        let pieces = [Ok::<_, Infallible>(Bytes::from_static(b"half")), Ok(Bytes::from_static(b"more"))];
        Body::from_stream(futures_util::stream::iter(pieces)).into_response()
    }
    for (answer, complete) in [(broken as fn() -> Response, false), (whole, true)] {
        let (harness, _asked) = linked(answer).await;
        let session = harness.queued().await;
        let got = ask(&harness, &session, Role::Viewer, "recording.cast", "").await;
        // Chunked: an empty chunk ends it.
        assert_eq!(got.body.ends_with("0\r\n\r\n"), complete, "{}", got.body);
    }
}
