//! Where recordings are kept, how much of each and how long.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use service::Settings;
use url::Url;

use super::storage;

/// Between two looks at everything that is kept.
const SWEEP_EVERY: Duration = Duration::from_secs(15 * 60);

/// The flags, as text.
#[derive(Debug, Clone, Args)]
pub struct RecordingFlags {
    /// Where sessions' recordings are kept: file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// az://CONTAINER/PREFIX; empty: nowhere, nothing is recorded [default: a folder in the data directory, where there is
    /// one]
    #[arg(long, env = "CLISCALE_RECORDINGS", value_name = "URL")]
    recordings: Option<String>,
    /// The most bytes that are kept of one session's recording
    #[arg(long, env = "CLISCALE_RECORDING_MAX_BYTES", value_name = "BYTES", default_value = "67108864")]
    recording_max_bytes: String,
    /// Hours that recordings are kept
    #[arg(long, env = "CLISCALE_KEEP_RECORDINGS_HOURS", value_name = "HOURS", default_value = "168")]
    keep_recordings_hours: String,
}

/// The settings, read.
#[derive(Debug, Clone)]
pub struct RecordingSettings {
    pub url: Url,
    /// Of one session.
    pub max_bytes: u64,
    pub keep: Duration,
    pub sweep_every: Duration,
    /// What the environment would say as AWS_..., GOOGLE_... or AZURE_...: for servers that share one.
    pub options: Vec<(String, String)>,
}

impl RecordingSettings {
    /// The defaults, at `url`.
    pub fn at(url: Url) -> Self {
        let (max_bytes, keep) = (64 << 20, Duration::from_secs(168 * 3600));
        Self { url, max_bytes, keep, sweep_every: SWEEP_EVERY, options: Vec::new() }
    }

    /// The defaults of a server with a data directory.
    pub fn in_data_dir(data_dir: &Path) -> Option<Self> {
        let folder = std::path::absolute(data_dir).ok()?.join("recordings");
        Url::from_directory_path(folder).ok().map(Self::at)
    }

    /// With `keep` no longer than `sessions`: a recording without its session could not be asked for.
    pub fn within(self, sessions: Duration) -> Self {
        Self { keep: self.keep.min(sessions), ..self }
    }
}

impl RecordingFlags {
    /// `Some(None)`: nothing is recorded. `None`: noted in `settings`. `default`: where nothing is said.
    pub fn read(
        &self,
        settings: &mut Settings,
        default: Option<RecordingSettings>,
    ) -> Option<Option<RecordingSettings>> {
        // Less than some chunks would be nothing but refusals.
        let max_bytes = settings.read_range("--recording-max-bytes", &self.recording_max_bytes, 1 << 20, 1 << 40);
        let hours = settings.read_range("--keep-recordings-hours", &self.keep_recordings_hours, 1, 24 * 3650);
        let url = match self.recordings.as_deref().map(str::trim) {
            None => default.map(|default| default.url),
            Some("") => None,
            Some(text) => match storage::check_url(text) {
                Ok(url) => Some(url),
                Err(error) => {
                    settings.refuse("--recordings", error);
                    return None;
                }
            },
        };
        let (max_bytes, keep) = (max_bytes?, Duration::from_secs(hours? * 3600));
        Some(url.map(|url| RecordingSettings { max_bytes, keep, ..RecordingSettings::at(url) }))
    }
}
