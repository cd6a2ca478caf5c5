//! Standbys that no controller made: rows, for tests that play the runner themselves.

use std::time::Duration;

use session::DEFAULT_TEMPLATE;
use store::{NewRunner, PoolTarget, Store, Time};

/// What the pool of sessions without a template of their own is for such tests: as large as they like.
pub fn target() -> PoolTarget {
    let text = || "of a test".to_owned();
    PoolTarget {
        name: DEFAULT_TEMPLATE.to_owned(),
        template: text(),
        revision: text(),
        min: 1000,
        max: 1000,
        burst: 1000,
        max_idle: Duration::from_secs(3600),
    }
}

/// Adds a standby to that pool; it is idle once it has called home.
pub async fn add(store: &dyn Store, new: NewRunner) {
    store.adopt_pool(target(), Time::now()).await.expect("a database");
    let refill = store.refill_pool(target(), vec![new], Time::now()).await.expect("a database");
    assert_eq!(refill.added, 1, "{refill:?}");
}
