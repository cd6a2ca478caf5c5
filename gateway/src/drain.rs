//! Letting go of the open terminals when this gateway stops: each is told at a moment of its own, so that its clients
//! reach the other gateways one after the other rather than all at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The open terminals, and whether they are being let go of.
#[derive(Clone, Default)]
pub struct Drain {
    state: Arc<Mutex<State>>,
    finished: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Those that were not told yet.
    open: HashMap<u64, CancellationToken>,
    entered: u64,
    draining: bool,
}

/// One terminal's part in it, for as long as that is open.
pub struct Place {
    number: u64,
    told: CancellationToken,
    drain: Drain,
}

impl Place {
    /// Cancelled when this terminal has to go.
    pub fn told(&self) -> &CancellationToken {
        &self.told
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.drain.lock().open.remove(&self.number);
    }
}

impl Drain {
    /// A terminal is opened. One that was admitted just before draining began has to go at once.
    pub fn enter(&self) -> Place {
        let mut state = self.lock();
        state.entered += 1;
        let (number, told) = (state.entered, CancellationToken::new());
        if state.draining {
            told.cancel();
        } else {
            state.open.insert(number, told.clone());
        }
        drop(state);
        Place { number, told, drain: self.clone() }
    }

    /// Cancelled once every terminal has been told.
    pub fn finished(&self) -> CancellationToken {
        self.finished.clone()
    }

    /// Tells all, one in each of as many equal parts of `spread` as there are terminals, somewhere within its part.
    /// What those leave who go by themselves falls to the others.
    pub async fn run(&self, spread: Duration) {
        let order: Vec<u64> = {
            let mut state = self.lock();
            state.draining = true;
            // A map's order has nothing to do with who came first.
            state.open.keys().copied().collect()
        };
        tracing::info!(terminals = order.len(), secs = spread.as_secs_f64(), "draining");
        let mut part_begins = Instant::now();
        let end = part_begins + spread;
        for number in order {
            let Some(left) = self.left_with(number) else { continue };
            let part = end.saturating_duration_since(part_begins) / left;
            // Even a wait that is over takes a millisecond of the clock, which thousands of terminals would feel.
            if !part.is_zero() {
                sleep_until(part_begins + part.mul_f64(fraction())).await;
                part_begins += part;
            }
            if let Some(told) = self.lock().open.remove(&number) {
                told.cancel();
            }
        }
        self.finished.cancel();
    }

    /// How many are still to be told, if this one is among them.
    fn left_with(&self, number: u64) -> Option<u32> {
        let state = self.lock();
        state.open.contains_key(&number).then(|| u32::try_from(state.open.len()).unwrap_or(u32::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 0 up to 1. Without random bits the middle does: the parts themselves are spread.
fn fraction() -> f64 {
    let mut bits = [0; 4];
    match aws_lc_rs::rand::fill(&mut bits) {
        Ok(()) => f64::from(u32::from_le_bytes(bits)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Duration = Duration::from_secs(10);

    /// When each of these was told, counted from now.
    async fn moments(places: &[Place]) -> Vec<Duration> {
        let began = Instant::now();
        let waits = places.iter().map(|place| {
            let told = place.told().clone();
            tokio::spawn(async move {
                told.cancelled().await;
                began.elapsed()
            })
        });
        let waits: Vec<_> = waits.collect();
        let mut moments = Vec::new();
        for wait in waits {
            moments.push(wait.await.unwrap());
        }
        moments.sort();
        moments
    }

    fn start(drain: &Drain, spread: Duration) {
        let drain = drain.clone();
        tokio::spawn(async move { drain.run(spread).await });
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_of_the_time_has_one_terminal() {
        let drain = Drain::default();
        let places: Vec<Place> = (0..100).map(|_| drain.enter()).collect();
        start(&drain, SPREAD);
        let moments = moments(&places).await;
        let part = SPREAD / 100;
        for (index, moment) in moments.iter().enumerate() {
            let begins = part * u32::try_from(index).unwrap();
            // The clock of tokio has milliseconds.
            let late = Duration::from_millis(2);
            assert!(*moment + late >= begins && *moment <= begins + part + late, "{index}: {moment:?}");
        }
        // Not at the same place of each part, or all gateways of a rollout would beat in time.
        let within: Vec<u128> = moments.iter().map(|moment| moment.as_millis() % part.as_millis()).collect();
        assert!(within.iter().any(|at| at.abs_diff(within[0]) > 20), "{within:?}");
        drain.finished().cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_those_who_leave_falls_to_the_others() {
        let drain = Drain::default();
        let mut places: Vec<Place> = (0..100).map(|_| drain.enter()).collect();
        start(&drain, SPREAD);
        tokio::time::sleep(SPREAD / 2).await;
        places.retain(|place| !place.told().is_cancelled());
        places.truncate(2);
        let moments = moments(&places).await;
        // Each has half of the half that is left, but for the part under way.
        assert!(moments[0] <= SPREAD / 4 + SPREAD / 50, "{moments:?}");
        assert!(moments[1] >= SPREAD / 4 && moments[1] <= SPREAD / 2 + SPREAD / 50, "{moments:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_it_drains_goes_at_once_and_nobody_means_no_wait() {
        let drain = Drain::default();
        let began = Instant::now();
        drain.run(SPREAD).await;
        assert!(drain.enter().told().is_cancelled());
        assert_eq!(began.elapsed(), Duration::ZERO);
        drain.finished().cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_spread_all_go_at_once() {
        let drain = Drain::default();
        let places: Vec<Place> = (0..100).map(|_| drain.enter()).collect();
        let began = Instant::now();
        drain.run(Duration::ZERO).await;
        assert!(places.iter().all(|place| place.told().is_cancelled()));
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    }
}
