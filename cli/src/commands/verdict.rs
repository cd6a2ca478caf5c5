//! What a session's end means to whoever waits for it: a line, where there is something to say, and an exit code.

use session::{EndReason, Ended};

use super::FAILED;

/// As `timeout` reports that time was over.
pub const OUT_OF_TIME: u8 = 124;

/// The exit code of `run` and `attach`. The command's own where it ended by itself; what was done to it otherwise.
pub fn exit_code(ended: &Ended) -> u8 {
    let own = ended.exit_code.and_then(|code| u8::try_from(code).ok());
    // Whatever a program made of being ended, it did not finish what it was asked for.
    let failure = own.filter(|&code| code != 0);
    match ended.reason {
        EndReason::Exited => own.unwrap_or(FAILED),
        EndReason::TimedOut | EndReason::Idle => OUT_OF_TIME,
        EndReason::OomKilled => failure.unwrap_or(128 + 9),
        EndReason::Cancelled => failure.unwrap_or(FAILED),
        EndReason::FetchFailed
        | EndReason::InstallFailed
        | EndReason::StartFailed
        | EndReason::RunnerLost
        | EndReason::NodeLost
        | EndReason::Evicted => FAILED,
    }
}

/// What to say about it. Nothing about a command that ended by itself: its exit code says it.
pub fn line(ended: &Ended) -> Option<String> {
    let what = match ended.reason {
        EndReason::Exited => {
            let signal = ended.signal.as_ref()?;
            return Some(format!("the command was ended by {signal}"));
        }
        EndReason::TimedOut => "the session's time was over",
        EndReason::Idle => "the session was idle for too long",
        EndReason::Cancelled => "the session was ended",
        EndReason::OomKilled => "the command was killed for want of memory",
        EndReason::Evicted => "the session's node had no room for it any more",
        EndReason::NodeLost => "the session's node was lost",
        EndReason::FetchFailed => "the code could not be fetched",
        EndReason::InstallFailed => "the install command failed",
        EndReason::StartFailed => "the command could not be started",
        EndReason::RunnerLost => "the session's runner was lost",
    };
    let code = match (ended.reason, ended.exit_code) {
        (EndReason::InstallFailed, Some(code)) => format!(" with exit code {code}"),
        _ => String::new(),
    };
    let why = ended.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    Some(format!("{what}{code}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(reason: EndReason, exit_code: Option<i32>) -> Ended {
        Ended { reason, exit_code, signal: None, message: Some("because".into()) }
    }

    #[test]
    fn the_command_s_own_code_is_passed_on_and_nothing_is_said() {
        assert_eq!(exit_code(&ended(EndReason::Exited, Some(7))), 7);
        assert_eq!(line(&ended(EndReason::Exited, Some(7))), None);
        assert_eq!(exit_code(&ended(EndReason::Exited, Some(137))), 137);
    }

    #[test]
    fn a_command_that_never_ran_is_never_taken_for_a_success() {
        for &reason in EndReason::ALL.iter().filter(|&&reason| reason != EndReason::Exited) {
            assert_ne!(exit_code(&ended(reason, Some(0))), 0, "{reason}");
            assert_ne!(exit_code(&ended(reason, None)), 0, "{reason}");
            assert!(line(&ended(reason, None)).unwrap().ends_with(": because"), "{reason}");
        }
        assert_eq!(
            line(&ended(EndReason::InstallFailed, Some(3))).unwrap(),
            "the install command failed with exit code 3: because"
        );
    }
}
