//! Stopping: SIGTERM or Ctrl-C starts it, and a deadline bounds it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One per process: tells every part to stop, and waits for their tasks.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when stopping begins.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs a task that stopping waits for. The task must end soon after the token is cancelled.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Begins to stop.
    pub fn begin(&self) {
        self.token.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the tasks, at most `deadline`; `false` when some were still running then.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }

    /// Begins to stop at the first SIGTERM, SIGINT (Ctrl-C) or SIGHUP; a second one ends the process at once, since
    /// somebody who asks twice wants it gone.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let token = self.token.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => "SIGHUP",
                };
                if token.is_cancelled() {
                    tracing::warn!(signal = name, "asked again to stop: stopping at once");
                    std::process::exit(130);
                }
                tracing::info!(signal = name, "stopping");
                token.cancel();
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_tasks_but_not_for_ever() {
        let shutdown = Shutdown::new();
        let token = shutdown.token();
        shutdown.spawn(async move { token.cancelled().await });
        assert!(shutdown.finish(Duration::from_secs(1)).await);

        let stuck = Shutdown::new();
        stuck.spawn(std::future::pending());
        assert!(!stuck.finish(Duration::from_secs(1)).await);
    }
}
