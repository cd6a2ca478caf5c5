//! What can go wrong with the store, as metrics and callers are told it.

use std::error::Error;
use std::io;
use std::sync::atomic::Ordering;

use service::Problem;
use session::ProblemType;

use super::Recordings;

/// What a caller is told to wait.
const RETRY_SECS: u64 = 2;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It let us do nothing.
    Denied,
    /// It has no room.
    Full,
    /// It was not there within the time.
    Away,
    /// Anything else.
    Other,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Denied, Self::Full, Self::Away, Self::Other];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Away => "away",
            Self::Other => "other",
        }
    }

    pub fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>()
                && let Some(kind) = Self::of_io(error)
            {
                return kind;
            }
            cause = error.source();
        }
        let text = error.to_string();
        // What S3 and its like say: 507, QuotaExceeded, XMinioStorageFull.
        if ["507", "Quota", "StorageFull", "Insufficient"].iter().any(|word| text.contains(word)) {
            return Self::Full;
        }
        match error {
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied,
            _ if ["error sending request", "timed out", "connect"].iter().any(|word| text.contains(word)) => Self::Away,
            _ => Self::Other,
        }
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        use io::ErrorKind::*;
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Some(Self::Full),
            PermissionDenied | ReadOnlyFilesystem => Some(Self::Denied),
            ConnectionRefused | ConnectionReset | ConnectionAborted | TimedOut | HostUnreachable
            | NetworkUnreachable => Some(Self::Away),
            _ => None,
        }
    }
}

pub fn is_missing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
}

/// For whoever wanted to read or to put something. The store's own words are for the log.
pub fn unavailable() -> Problem {
    Problem::new(ProblemType::Unavailable, "recordings cannot be reached at the moment").retry_after(RETRY_SECS)
}

impl Recordings {
    /// Counts a failure, and logs it where the store had worked before.
    pub(super) fn note_failure(&self, error: &object_store::Error, what: &'static str) {
        let kind = Kind::of(error);
        self.metrics.note_failure(kind);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, kind = kind.as_str(), "{what}; sessions go on");
        }
    }

    pub(super) fn note_hanging(&self) {
        self.metrics.note_failure(Kind::Away);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!("what recordings are kept in does not answer in time; sessions go on");
        }
    }

    pub(super) fn note_success(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("recordings are kept again");
        }
    }
}
