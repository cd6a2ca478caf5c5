//! Which runner this controller is doing what to.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use session::RunnerId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    Launching,
    Assigning,
    /// Telling the launcher that a session has it.
    Marking,
    /// Concluding from its exit what became of its session.
    Concluding,
    /// Asking it whether it lives, since its machine does not answer.
    Asking,
    Destroying,
}

#[derive(Clone, Default)]
pub(super) struct Busy(Arc<Mutex<HashSet<(Work, RunnerId)>>>);

/// The work goes on until this is dropped.
pub(super) struct AtWork {
    busy: Busy,
    what: (Work, RunnerId),
}

impl Busy {
    /// `None` when it is being done already.
    pub fn begin(&self, work: Work, runner: RunnerId) -> Option<AtWork> {
        let what = (work, runner);
        self.lock().insert(what).then(|| AtWork { busy: self.clone(), what })
    }

    pub fn is(&self, work: Work, runner: RunnerId) -> bool {
        self.lock().contains(&(work, runner))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(Work, RunnerId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.what);
    }
}
