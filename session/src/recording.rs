//! What a session's recording holds, and how its runner hands it to the controller as it comes into being. A recording is
//! an asciicast v3 file: a header line, then one line of JSON per event, each with the seconds since the one before it.

use serde::{Deserialize, Serialize};

use crate::ids::RunnerId;
use crate::state::words;

/// The media type of a recording.
pub const MEDIA_TYPE: &str = "application/x-asciicast";
/// Bytes of one chunk.
pub const MAX_CHUNK: usize = 256 * 1024;

words!(
    /// What is recorded of a session.
    Record, "record" {
        /// What the terminal shows.
        Output = "output",
        /// That, and what is typed: also what a program does not show, such as a password.
        Input = "input",
        /// Nothing.
        None = "none",
    }
);

impl Default for Record {
    /// Input is never recorded unless somebody asks for it.
    fn default() -> Self {
        Self::Output
    }
}

/// What a runner is to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingPolicy {
    /// What is typed is recorded, too.
    pub input: bool,
    /// The controller takes no more than this.
    pub max_bytes: u64,
}

/// One piece of a recording on its way to the controller. It keeps number, place and content until it was taken, so that
/// sending it again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The recorder's assignment.
    pub epoch: u64,
    /// 0, 1, 2...
    pub number: u64,
    /// Bytes of the recording before it.
    pub offset: u64,
    /// Nothing comes after it.
    pub last: bool,
}

impl Chunk {
    /// Where a runner puts it, on the controller's internal port.
    pub fn path(&self, runner: RunnerId) -> String {
        let Self { epoch, number, offset, last } = self;
        let last = if *last { "&last=true" } else { "" };
        format!("/internal/runners/{runner}/recording/{epoch}/{number}?offset={offset}{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_put_under_its_assignment_and_number() {
        let runner = RunnerId::new();
        let chunk = Chunk { epoch: 2, number: 7, offset: 1024, last: false };
        assert_eq!(chunk.path(runner), format!("/internal/runners/{runner}/recording/2/7?offset=1024"));
        assert!(Chunk { last: true, ..chunk }.path(runner).ends_with("/2/7?offset=1024&last=true"));
    }

    #[test]
    fn input_is_recorded_by_nobody_who_did_not_ask() {
        assert_eq!(Record::default(), Record::Output);
        assert_eq!(serde_json::to_string(&Record::Input).unwrap(), r#""input""#);
    }
}
