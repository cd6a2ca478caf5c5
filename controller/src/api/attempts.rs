//! The rough limit in front of creations: it keeps a flood away from the database. The exact limit, the same for all
//! replicas, is kept by the creating transaction; a repeat with the same `Idempotency-Key` is no creation and a body
//! that is refused is none either, so attempts may be a multiple of creations. A limit above [`EXACT_UP_TO`] is kept here
//! alone, by each replica for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use service::Problem;
use session::ProblemType;
use store::{ApiKey, Rate};
use tokio_util::sync::CancellationToken;

use super::ControllerConfig;

/// Attempts per permitted creation, where creations are counted as well.
const ATTEMPTS_PER_CREATION: u32 = 8;
/// Creations a minute: more than controllers make, so that above it there is as good as no limit. Counting has creations wait
/// for each other, and costs each the more the more there were.
const EXACT_UP_TO: u32 = 60_000;
/// How often whoever has been quiet is forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(30);
/// The most callers that one table holds. Only holders of a key get as far as this table, so it is reached by nobody
/// in good faith; beyond it the exact limit alone decides.
const MAX_CALLERS: usize = 65_536;

/// One table per rate. The rates are the settings' two and those of API keys, which are few.
#[derive(Clone, Default)]
pub struct Attempts(Arc<Mutex<HashMap<NonZeroU32, Arc<DefaultKeyedRateLimiter<String>>>>>);

impl Attempts {
    /// Counts an attempt, or refuses it.
    pub fn count(&self, rate: &Rate) -> Result<(), Problem> {
        let allowance = if counted(rate).is_some() { ATTEMPTS_PER_CREATION } else { 1 };
        let per_minute = NonZeroU32::new(rate.per_minute.saturating_mul(allowance)).unwrap_or(NonZeroU32::MIN);
        let table = Arc::clone(
            self.0
                .lock()
                .expect("attempts lock")
                .entry(per_minute)
                .or_insert_with(|| Arc::new(RateLimiter::keyed(Quota::per_minute(per_minute)))),
        );
        if table.len() >= MAX_CALLERS {
            table.retain_recent();
            if table.len() >= MAX_CALLERS {
                return Ok(());
            }
        }
        table.check_key(&rate.scope).map_err(|not_until| {
            let wait = not_until.wait_time_from(governor::clock::DefaultClock::default().now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            refusal(rate, &format!("more than {per_minute} attempts to create a session in a minute"), seconds)
        })
    }

    /// Forgets callers that have been quiet, until `stop`.
    pub async fn keep_bounded(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(FORGET_INTERVAL) => {}
                () = stop.cancelled() => return,
            }
            for table in self.0.lock().expect("attempts lock").values() {
                table.retain_recent();
                table.shrink_to_fit();
            }
        }
    }
}

/// The rate that a caller is held to: its key's own, or its address's.
pub fn rate_of(config: &ControllerConfig, key: &ApiKey, client: IpAddr) -> Rate {
    match key.creates_per_minute {
        Some(per_minute) => Rate { scope: format!("key:{}", key.id), per_minute },
        None => {
            let rate = if client.is_loopback() { config.loopback_create_rate } else { config.create_rate };
            Rate { scope: format!("client:{}", network_of(client)), per_minute: rate.0 }
        }
    }
}

/// The limit as the creating transaction keeps it, where it does.
pub fn counted(rate: &Rate) -> Option<Rate> {
    (rate.per_minute <= EXACT_UP_TO).then(|| rate.clone())
}

/// The 429, naming limit, scope and setting.
pub fn refusal(rate: &Rate, what: &str, retry_after_secs: u64) -> Problem {
    let (scope, setting) = match rate.scope.split_once(':') {
        Some(("key", id)) => (format!("API key {id}"), "the key's own rate"),
        Some((_, client)) => (format!("client {client}"), "--create-rate (CLISCALE_CREATE_RATE)"),
        None => (rate.scope.clone(), "--create-rate (CLISCALE_CREATE_RATE)"),
    };
    let detail = format!("{what}; the limit is {} creations a minute for {scope}, set by {setting}", rate.per_minute);
    Problem::new(ProblemType::RateLimited, detail).retry_after(retry_after_secs.max(1))
}

/// One IPv6 subscriber usually has a /64 (RFC 6177), so that is who is counted.
fn network_of(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) if address.is_loopback() => address.to_string(),
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            format!("{}/64", std::net::Ipv6Addr::from(segments))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6".parse().unwrap()), "2001:db8:1:2::/64");
        assert_eq!(network_of("192.0.2.7".parse().unwrap()), "192.0.2.7");
    }

    #[test]
    fn a_flood_of_attempts_is_refused_with_limit_scope_and_setting() {
        let attempts = Attempts::default();
        let rate = Rate { scope: "client:192.0.2.7".into(), per_minute: 2 };
        for _ in 0..16 {
            attempts.count(&rate).unwrap();
        }
        let problem = attempts.count(&rate).unwrap_err();
        assert_eq!(problem.kind, ProblemType::RateLimited);
        for part in ["16 attempts", "2 creations a minute", "client 192.0.2.7", "--create-rate (CLISCALE_CREATE_RATE)"]
        {
            assert!(problem.detail().contains(part), "{}", problem.detail());
        }
        attempts.count(&Rate { scope: "client:192.0.2.8".into(), per_minute: 2 }).unwrap();
    }

    #[test]
    fn a_limit_that_the_database_does_not_keep_is_kept_here() {
        let rate = |per_minute| Rate { scope: "key:of-a-busy-backend".into(), per_minute };
        assert_eq!(counted(&rate(EXACT_UP_TO)).map(|rate| rate.per_minute), Some(EXACT_UP_TO));
        let (attempts, rate) = (Attempts::default(), rate(EXACT_UP_TO + 1));
        assert!(counted(&rate).is_none());
        let taken = (0..).take_while(|_| attempts.count(&rate).is_ok()).count();
        // A thousand more come each second.
        assert!((60_001..90_000).contains(&taken), "{taken}");
    }
}
