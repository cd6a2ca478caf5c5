//! Who ends a session from outside, and why: the first reason that is given wins.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use session::{EndReason, Ended};
use tokio_util::sync::CancellationToken;

use crate::terminal::Terminal;

#[derive(Clone, Default)]
pub struct Ender {
    first: Arc<OnceLock<Ended>>,
    asked: CancellationToken,
    hurried: CancellationToken,
}

impl Ender {
    /// Asks the session to end.
    pub fn end(&self, reason: EndReason, message: impl Into<String>) {
        if self.first.set(Ended::because(reason, message)).is_ok() {
            tracing::info!(%reason, "ending the session");
        }
        self.asked.cancel();
    }

    /// Asks the runner not to stay for the sake of its result.
    pub fn hurry(&self) {
        self.hurried.cancel();
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) -> Ended {
        self.asked.cancelled().await;
        // Set before the token is cancelled.
        self.first.get().cloned().unwrap_or_else(|| Ended::because(EndReason::Cancelled, "The session was ended."))
    }

    pub async fn hurried(&self) {
        self.hurried.cancelled().await;
    }

    /// Cancelled with the first request.
    pub fn token(&self) -> CancellationToken {
        self.asked.clone()
    }
}

/// What the end is called in a sentence of its own, where the controller gives only its reason.
pub fn sentence(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Cancelled => "The session was ended through the API.",
        EndReason::TimedOut => "The session reached its time limit.",
        EndReason::Idle => "Nobody was attached and nothing was printed for too long.",
        _ => "The controller ended the session.",
    }
}

/// Ends the session at its deadline, or when nobody was attached and nothing was printed for `idle`. Never returns.
pub async fn watch(terminal: &Terminal, ender: &Ender, idle: Duration) {
    tokio::join!(watch_deadline(terminal, ender), watch_idleness(terminal, ender, idle));
    std::future::pending().await
}

async fn watch_deadline(terminal: &Terminal, ender: &Ender) {
    // It may have been moved meanwhile, though to later only.
    while let Some(deadline) = terminal.deadline().filter(|deadline| deadline.at > Instant::now()) {
        tokio::time::sleep_until(deadline.at.into()).await;
    }
    ender.end(EndReason::TimedOut, sentence(EndReason::TimedOut));
}

async fn watch_idleness(terminal: &Terminal, ender: &Ender, idle: Duration) {
    loop {
        // While an operator is attached, one that leaves at once still gives the session all of `idle`.
        let since = terminal.idle_since().unwrap_or_else(Instant::now);
        let left = idle.saturating_sub(since.elapsed());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left).await;
    }
    ender.end(EndReason::Idle, format!("Nobody was attached and nothing was printed for {} s.", idle.as_secs()));
}
