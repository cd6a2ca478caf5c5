//! When the session ends at the latest, as its viewers are told. It may be moved to later, never to earlier.

use std::time::{Duration, Instant};

use session::frames;

use super::Terminal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    pub at: Instant,
    /// The latest that it can be moved to.
    pub latest: Instant,
}

impl Deadline {
    /// `latest`: `None` where it cannot be moved.
    pub fn after(left: Duration, latest: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { at: now + left, latest: now + latest.unwrap_or(left).max(left) }
    }

    pub(super) fn frame(&self) -> frames::Deadline {
        let millis = |until: Instant| {
            u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
        };
        frames::Deadline { left_ms: millis(self.at), max_left_ms: millis(self.latest) }
    }
}

impl Terminal {
    /// `None` before it was given one.
    pub fn deadline(&self) -> Option<Deadline> {
        self.lock().deadline
    }

    /// Gives the session this deadline, unless it has a later one.
    pub fn move_deadline(&self, to: Deadline) {
        let mut state = self.lock();
        if state.deadline.is_none_or(|deadline| deadline.at < to.at) {
            state.deadline = Some(to);
            drop(state);
            self.changed.send_replace(());
        }
    }
}
