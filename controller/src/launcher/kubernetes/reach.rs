//! Whether the API server answers. While it does not, one probe asks for it and everything else waits, so that its
//! return brings no storm.

use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::launcher::Unavailable;

/// What callers are told to wait; the probe finds out sooner.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Everything that waited for the API server starts again within this, each at a moment of its own.
const RETURN_SPREAD: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Reach {
    away: watch::Sender<bool>,
}

impl Default for Reach {
    fn default() -> Self {
        Self { away: watch::Sender::new(false) }
    }
}

impl Reach {
    pub fn available(&self) -> Result<(), Unavailable> {
        if !*self.away.borrow() {
            return Ok(());
        }
        Err(Unavailable { reason: "the Kubernetes API server is away", retry_after: RETRY_AFTER })
    }

    /// A call failed for its sake.
    pub fn failed(&self, why: &str) {
        if !self.away.send_replace(true) {
            tracing::warn!(error = why, "the Kubernetes API server is away");
        }
    }

    /// It answered.
    pub fn answered(&self) {
        let came_back = self.away.send_if_modified(std::mem::take);
        if came_back {
            tracing::info!("the Kubernetes API server is back");
        }
    }

    /// Returns once it is not away, and then not at the same moment as everybody else.
    pub async fn wait_for_it(&self) {
        let mut away = self.away.subscribe();
        if !*away.borrow_and_update() {
            return;
        }
        // The sender is this object's own: it cannot be gone.
        let _ = away.wait_for(|away| !away).await;
        tokio::time::sleep(jittered(RETURN_SPREAD, 0.0, 1.0)).await;
    }

    /// Returns once it is away.
    pub async fn wait_for_loss(&self) {
        let _ = self.away.subscribe().wait_for(|away| *away).await;
    }
}

/// `whole` times a factor between `least` and `most`.
pub(super) fn jittered(whole: Duration, least: f64, most: f64) -> Duration {
    // The low bits of a random UUID (RFC 9562): all that is asked of them is that controllers differ.
    let drawn = (Uuid::new_v4().as_u128() & 0xffff) as f64 / f64::from(0xffff);
    whole.mul_f64(least + (most - least) * drawn)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_with_the_first_answer_each_at_its_own_moment() {
        let reach = Arc::new(Reach::default());
        reach.wait_for_it().await;
        reach.failed("refused");
        assert_eq!(reach.available().unwrap_err().retry_after, RETRY_AFTER);
        reach.wait_for_loss().await;
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let reach = Arc::clone(&reach);
                tokio::spawn(async move {
                    reach.wait_for_it().await;
                    tokio::time::Instant::now()
                })
            })
            .collect();
        tokio::task::yield_now().await;
        reach.answered();
        assert!(reach.available().is_ok());
        let mut moments = std::collections::HashSet::new();
        for waiter in waiting {
            moments.insert(waiter.await.unwrap());
        }
        assert!(moments.len() > 1, "all of them at once");
    }
}
