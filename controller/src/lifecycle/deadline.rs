//! A deadline that was moved: the runner, whose own timer comes first, is told of it. The database has it already, and the
//! reconciler goes by that; a runner that nobody reached is told again at each of its heartbeats.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use session::SessionId;
use session::frames::Wire;
use session::runner_api::MoveDeadline;
use store::{SessionRecord, Time};

use super::Lifecycle;
use super::client::CallError;

/// From the first attempt to the last.
const TELL_FOR: Duration = Duration::from_secs(30);

/// Milliseconds from now until then, 0 where it is over.
pub(super) fn millis_until(then: Time) -> u64 {
    u64::try_from(then.duration_since(Time::now()).as_millis()).unwrap_or(0)
}

/// Why the runner has not moved its timer.
enum Untold {
    Store(store::StoreError),
    Runner(CallError),
}

impl Lifecycle {
    /// Has the session's runner move its timer to where the database has it. Returns at once.
    pub fn tell_deadline(self: &Arc<Self>, session: SessionId) {
        let lifecycle = Arc::clone(self);
        self.spawn(async move {
            let pauses = ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(Duration::from_secs(2))
                .without_max_times()
                .with_total_delay(Some(TELL_FOR))
                .with_jitter();
            match (|| lifecycle.move_deadline(session)).retry(pauses).await {
                Ok(()) => {}
                Err(Untold::Store(error)) => tracing::warn!(%session, %error, "no runner was told of a new deadline"),
                Err(Untold::Runner(error)) => {
                    tracing::warn!(%session, %error, "a runner could not be told of its new deadline");
                }
            }
        });
    }

    /// The same where a runner that lives may not have been told.
    pub(super) fn repeat_deadline(self: &Arc<Self>, session: &SessionRecord) {
        let asked_for = session.created_at.saturating_add(Duration::from_secs(session.spec.ttl_secs));
        if session.ended.is_none() && asked_for.is_ok_and(|first| session.expires_at > first) {
            self.tell_deadline(session.id);
        }
    }

    async fn move_deadline(&self, id: SessionId) -> Result<(), Untold> {
        let Some(session) = self.store.session(id).await.map_err(Untold::Store)? else { return Ok(()) };
        let Some(runner) = session.runner.filter(|_| session.ended.is_none() && session.wire == Wire::TtyR1) else {
            return Ok(());
        };
        // One that has not called home is assigned with the deadline that holds then.
        let Some(ready) = self.store.ready_runner(runner).await.map_err(Untold::Store)? else { return Ok(()) };
        let moved = MoveDeadline {
            session: id,
            epoch: session.epoch,
            deadline_ms: millis_until(session.expires_at),
            max_deadline_ms: millis_until(session.max_expires_at()),
        };
        self.client.move_deadline(&ready.address, &ready.secret, &moved).await.map_err(Untold::Runner)
    }
}
