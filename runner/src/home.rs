//! Calling home: the runner tells the controller where it listens and which secret it drew, until it is heard.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::StatusCode;
use session::Secret;
use session::runner_api::{PROTOCOL_VERSION, Ready};
use tokio::time::Instant;

use crate::controller::{Backoff, CallError, Controller};

/// How long a controller may be away while a runner boots.
const DEADLINE: Duration = Duration::from_secs(60);

/// The runner was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("the controller refuses the boot token (401)")]
    BootToken,
    #[error("the controller knows another runner under this id already (409)")]
    Taken,
    #[error("the controller refuses this runner ({0})")]
    Refused(StatusCode),
    #[error("the controller was not reached within {seconds} s; {why}", seconds = DEADLINE.as_secs())]
    Unreachable { why: String },
}

/// Calls until the controller answers; repeating the same token and secret changes nothing there.
/// `address` is told as it is; without one the connection's own address is.
pub async fn call(
    controller: &Controller,
    boot_token: &Secret,
    secret: &Secret,
    address: Option<IpAddr>,
    port: u16,
) -> Result<(), HomeError> {
    let deadline = Instant::now() + DEADLINE;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(3));
    loop {
        let ready = |local: IpAddr| Ready {
            protocol: PROTOCOL_VERSION,
            address: SocketAddr::new(address.unwrap_or(local), port),
            secret: secret.clone(),
        };
        let why = match controller.post("ready", boot_token, ready).await {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(StatusCode::UNAUTHORIZED) => return Err(HomeError::BootToken),
            Ok(StatusCode::CONFLICT) => return Err(HomeError::Taken),
            Ok(status) if is_passing(status) => format!("it answered {status}"),
            Ok(status) => return Err(HomeError::Refused(status)),
            Err(error @ (CallError::Connect(_) | CallError::Http(_) | CallError::TimedOut)) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(HomeError::Unreachable { why });
        }
        tracing::debug!(why, "calling home again");
        backoff.wait().await;
    }
}

/// Whether the same call may well succeed later.
pub fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}
