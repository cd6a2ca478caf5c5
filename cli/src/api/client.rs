//! One server's API, with one key.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use session::api::{CreateSession, Entry, MintToken, SessionPage, SessionView};
use session::problem::ProblemBody;
use session::{Role, Secret, SessionId, SessionState};
use url::{Host, Url};

use super::{ApiError, tls_config};

/// How long one request may take. Creating a session answers at once, so this bounds a lost network only.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may be read.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    pub state: Option<SessionState>,
    pub labels: Vec<(String, String)>,
    /// At most this many in all.
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Secret,
}

impl Client {
    pub fn new(mut base: Url, key: Secret) -> Result<Self, ApiError> {
        // `join` replaces what follows the last slash.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config()?)
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the key to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cliscale/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            // No proxy can reach this machine's own loopback, whatever HTTP_PROXY says.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ApiError::Tls(error.to_string()))?;
        Ok(Self { http, base, key })
    }

    /// The server's address, as it was given.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Whether the server is this machine, as far as its address tells.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    pub async fn create(&self, request: &CreateSession) -> Result<Entry, ApiError> {
        // Drawn once per call, so that a proxy's or our own repetition of the request makes no second session.
        let key = uuid::Uuid::now_v7().to_string();
        self.ask(self.request(Method::POST, "api/sessions").header("Idempotency-Key", key).json(request)).await
    }

    pub async fn session(&self, id: SessionId) -> Result<SessionView, ApiError> {
        self.ask(self.request(Method::GET, &format!("api/sessions/{id}"))).await
    }

    /// Newest first, over as many pages as it takes.
    pub async fn sessions(&self, query: &ListQuery) -> Result<Vec<SessionView>, ApiError> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = self.page(query, cursor.as_deref(), query.limit - found.len()).await?;
            found.extend(page.sessions);
            cursor = page.next_cursor;
            if cursor.is_none() || found.len() >= query.limit {
                found.truncate(query.limit);
                return Ok(found);
            }
        }
    }

    async fn page(&self, query: &ListQuery, cursor: Option<&str>, room: usize) -> Result<SessionPage, ApiError> {
        let mut url = self.url("api/sessions");
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("limit", &room.clamp(1, PAGE).to_string());
            if let Some(state) = query.state {
                pairs.append_pair("state", state.as_str());
            }
            for (key, value) in &query.labels {
                pairs.append_pair("label", &format!("{key}={value}"));
            }
            if let Some(cursor) = cursor {
                pairs.append_pair("cursor", cursor);
            }
        }
        self.ask(self.http.get(url).bearer_auth(self.key.expose())).await
    }

    /// Ends a session; legal in every state.
    pub async fn end(&self, id: SessionId) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, &format!("api/sessions/{id}"))).await.map(drop)
    }

    /// A further way in, once.
    pub async fn mint(&self, id: SessionId, role: Role) -> Result<Entry, ApiError> {
        let request = self.request(Method::POST, &format!("api/sessions/{id}/tokens"));
        self.ask(request.json(&MintToken { role })).await
    }

    /// The bytes that a session's terminal got, out of its recording: for sessions whose runner is gone.
    pub async fn recorded_output(&self, id: SessionId) -> Result<Download, ApiError> {
        let request = self.request(Method::GET, &format!("api/sessions/{id}/log?format=raw"));
        let response = request.timeout(DOWNLOAD_TIMEOUT).send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(Download { client: self.clone(), response });
        }
        Err(self.refused(response).await)
    }

    fn url(&self, path: &str) -> Url {
        // The paths are ours, and the base is a parsed http(s) URL.
        self.base.join(path).expect("a relative path")
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(self.key.expose())
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let (status, body) = self.send(request).await?;
        serde_json::from_slice(&body).map_err(|_| self.unreadable(status))
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(response).await);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, body.into()))
    }

    async fn refused(&self, response: Response) -> ApiError {
        let status = response.status();
        match response.bytes().await.map(|body| serde_json::from_slice::<ProblemBody>(&body)) {
            Ok(Ok(problem)) => ApiError::Problem(Box::new(problem)),
            Ok(Err(_)) => self.unreadable(status),
            Err(error) => self.unreachable(&error),
        }
    }

    fn unreadable(&self, status: StatusCode) -> ApiError {
        ApiError::Unreadable { server: self.base.origin().ascii_serialization(), status: status.as_u16() }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        // The innermost cause is the one that helps ("connection refused"); the outer ones repeat the URL.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        ApiError::Unreachable { server: self.base.origin().ascii_serialization(), why: cause.to_string() }
    }
}

/// An answer that is read piece by piece.
pub struct Download {
    client: Client,
    response: Response,
}

impl Download {
    /// The next piece; `None` at the end. One that breaks off is an error.
    pub async fn piece(&mut self) -> Result<Option<bytes::Bytes>, ApiError> {
        self.response.chunk().await.map_err(|error| self.client.unreachable(&error))
    }
}

/// Sessions that are asked for at once.
const PAGE: usize = 100;

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_below_a_path_keeps_its_path() {
        let client = Client::new("https://h.example/terminals".parse().unwrap(), Secret::new("k")).unwrap();
        assert_eq!(client.url("api/sessions").as_str(), "https://h.example/terminals/api/sessions");
        assert!(!client.is_loopback());
    }

    #[test]
    fn the_key_is_not_in_debug_output() {
        let client = Client::new("http://[::1]:1".parse().unwrap(), Secret::new("hunter2")).unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
        assert!(client.is_loopback());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_the_reason() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(format!("http://{free}").parse().unwrap(), Secret::new("k")).unwrap();
        let text = client.session(SessionId::new()).await.unwrap_err().to_string();
        assert!(text.contains(&free.to_string()) && text.to_lowercase().contains("refused"), "{text}");
    }
}
