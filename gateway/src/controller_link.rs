//! The way to the controller's `/internal/gateway/...`: over the network, or within one process.

use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use session::Secret;
use tokio::time::timeout;
use tower::ServiceExt;
use url::Url;

use crate::upstream;

/// Until an answer begins. What it is made of may have to be looked for in a store far away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Asks the controller, as this gateway.
#[async_trait]
pub trait ControllerLink: Send + Sync + 'static {
    /// `request` has a path and a query alone; the credential is added to it. The answer's body comes as it is read.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, Unanswered>;
}

/// Nobody answered. For the log; no token is in it.
#[derive(Debug, thiserror::Error)]
#[error("the controller cannot be asked: {0}")]
pub struct Unanswered(pub String);

/// The controller's internal port.
pub struct HttpLink {
    /// `http://HOST:PORT/`
    controller: Url,
    bearer: HeaderValue,
    client: reqwest::Client,
}

impl HttpLink {
    /// `token`: as [`store::SealKey::gateway_token`] has it.
    pub fn new(controller: Url, token: &Secret) -> reqwest::Result<Self> {
        Ok(Self { client: upstream::streaming_client(&controller)?, controller, bearer: bearer(token) })
    }
}

#[async_trait]
impl ControllerLink for HttpLink {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, Unanswered> {
        let (head, body) = request.into_parts();
        let mut url = self.controller.clone();
        url.set_path(head.uri.path());
        url.set_query(head.uri.query());
        let mut asked = self.client.request(head.method, url).headers(head.headers);
        asked = asked.header(header::AUTHORIZATION, self.bearer.clone()).body(body);
        let answered = timeout(ANSWER_TIMEOUT, asked.send()).await;
        let answered = answered.map_err(|_| Unanswered("no answer in time".to_owned()))?;
        let answered = answered.map_err(|error| Unanswered(upstream::describe(&error)))?;
        Ok(Response::<reqwest::Body>::from(answered).map(Body::new))
    }
}

/// The controller of the same process.
pub struct LocalLink {
    /// What it serves to gateways.
    router: Router,
    bearer: HeaderValue,
}

impl LocalLink {
    /// `token`: what `router` asks of gateways.
    pub fn new(router: Router, token: &Secret) -> Self {
        Self { router, bearer: bearer(token) }
    }
}

#[async_trait]
impl ControllerLink for LocalLink {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Body>, Unanswered> {
        request.headers_mut().insert(header::AUTHORIZATION, self.bearer.clone());
        // A router is always ready and never fails.
        match self.router.clone().oneshot(request.map(Body::from)).await {
            Ok(answered) => Ok(answered),
            Err(never) => match never {},
        }
    }
}

fn bearer(token: &Secret) -> HeaderValue {
    // Hexadecimal: nothing that a header could not hold.
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
