//! A session's life: its states, the stages that `starting` and `running` are told apart by, and why it ended.
//! Only the transitions listed here are legal; the store refuses every other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The text named no member of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} {text:?}")]
pub struct Unknown {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// A closed set of words, written the same in JSON, in the database and in metric labels.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::state::Unknown;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::state::Unknown { kind: $kind, text: text.to_owned() }),
                }
            }
        }
    };
}
pub(crate) use words;

words!(
    /// Where a session is. The order is the only way through: no state is entered twice.
    SessionState, "session state" {
        /// Accepted; its runner has not taken it yet.
        Pending = "pending",
        /// The runner fetches and installs.
        Starting = "starting",
        /// The command runs.
        Running = "running",
        /// Over, with an [`EndReason`].
        Ended = "ended",
    }
);

words!(
    /// What exactly happens inside a state.
    Stage, "stage" {
        /// Waiting for a runner.
        Queued = "queued",
        /// A runner has accepted the session. This release's runners fetch at once, and say so instead.
        Assigned = "assigned",
        /// The code is being fetched.
        Fetching = "fetching",
        /// The install command runs.
        Installing = "installing",
        /// The command runs.
        Running = "running",
        /// The session is over.
        Ended = "ended",
    }
);

words!(
    /// Why a session ended. The first reason that is recorded wins.
    EndReason, "end reason" {
        /// The command exited by itself, or by a signal that nobody here sent.
        Exited = "exited",
        /// Its `ttl_seconds` were over.
        TimedOut = "timed_out",
        /// No operator attached and no output for `idle_seconds`.
        Idle = "idle",
        /// Ended through the API.
        Cancelled = "cancelled",
        /// The kernel killed it for want of memory.
        OomKilled = "oom_killed",
        /// The node evicted its pod.
        Evicted = "evicted",
        /// Its node went away.
        NodeLost = "node_lost",
        /// The code could not be fetched.
        FetchFailed = "fetch_failed",
        /// The install command failed.
        InstallFailed = "install_failed",
        /// The runner or the command could not be started.
        StartFailed = "start_failed",
        /// The runner died or was lost.
        RunnerLost = "runner_lost",
    }
);

impl SessionState {
    /// Whether `next` may follow. Ending is legal from every state but `ended` itself.
    pub fn may_become(self, next: SessionState) -> bool {
        use SessionState::*;
        matches!(
            (self, next),
            (Pending, Starting) | (Pending, Running) | (Starting, Running) | (Pending | Starting | Running, Ended)
        )
    }

    pub fn is_ended(self) -> bool {
        self == SessionState::Ended
    }
}

impl Stage {
    /// The state that this stage belongs to.
    pub fn state(self) -> SessionState {
        match self {
            Stage::Queued => SessionState::Pending,
            Stage::Assigned | Stage::Fetching | Stage::Installing => SessionState::Starting,
            Stage::Running => SessionState::Running,
            Stage::Ended => SessionState::Ended,
        }
    }

    /// Whether a report of `next` is news after `self`. Stages only move forward, and may be skipped
    /// (an empty install command has no `installing`); a late or repeated report is not news.
    pub fn may_become(self, next: Stage) -> bool {
        self.rank() < next.rank()
    }

    fn rank(self) -> u8 {
        match self {
            Stage::Queued => 0,
            Stage::Assigned => 1,
            Stage::Fetching => 2,
            Stage::Installing => 3,
            Stage::Running => 4,
            Stage::Ended => 5,
        }
    }
}

/// How a session ended: the reason, and what the command's process said where there was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    pub reason: EndReason,
    /// The exit code of the command (of the install command for `install_failed`), 0 to 255;
    /// 128 + n when signal n ended it, as shells report it.
    pub exit_code: Option<i32>,
    /// The name of the signal that ended the process itself, such as `SIGKILL`.
    pub signal: Option<String>,
    /// One sentence for people, free of secrets.
    pub message: Option<String>,
}

impl Ended {
    pub fn because(reason: EndReason, message: impl Into<String>) -> Self {
        Self { reason, exit_code: None, signal: None, message: Some(message.into()) }
    }

    /// The exit code that a shell would report: the command's own, and 1 where there never was a command.
    pub fn shell_code(&self) -> i32 {
        self.exit_code.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_ended_and_nothing_goes_back() {
        for &from in SessionState::ALL {
            assert!(!from.may_become(from));
            assert!(!SessionState::Ended.may_become(from));
            assert_eq!(from.may_become(SessionState::Ended), from != SessionState::Ended);
            assert!(!from.may_become(SessionState::Pending));
        }
        assert!(!SessionState::Running.may_become(SessionState::Starting));
    }

    #[test]
    fn every_stage_change_is_a_legal_state_change_or_none() {
        for &a in Stage::ALL {
            for &b in Stage::ALL {
                if a.may_become(b) {
                    assert!(a.state() == b.state() || a.state().may_become(b.state()), "{a} -> {b}");
                }
            }
        }
    }

    #[test]
    fn words_are_the_same_in_json_and_text() {
        for &reason in EndReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(reason.as_str().parse::<EndReason>().unwrap(), reason);
        }
        assert!("finished".parse::<EndReason>().is_err());
    }
}
