//! The threads and process groups that one fetch starts, so that none outlives it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Killed processes are gone within moments; waiting longer would only hold up the session's end.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Asks a thread to give up. Threads look at it before each block that they write.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Dropping it stops everything, without waiting.
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) stop: Stop,
    threads: TaskTracker,
    groups: Mutex<Vec<Pid>>,
}

impl Jobs {
    pub(super) fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.threads.spawn_blocking(work)
    }

    /// Takes charge of the process group that `leader` leads.
    pub(super) fn group(&self, leader: u32) -> Group<'_> {
        let id = Pid::from_raw(leader.cast_signed());
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Group { id, jobs: self }
    }

    /// Stops everything and waits until nothing of it can write any more. The futures that use these jobs must
    /// have been dropped: their threads wait for them.
    pub(super) async fn stop_and_wait(&self) {
        self.stop.0.store(true, Ordering::Relaxed);
        self.threads.close();
        self.threads.wait().await;
        let groups = std::mem::take(&mut *self.groups.lock().unwrap_or_else(PoisonError::into_inner));
        let gone = async {
            for id in groups {
                while killpg(id, None).is_ok() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        };
        // Whoever should reap an orphan may be slow, but a killed process writes nothing.
        let _ = tokio::time::timeout(GONE_WITHIN, gone).await;
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
    }
}

/// A process group that is killed unless it ended well.
pub(super) struct Group<'a> {
    id: Pid,
    jobs: &'a Jobs,
}

impl Group<'_> {
    /// The leader has ended and was reaped: its number may now belong to another.
    pub(super) fn ended(self) {
        self.jobs.groups.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != self.id);
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let groups = self.jobs.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.contains(&self.id) {
            // ESRCH: it ended by itself.
            let _ = killpg(self.id, Signal::SIGKILL);
        }
    }
}
