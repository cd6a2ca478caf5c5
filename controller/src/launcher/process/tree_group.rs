//! A runner's processes where there is no `/proc`: its process group. A process that left the group and outlives its
//! runner is not found, a limit of local mode on macOS.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use session::RunnerId;

use super::Living;
use super::handle::Handle;

/// Between two looks at processes that were killed.
const PAUSE: Duration = Duration::from_millis(5);

/// The processes of one runner.
pub(super) struct Tree(Option<Handle>);

impl Tree {
    /// Of a runner that this process started.
    pub fn own(_runner: RunnerId, _workspace: PathBuf, root: Handle, _living: Living) -> Self {
        Self(Some(root))
    }

    /// Of a runner that an earlier process started. Its id may be another's by now, and its lifeline is closed.
    pub fn left_over(_runner: RunnerId, _workspace: PathBuf, _root: Option<Handle>) -> Self {
        Self(None)
    }

    /// Kills all of it; blocks until nothing is left or `limit` is over, and answers how many processes are left.
    pub fn kill(&self, limit: Duration) -> usize {
        let Some(group) = self.0.as_ref().map(|root| Pid::from_raw(root.pid)) else { return 0 };
        let deadline = Instant::now() + limit;
        // The runner leads a group of its own from its first moments on; before that, it is alone.
        let _ = kill(group, Signal::SIGKILL);
        while killpg(group, Signal::SIGKILL).is_ok() {
            if Instant::now() >= deadline {
                return 1;
            }
            std::thread::sleep(PAUSE);
        }
        0
    }
}

/// The process that has this id now; the system does not tell when it started.
pub(super) fn handle_of(pid: i32) -> Handle {
    Handle { pid, start: 0, boot: String::new() }
}

/// Orphans go to init here.
pub(super) fn adopt_orphans() {}
