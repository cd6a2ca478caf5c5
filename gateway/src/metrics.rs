//! What the gateway counts. Every label is one of a closed set.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use service::metrics::Metrics;
use session::ProblemType;

use crate::admission::Entry;
use crate::files::Transfer;

/// One label, whose values are named in this file or are problem types.
type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

/// From milliseconds (a claimed standby) to minutes (a node that has to be made first).
const WAITING_BUCKETS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// Who or what ended a connection that had been admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The client closed, or went away in good order.
    ClientClosed,
    /// Reading from or writing to the client failed.
    ClientError,
    /// The client sent what no client may, or too much before the terminal was there.
    ClientRefused,
    /// The runner closed the WebSocket: its last word arrived whole.
    RunnerClosed,
    /// The runner was gone without a word.
    RunnerError,
    /// No runner could be reached in time.
    RunnerUnreachable,
    /// The session was over before a terminal was there, or its runner with it.
    SessionEnded,
    /// This gateway stops.
    Drained,
}

impl EndedBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ClientError => "client_error",
            Self::ClientRefused => "client_refused",
            Self::RunnerClosed => "runner_closed",
            Self::RunnerError => "runner_error",
            Self::RunnerUnreachable => "runner_unreachable",
            Self::SessionEnded => "session_ended",
            Self::Drained => "drained",
        }
    }
}

#[derive(Clone)]
pub struct GatewayMetrics {
    open: Gauge,
    admissions: Labelled,
    ends: Labelled,
    waiting: Histogram,
    shares: Labelled,
    transfers: Labelled,
    pub traffic: Traffic,
}

/// Bytes of bridged connections, frame headers included.
#[derive(Clone, Default)]
pub struct Traffic {
    pub to_client: Counter,
    pub to_runner: Counter,
}

impl GatewayMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let traffic = Traffic {
            to_client: metrics.register("gateway_to_client_bytes", "Bytes copied to clients", Counter::default()),
            to_runner: metrics.register("gateway_to_runner_bytes", "Bytes copied to runners", Counter::default()),
        };
        let waiting = Histogram::new(WAITING_BUCKETS);
        Self {
            open: metrics.register("gateway_connections", "Terminal connections open now", Gauge::default()),
            admissions: metrics.register(
                "gateway_admissions",
                "Upgrades by outcome: admitted, or why not",
                Labelled::default(),
            ),
            ends: metrics.register(
                "gateway_connection_ends",
                "Ended connections by what ended them",
                Labelled::default(),
            ),
            shares: metrics.register(
                "gateway_shares",
                "Requests for read-only links by outcome: shared, or why not",
                Labelled::default(),
            ),
            transfers: metrics.register(
                "gateway_transfers",
                "Requests for files by outcome: download, upload, archive, recording or log, or why not",
                Labelled::default(),
            ),
            waiting: metrics.register("gateway_waiting_seconds", "From an admission to the bridge", waiting),
            traffic,
        }
    }

    pub fn admitted(&self, entry: Entry) {
        let outcome = match entry {
            Entry::Token => "admitted_token",
            Entry::Ticket => "admitted_ticket",
        };
        self.admissions.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub fn refused(&self, kind: ProblemType) {
        self.admissions.get_or_create(&[("outcome", kind.as_str())]).inc();
    }

    /// `None`: a link was handed out.
    pub fn shared(&self, refused: Option<ProblemType>) {
        let outcome = refused.map_or("shared", ProblemType::as_str);
        self.shares.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Begun; or why it was refused.
    pub fn transferred(&self, transfer: Transfer, refused: Option<ProblemType>) {
        let outcome = refused.map_or(transfer.as_str(), ProblemType::as_str);
        self.transfers.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub fn ended(&self, by: EndedBy) {
        self.ends.get_or_create(&[("by", by.as_str())]).inc();
    }

    pub fn waited(&self, time: Duration) {
        self.waiting.observe(time.as_secs_f64());
    }

    /// Counts a connection for as long as the answer lives.
    pub fn open_connection(&self) -> OpenConnection {
        self.open.inc();
        OpenConnection(self.open.clone())
    }
}

pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
