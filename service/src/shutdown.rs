//! Stopping: SIGTERM or Ctrl-C starts it, and a deadline bounds it. A process that others send clients to may leave first:
//! it says so and serves on, until they have heard of it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most seconds that `--shutdown-delay-secs` may ask for.
pub const MAX_DELAY_SECS: u64 = 600;

/// One per process: tells every part to stop, and waits for their tasks.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stopping: Stopping,
    tasks: TaskTracker,
}

/// What a server has to know of it.
#[derive(Debug, Clone)]
pub struct Stopping {
    /// Cancelled when the process is not ready any more, though it still serves; at the latest with `stop`.
    pub leaving: CancellationToken,
    pub stop: CancellationToken,
}

impl From<CancellationToken> for Stopping {
    /// Stops without leaving first.
    fn from(stop: CancellationToken) -> Self {
        Self { leaving: stop.child_token(), stop }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { stopping: CancellationToken::new().into(), tasks: TaskTracker::new() }
    }
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when stopping begins.
    pub fn token(&self) -> CancellationToken {
        self.stopping.stop.clone()
    }

    /// Cancelled when the process begins to leave: before stopping, or with it.
    pub fn leaving(&self) -> CancellationToken {
        self.stopping.leaving.clone()
    }

    /// Both, for a server.
    pub fn stopping(&self) -> Stopping {
        self.stopping.clone()
    }

    /// Runs a task that stopping waits for. The task must end soon after the token is cancelled.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Begins to stop.
    pub fn begin(&self) {
        self.stopping.stop.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.stop.is_cancelled()
    }

    /// Waits for the tasks, at most `deadline`; `false` when some were still running then.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.stopping.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }

    /// Begins to stop at the first SIGTERM, SIGINT (Ctrl-C) or SIGHUP; a second one ends the process at once, since
    /// somebody who asks twice wants it gone.
    pub fn on_signals(&self) -> std::io::Result<()> {
        self.on_signals_after(Duration::ZERO)
    }

    /// The same, leaving for `delay` before stopping. A signal meanwhile ends the delay.
    pub fn on_signals_after(&self, delay: Duration) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (ask, asked) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => "SIGHUP",
                };
                let _ = ask.send(name).await;
            }
        });
        let stopping = self.stopping();
        tokio::spawn(async move {
            let signal = stopping.obey(asked, delay).await;
            tracing::warn!(signal, "asked again to stop: stopping at once");
            std::process::exit(130);
        });
        Ok(())
    }
}

impl Stopping {
    /// Leaves and stops as the names of signals come in, and returns with the one that asks for more.
    async fn obey(self, mut asked: mpsc::Receiver<&'static str>, delay: Duration) -> &'static str {
        let mut signal = next(&mut asked).await;
        if self.stop.is_cancelled() {
            return signal;
        }
        self.leaving.cancel();
        if !delay.is_zero() {
            tracing::info!(signal, secs = delay.as_secs(), "not ready any more; serving on before stopping");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                again = next(&mut asked) => signal = again,
                () = self.stop.cancelled() => {}
            }
        }
        tracing::info!(signal, "stopping");
        self.stop.cancel();
        next(&mut asked).await
    }
}

async fn next(asked: &mut mpsc::Receiver<&'static str>) -> &'static str {
    match asked.recv().await {
        Some(signal) => signal,
        None => std::future::pending().await,
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

    /// What signals do to a process with this delay: sends them, and answers whether it is leaving and stopping.
    struct Process {
        stopping: Stopping,
        ask: mpsc::Sender<&'static str>,
        obeying: tokio::task::JoinHandle<&'static str>,
    }

    impl Process {
        fn with_delay(delay: Duration) -> Self {
            let (ask, asked) = mpsc::channel(1);
            let stopping = Shutdown::new().stopping();
            let obeying = tokio::spawn(stopping.clone().obey(asked, delay));
            Self { stopping, ask, obeying }
        }

        fn state(&self) -> (bool, bool) {
            (self.stopping.leaving.is_cancelled(), self.stopping.stop.is_cancelled())
        }
    }

    const DELAY: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn a_process_that_leaves_stops_when_its_delay_is_over() {
        let process = Process::with_delay(DELAY);
        let told = tokio::time::Instant::now();
        process.ask.send("SIGTERM").await.unwrap();
        process.stopping.leaving.cancelled().await;
        assert_eq!((process.state(), told.elapsed()), ((true, false), Duration::ZERO));
        process.stopping.stop.cancelled().await;
        assert_eq!(told.elapsed(), DELAY);
        process.ask.send("SIGINT").await.unwrap();
        assert_eq!(process.obeying.await.unwrap(), "SIGINT", "asked again, it ends at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_the_delay_and_a_third_the_process() {
        let process = Process::with_delay(DELAY);
        let told = tokio::time::Instant::now();
        for signal in ["SIGTERM", "SIGTERM"] {
            process.ask.send(signal).await.unwrap();
        }
        process.stopping.stop.cancelled().await;
        assert_eq!((process.state(), told.elapsed()), ((true, true), Duration::ZERO));
        process.ask.send("SIGHUP").await.unwrap();
        assert_eq!(process.obeying.await.unwrap(), "SIGHUP");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_delay_leaving_is_stopping() {
        let process = Process::with_delay(Duration::ZERO);
        process.ask.send("SIGTERM").await.unwrap();
        process.stopping.leaving.cancelled().await;
        assert_eq!(process.state(), (true, true));
        let shutdown = Shutdown::new();
        shutdown.begin();
        assert!(shutdown.leaving().is_cancelled());
    }
}
