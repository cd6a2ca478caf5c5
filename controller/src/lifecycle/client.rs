//! The way to a runner: plain HTTP to the address that it called home from, never through a proxy or a name.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use reqwest::redirect::Policy;
use session::Secret;
use session::runner_api::{Assign, End, MoveDeadline};

use super::config::Timing;

/// Idle connections to runners; each runner is called twice in its life.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// Why a runner did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody listens there: it was certainly not heard.
    #[error("the runner cannot be reached: {0}")]
    Unreachable(String),
    /// It may have been heard, or not.
    #[error("the runner's answer is missing: {0}")]
    Ambiguous(String),
    /// It was heard and refused.
    #[error("the runner refused with {0}")]
    Refused(StatusCode),
    /// Its session needs nothing any more.
    #[error("the session has moved on")]
    MovedOn,
}

pub(super) struct RunnerClient {
    http: reqwest::Client,
    assign_timeout: Duration,
    tell_timeout: Duration,
    ask_timeout: Duration,
}

impl RunnerClient {
    pub fn new(timing: &Timing) -> Self {
        // reqwest wants a provider even where no TLS will be spoken; one that is installed already serves as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            // Runners are spoken to in plain HTTP: the system's certificates are not looked for, and may be missing.
            .tls_certs_only([])
            .no_hickory_dns()
            .redirect(Policy::none())
            .connect_timeout(timing.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .build()
            // Fails only for settings that contradict each other, and these are fixed.
            .expect("the client's settings are sound");
        let Timing { assign_timeout, tell_timeout, ask_timeout, .. } = *timing;
        Self { http, assign_timeout, tell_timeout, ask_timeout }
    }

    pub async fn assign(&self, address: &str, secret: &Secret, assign: &Assign) -> Result<(), CallError> {
        let url = url(address, "assign")?;
        self.call(self.http.put(url).json(assign), secret, self.assign_timeout).await
    }

    pub async fn end(&self, address: &str, secret: &Secret, end: &End) -> Result<(), CallError> {
        let url = url(address, "end")?;
        self.call(self.http.post(url).json(end), secret, self.tell_timeout).await
    }

    pub async fn move_deadline(&self, address: &str, secret: &Secret, moved: &MoveDeadline) -> Result<(), CallError> {
        let url = url(address, "deadline")?;
        self.call(self.http.put(url).json(moved), secret, self.tell_timeout).await
    }

    /// Whether this runner answers there, and no other.
    pub async fn is_well(&self, address: &str, secret: &Secret) -> Result<(), CallError> {
        let url = url(address, "healthz")?;
        self.call(self.http.get(url), secret, self.ask_timeout).await
    }

    async fn call(
        &self,
        request: reqwest::RequestBuilder,
        secret: &Secret,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let sent = request.bearer_auth(secret.expose()).timeout(timeout).send().await;
        let status = sent.map_err(CallError::of)?.status();
        match status {
            _ if status.is_success() => Ok(()),
            _ if status.is_server_error() => Err(CallError::Ambiguous(status.to_string())),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(CallError::Ambiguous(status.to_string()))
            }
            _ => Err(CallError::Refused(status)),
        }
    }
}

impl CallError {
    fn of(error: reqwest::Error) -> Self {
        // The URL is an address and a fixed path; the cause is what matters.
        let text = match std::error::Error::source(&error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        };
        if error.is_connect() { Self::Unreachable(text) } else { Self::Ambiguous(text) }
    }
}

fn url(address: &str, path: &str) -> Result<String, CallError> {
    // Only an address: a name would be looked up, and could lead anywhere.
    let address: SocketAddr =
        address.parse().map_err(|_| CallError::Unreachable("its address is not IP:PORT".to_owned()))?;
    Ok(format!("http://{address}/{path}"))
}
