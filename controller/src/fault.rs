//! Places where a test may kill this process: `CLISCALE_FAULT=NAME` ends it with SIGKILL when it comes to the place of
//! that name, and `NAME:N` when it comes there for the Nth time. Compiled in with the feature `fault-points` alone.

/// The steps of a session's start, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The session is committed; nobody was told.
    Committed,
    /// The 201 is about to be sent, and the launch about to begin.
    BeforeLaunch,
    /// The runner was made; nobody noted it.
    Launched,
    /// The runner's handle is in the database.
    HandleStored,
    /// The call home is committed; the runner has no answer yet.
    CalledHome,
    /// The assignment was read and is about to be sent.
    BeforeAssign,
    /// The runner has taken the assignment; nothing of that was noted.
    Assigned,
    /// A runner's report of a stage is committed, and has no answer yet.
    StageStored,
    /// The session's end is committed; its runner was not told.
    Ended,
    /// A recording's chunks are one object; they are still there, too. No step of a start.
    RecordingJoined,
}

impl Point {
    /// Those of a session's start and end.
    pub const ALL: [Point; 9] = [
        Self::Committed,
        Self::BeforeLaunch,
        Self::Launched,
        Self::HandleStored,
        Self::CalledHome,
        Self::BeforeAssign,
        Self::Assigned,
        Self::StageStored,
        Self::Ended,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::BeforeLaunch => "before-launch",
            Self::Launched => "launched",
            Self::HandleStored => "handle-stored",
            Self::CalledHome => "called-home",
            Self::BeforeAssign => "before-assign",
            Self::Assigned => "assigned",
            Self::StageStored => "stage-stored",
            Self::Ended => "ended",
            Self::RecordingJoined => "recording-joined",
        }
    }
}

/// Comes to a place.
#[cfg(not(feature = "fault-points"))]
pub fn pass(_point: Point) {}

/// Comes to a place.
#[cfg(feature = "fault-points")]
pub fn pass(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The place to die at, and how many times it may still be passed.
    static FAULT: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    tracing::trace!(point = point.as_str(), "passed");
    let fault = FAULT.get_or_init(|| {
        let wanted = std::env::var("CLISCALE_FAULT").ok()?;
        let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        let count = count.parse::<u64>().ok().filter(|count| *count > 0)?;
        Some((name.to_owned(), AtomicU64::new(count - 1)))
    });
    let Some((name, left)) = fault else { return };
    if name != point.as_str() {
        return;
    }
    if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
        // Nothing of this process gets to run after this.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
