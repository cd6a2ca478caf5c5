//! What a server in one process needs to know, and the defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use controller::recording::RecordingSettings;
use gateway::Origin;
use service::config::PerMinute;
use service::telemetry::LogFormat;
use session::SpecLimits;
use url::Url;

/// The default of `--max-sessions`.
pub const MAX_SESSIONS: u32 = 8;

/// The most of `--pool-min`: each is a process.
pub const MAX_STANDBYS: u32 = 64;

/// What serves the terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LauncherChoice {
    /// A runner process for each session, found beside this executable unless named.
    Process { runner_bin: Option<PathBuf> },
    /// One ttyd-compatible server for all, at `HOST:PORT`.
    Static { backend: String },
}

/// Everything that a server in one process needs to know.
#[derive(Debug, Clone)]
pub struct UpConfig {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub expose: bool,
    pub data_dir: PathBuf,
    /// Where workspaces are, if not in the data directory.
    pub work_dir: Option<PathBuf>,
    /// `None`: 60 a minute from loopback, 5 from elsewhere.
    pub create_rate: Option<PerMinute>,
    pub max_sessions: Option<u32>,
    pub allow_private_code_hosts: bool,
    pub limits: SpecLimits,
    pub public_url: Option<Url>,
    pub trusted_proxy_hops: u8,
    pub embed_origins: Vec<Origin>,
    pub launcher: LauncherChoice,
    pub linger: Duration,
    /// Runners that wait for the next sessions.
    pub pool_min: u32,
    pub keep_workspaces: bool,
    /// `None`: nothing is recorded.
    pub recordings: Option<RecordingSettings>,
    pub demo: bool,
}

impl UpConfig {
    /// The defaults on a free port of the loopback.
    pub fn local(data_dir: PathBuf) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: any_port,
            admin_listen: any_port,
            expose: false,
            recordings: RecordingSettings::in_data_dir(&data_dir),
            data_dir,
            work_dir: None,
            create_rate: None,
            max_sessions: Some(MAX_SESSIONS),
            allow_private_code_hosts: false,
            limits: SpecLimits { local: true, ..SpecLimits::default() },
            public_url: None,
            trusted_proxy_hops: 0,
            embed_origins: Vec::new(),
            launcher: LauncherChoice::Process { runner_bin: None },
            // A server for one session has nothing to get ready for.
            pool_min: 0,
            linger: Duration::from_secs(300),
            keep_workspaces: false,
            demo: false,
        }
    }
}

/// How to log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    pub format: LogFormat,
    pub filter: String,
}
