//! What starts runners and ends them. A launcher knows processes or Jobs, never sessions: it makes a blank runner, says
//! which exist, and destroys one with everything that it started.

mod fixed;
pub mod kubernetes;
pub mod process;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use session::frames::Wire;
use session::{EndReason, Ended, RunnerId, Secret, SessionId};
use tokio::sync::broadcast;
use url::Url;

pub use fixed::StaticLauncher;
pub use kubernetes::{KubernetesConfig, KubernetesLauncher};
pub use process::{ProcessLauncher, ProcessLauncherConfig};

/// Characters of an engine's refusal that a session's owner reads.
const MAX_REFUSAL: usize = 500;

/// The kinds of launchers, as settings and the start-up lines spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LauncherKind {
    /// Nothing is launched: every session is given a server at a fixed address.
    Static,
    /// Runners are processes on this machine, without isolation from the user who started them.
    Process,
    /// Each runner is a Job with one pod.
    Kubernetes,
}

impl LauncherKind {
    pub const ALL: [LauncherKind; 3] = [Self::Static, Self::Process, Self::Kubernetes];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Process => "process",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Whether what it knows of its runners comes by a watch, and so a moment after it is true.
    pub const fn watches(self) -> bool {
        matches!(self, Self::Kubernetes)
    }
}

/// A runner to be made.
#[derive(Debug, Clone)]
pub struct Launch {
    pub runner: RunnerId,
    /// What it proves itself with when it calls home: good once, from the runner's own address, until it has called.
    pub boot_token: Secret,
    /// Where it calls home.
    pub internal_url: Url,
    /// What it is made of: one of the templates that the launcher is set to.
    pub template: String,
    /// No session waits for it yet.
    pub standby: bool,
}

/// What a launcher knows of one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is known against it.
    Fine,
    /// Its machine does not answer. It may live on, so it must be asked itself.
    Doubtful,
    /// It has ended, or will never serve.
    Over(Verdict),
}

/// Why a runner is over, as its session's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub reason: EndReason,
    /// A sentence for the session's owner.
    pub message: String,
}

impl Verdict {
    pub fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub fn ended(&self) -> Ended {
        Ended::because(self.reason, self.message.clone())
    }
}

/// The launcher knows that it could not launch anything now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// For the caller: which part is away.
    pub reason: &'static str,
    pub retry_after: Duration,
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
    /// The engine is away or overloaded: the same request may work later.
    #[error("{0}")]
    Away(String),
    /// The engine refused, and will refuse again.
    #[error("{0}")]
    Refused(String),
}

impl LaunchError {
    /// What the session's owner may read.
    pub fn caller_message(&self) -> String {
        match self {
            Self::NoProgram(_) => "the runner program is missing on the server".to_owned(),
            Self::Away(_) => "the cluster that runs sessions did not answer".to_owned(),
            // The engine's own words name the limit or the rule. A blank runner holds nothing that they could give away.
            Self::Refused(why) => {
                let why: String = why.chars().take(MAX_REFUSAL).collect();
                format!("the cluster refused to start a runner: {why}")
            }
            _ => "the runner could not be started; the server's log has the reason".to_owned(),
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

    /// Whether it is worth trying to launch: asked before a session that needs a launch is created. Answers from what
    /// is known, without asking anybody.
    fn available(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    /// Makes a blank runner, and answers its handle: the launcher's own note by which it finds it again. Asked again for
    /// the same runner, it answers the same.
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

    /// Names runners whose [`Condition`] may have changed, where the launcher notices; the reconciler looks at all of
    /// them in any case.
    fn news(&self) -> Option<broadcast::Receiver<RunnerId>> {
        None
    }

    /// What is known of a runner that was launched, also for a while after it is gone.
    fn condition(&self, _runner: RunnerId) -> Condition {
        Condition::Fine
    }

    /// Whether a runner has this address, where the launcher can tell. Asked when a call home names an address that is
    /// not its connection's own, since some networks rewrite that one.
    fn has_address(&self, _runner: RunnerId, _address: IpAddr) -> bool {
        false
    }

    /// Names what runners of a template are made of: another text for what differs.
    fn template_digest(&self, _template: &str) -> String {
        String::new()
    }

    /// A standby is a session's now: what marks it as one that may be taken away is removed.
    async fn mark_claimed(&self, _runner: RunnerId, _session: SessionId) -> Result<(), LaunchError> {
        Ok(())
    }

    /// Whether a runner is still marked as a standby.
    fn is_marked_standby(&self, _runner: RunnerId) -> bool {
        false
    }

    /// The folder that a runner works in, where that is on this machine and still there.
    fn workspace(&self, _runner: RunnerId) -> Option<PathBuf> {
        None
    }
}
