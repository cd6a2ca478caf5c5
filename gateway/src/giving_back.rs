//! Giving memory back that terminals no longer need: what their handshakes took, and all of it once they have closed.
//!
//! The allocator (`main.rs`) keeps what was freed for a while, in case it is wanted again, and looks at what it keeps
//! only while it is being used. When the last of many terminals has come or gone nothing is allocated any more, and what
//! they needed would stay resident. So it is used a little once that while is over.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Longer than the allocator keeps pages that nothing is on (mimalloc's `purge_delay`: 1 s).
const KEPT_FOR: Duration = Duration::from_millis(1200);
/// It looks for such pages with every thousandth allocation above 1 KiB, and lets go of one when it has found it so
/// sixteen times. All of this takes less than a millisecond.
const LOOKS: usize = 17 * 1000;
const SMALL: usize = 2 << 10;
/// Has pages to itself, so that its end is theirs, with which what was let go of goes to the system. It is never written
/// to, and costs no memory.
const LARGE: usize = 4 << 20;

/// Told whenever a terminal has freed something.
#[derive(Clone, Default)]
pub struct GivingBack(Arc<Notify>);

impl GivingBack {
    pub fn freed(&self) {
        self.0.notify_one();
    }

    /// Once for all that is freed within the time that it is kept for.
    pub async fn run(self, stop: CancellationToken) {
        let give_back = async {
            loop {
                self.0.notified().await;
                sleep(KEPT_FOR).await;
                for size in std::iter::repeat_n(SMALL, LOOKS).chain([LARGE]) {
                    drop(black_box(Vec::<u8>::with_capacity(size)));
                }
            }
        };
        let _ = stop.run_until_cancelled(give_back).await;
    }
}
