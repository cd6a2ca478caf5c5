//! What is counted of recordings.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use service::metrics::Metrics;

use super::failure::Kind;

/// A label and its value, which is a word of a closed set.
type Label = [(&'static str, &'static str); 1];

pub struct RecordingMetrics {
    pub chunks: Counter,
    pub bytes: Counter,
    pub full: Counter,
    pub joined: Counter,
    pub swept: Counter,
    failures: Family<Label, Counter>,
}

impl RecordingMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            chunks: metrics.register("recording_chunks", "Chunks of recordings stored", Counter::default()),
            bytes: metrics.register("recording_bytes", "Bytes of recordings stored", Counter::default()),
            full: metrics.register("recordings_full", "Chunks refused at a recording's limit", Counter::default()),
            joined: metrics.register("recordings_joined", "Recordings made one object", Counter::default()),
            swept: metrics.register("recordings_swept", "Recordings deleted for their age", Counter::default()),
            failures: metrics.register(
                "recording_failures",
                "Failures of what recordings are kept in, by kind",
                Family::default(),
            ),
        };
        // Every kind is there from the start, so that a first occurrence is an increase.
        for kind in Kind::ALL {
            let _ = this.failures.get_or_create(&[("kind", kind.as_str())]);
        }
        this
    }

    pub fn note_failure(&self, kind: Kind) {
        self.failures.get_or_create(&[("kind", kind.as_str())]).inc();
    }
}
