//! The places where a controller may be killed are passed in their order by one start. Only with the feature
//! `fault-points`, which builds of the whole workspace have.
#![cfg(feature = "fault-points")]

mod lifecycle_world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use controller::fault::Point;
use lifecycle_world::World;
use session::{EndReason, Ended};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Collects the names of the places that are passed.
#[derive(Clone, Default)]
struct Passed(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Passed {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Name<'a>(&'a Passed);
        impl Visit for Name<'_> {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "point" {
                    self.0.0.lock().unwrap().push(value.to_owned());
                }
            }
            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        if event.metadata().target() == "controller::fault" {
            event.record(&mut Name(self));
        }
    }
}

// One thread, so that everything is told to this test's own collector.
#[tokio::test]
async fn one_start_and_end_pass_every_place_in_its_order() {
    let passed = Passed::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(passed.clone()));
    // A reconciler that looks between an assignment and the runner's first report assigns again, as it must.
    let world = World::with([], |config| config.timing.reconcile_every = Duration::from_secs(60)).await;
    let session = world.create().await;
    world.assigned(session.id).await;
    world.lifecycle.end(session.id, Ended::because(EndReason::Cancelled, "enough")).await.unwrap();
    // The API's own place is before all of these.
    let expected: Vec<_> = Point::ALL[1..].iter().map(|point| point.as_str()).collect();
    let mut seen = passed.0.lock().unwrap().clone();
    // The runner calls home while its handle is being stored, so those two may change places.
    let (stored, called) = (Point::HandleStored.as_str(), Point::CalledHome.as_str());
    let place = |name: &str| seen.iter().position(|point| point == name).unwrap();
    if place(called) < place(stored) {
        let (one, other) = (place(called), place(stored));
        let moved = seen.remove(other);
        seen.insert(one, moved);
    }
    assert_eq!(seen, expected);
}
