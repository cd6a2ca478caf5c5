//! What starts runners and ends them. A launcher knows processes or Jobs, never sessions: it makes a blank runner, says
//! which exist, and destroys one with everything that it started.

mod fixed;
pub mod process;

use std::path::PathBuf;

use async_trait::async_trait;
use session::frames::Wire;
use session::{RunnerId, Secret};
use tokio::sync::broadcast;
use url::Url;

pub use fixed::StaticLauncher;
pub use process::{ProcessLauncher, ProcessLauncherConfig};

/// The kinds of launchers, as settings and the start-up lines spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LauncherKind {
    /// Nothing is launched: every session is given a server at a fixed address.
    Static,
    /// Runners are processes on this machine, without isolation from the user who started them.
    Process,
}

impl LauncherKind {
    pub const ALL: [LauncherKind; 2] = [Self::Static, Self::Process];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Process => "process",
        }
    }
}

/// A runner to be made.
#[derive(Debug, Clone)]
pub struct Launch {
    pub runner: RunnerId,
    /// What it proves itself with when it calls home. Reaches it on a private way: never by argument or environment.
    pub boot_token: Secret,
    /// Where it calls home.
    pub internal_url: Url,
}

/// Why a launcher could not do what it was asked. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("the runner program {0} does not exist")]
    NoProgram(PathBuf),
    #[error("the runner could not be started: {0}")]
    Start(#[source] std::io::Error),
    #[error("{path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("this launcher launches nothing")]
    Unsupported,
    #[error("{0} processes could not be ended")]
    LeftOver(usize),
}

impl LaunchError {
    /// What the session's owner may read.
    pub fn caller_message(&self) -> &'static str {
        match self {
            Self::NoProgram(_) => "the runner program is missing on the server",
            _ => "the runner could not be started; the server's log has the reason",
        }
    }
}

/// Makes and ends runners. Every controller that shares a database must see the same runners through its launcher.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    fn kind(&self) -> LauncherKind;

    /// What its runners speak.
    fn wire(&self) -> Wire {
        Wire::TtyR1
    }

    /// Where every session's terminal is, `HOST:PORT`; only a static launcher knows beforehand.
    fn fixed_address(&self) -> Option<&str> {
        None
    }

    /// Makes a blank runner, and answers its handle: the launcher's own note by which it finds it again.
    async fn launch(&self, request: Launch) -> Result<String, LaunchError>;

    /// The runners that exist now: every one whose launch has been answered and whose end has not been seen.
    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError>;

    /// Ends a runner with all that it started, and removes what was its own. Again and again without harm.
    async fn destroy(&self, runner: RunnerId, handle: Option<&str>) -> Result<(), LaunchError>;

    /// Ends what an earlier life of this launcher left behind. Called once, before anything is launched, and only
    /// where nobody else uses the same launcher.
    async fn sweep(&self) -> Result<(), LaunchError> {
        Ok(())
    }

    /// Hears of runners as they end, where the launcher notices; the reconciler finds them all in any case.
    fn exits(&self) -> Option<broadcast::Receiver<RunnerId>> {
        None
    }

    /// The folder that a runner works in, where that is on this machine and still there.
    fn workspace(&self, _runner: RunnerId) -> Option<PathBuf> {
        None
    }
}
