//! Asks a runner's port for files as the gateway does. Targets are sent as they are, tidied by nobody.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use session::Stage;
use session::runner_api::ROLE_HEADER;
use tokio::net::TcpStream;

use super::Rig;

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The problem's slug.
    pub fn problem(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["type"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Status and slug.
    pub fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.problem())
    }
}

/// A runner whose command waits, and the folder that it waits in.
pub async fn waiting() -> (Rig, PathBuf) {
    let rig = Rig::start().await;
    rig.assign(rig.spec("exec sleep 600")).await;
    rig.controller.wait_stage(Stage::Running).await.unwrap();
    let folder = rig.folder.path().join("workspace/code");
    (rig, folder)
}

/// A request of an operator.
pub fn request<B>(rig: &Rig, method: &str, target: &str, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = target.parse().unwrap();
    let headers = request.headers_mut();
    headers.insert(header::HOST, "runner".parse().unwrap());
    headers.insert(header::AUTHORIZATION, HeaderValue::try_from(rig.bearer()).unwrap());
    headers.insert(ROLE_HEADER, HeaderValue::from_static("operator"));
    request
}

/// Sends it; the answer's body is not read yet.
pub async fn send<B>(rig: &Rig, request: Request<B>) -> hyper::Result<http::Response<Incoming>>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(&rig.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

pub async fn read(response: http::Response<Incoming>) -> hyper::Result<Answer> {
    let (head, body) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
}

pub async fn get(rig: &Rig, target: &str) -> Answer {
    ask(rig, "GET", target, &[], b"").await
}

pub async fn put(rig: &Rig, target: &str, body: &[u8]) -> Answer {
    ask(rig, "PUT", target, &[], body).await
}

pub async fn ask(rig: &Rig, method: &str, target: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let mut request = request(rig, method, target, Full::new(Bytes::copy_from_slice(body)));
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    read(send(rig, request).await.unwrap()).await.unwrap()
}

/// The names in an archive, sorted.
pub fn names_of(archive: &[u8]) -> Vec<String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let entries = tar.entries().unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
