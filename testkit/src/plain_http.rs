//! One request with a JSON body over plain HTTP, for talking to a runner as the controller does.

use http::{Method, StatusCode};
use serde::Serialize;

/// Sends it and returns the status.
pub async fn send(
    method: Method,
    url: &str,
    bearer: Option<&str>,
    body: &impl Serialize,
) -> anyhow::Result<StatusCode> {
    // Building any client needs a provider; a second installation is refused and harmless.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut request = client.request(method, url).json(body);
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    Ok(request.send().await?.status())
}
