//! The HTTP client that asks the controller: for the address that was configured alone, and not for long.

use std::time::Duration;

use url::Url;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Between two pieces of an answer that has begun.
const SILENCE: Duration = Duration::from_secs(60);

/// A client for this address, whose answers are short.
pub fn client(url: &Url) -> reqwest::Result<reqwest::Client> {
    plain_client(url).timeout(TIMEOUT).build()
}

/// A client for this address, whose answers may be long, and take as long as whoever reads them.
pub fn streaming_client(url: &Url) -> reqwest::Result<reqwest::Client> {
    plain_client(url).connect_timeout(TIMEOUT).read_timeout(SILENCE).build()
}

fn plain_client(url: &Url) -> reqwest::ClientBuilder {
    // reqwest is built without a provider of its own; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut client = reqwest::Client::builder();
    if url.scheme() == "http" {
        // The system's certificates are not looked for, and may be missing.
        client = client.tls_certs_only([]);
    }
    client
        .redirect(reqwest::redirect::Policy::none())
        // What the controller says decides who enters: nobody stands between.
        .no_proxy()
}

/// reqwest's own text leaves out the cause.
pub fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
