//! The process launcher: a runner is a process on this machine, with a workspace of its own.
//!
//! Each runner has three things in the work folder, named by its id: the workspace (`ID`), the note by which a later
//! life of this launcher recognises its process (`ID.process`), and its log in the log folder (`runner-ID.log`). The
//! note is written after the start and removed when nothing of the runner is left, so whatever has a note at the next
//! start was left behind. A runner also ends by itself once its standard input, the lifeline, is closed.

#[cfg_attr(target_os = "linux", path = "tree_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "tree_group.rs")]
mod tree;

mod files;
mod handle;
mod spawn;

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use session::{EndReason, RunnerId};
use tokio::process::ChildStdin;
use tokio::sync::{broadcast, watch};

use super::{Condition, Launch, LaunchError, Launcher, LauncherKind, Verdict};
use files::RunnerFiles;
use handle::Handle;
use tree::Tree;

/// How long the kill of a whole tree may take; a process that outlives this is stuck in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Exits that a slow listener may be behind by, and that are remembered; the reconciler finds what was missed.
const EXITS: usize = 1024;
const ENDED: &str = "the runner ended without saying why";

/// The process launcher's settings.
#[derive(Debug, Clone)]
pub struct ProcessLauncherConfig {
    /// The `cliscale-runner` program.
    pub runner_bin: PathBuf,
    /// Where workspaces are made.
    pub work_dir: PathBuf,
    /// Where runners' own logs go.
    pub log_dir: PathBuf,
    /// Leaves workspaces and logs where they are.
    pub keep_workspaces: bool,
    /// How long a runner keeps the result readable after its session's end.
    pub linger: Duration,
    /// From asking a runner to end to killing it.
    pub grace: Duration,
    /// Further arguments for every runner.
    pub runner_args: Vec<String>,
}

impl ProcessLauncherConfig {
    /// The settings of a server that keeps everything under `data_dir`.
    pub fn new(runner_bin: PathBuf, data_dir: &Path) -> Self {
        Self {
            runner_bin,
            work_dir: data_dir.join("work"),
            log_dir: data_dir.join("logs"),
            keep_workspaces: false,
            linger: Duration::from_secs(60),
            grace: Duration::from_secs(2),
            runner_args: Vec::new(),
        }
    }
}

/// Launches runners as processes of this machine.
#[derive(Clone)]
pub struct ProcessLauncher(Arc<Inner>);

struct Inner {
    config: ProcessLauncherConfig,
    running: Mutex<HashMap<RunnerId, Running>>,
    /// The last that ended, oldest first.
    ended: Mutex<VecDeque<RunnerId>>,
    exits: broadcast::Sender<RunnerId>,
}

impl Inner {
    /// Remembers that a runner has ended, and tells of it.
    fn tell_exit(&self, runner: RunnerId) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= EXITS {
            ended.pop_front();
        }
        ended.push_back(runner);
        drop(ended);
        // Nobody may be listening.
        let _ = self.exits.send(runner);
    }
}

/// A runner that this launcher started and whose end it has not finished with.
#[derive(Clone)]
struct Running {
    handle: Handle,
    /// How far its end is.
    progress: watch::Receiver<Progress>,
    /// Closing it asks the runner to end; shared, since both its end and its destruction may close it.
    lifeline: Arc<Mutex<Option<ChildStdin>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Running,
    /// The runner itself has ended.
    Exited,
    /// Nothing of it is left.
    Cleared,
}

/// The runners that this launcher started and whose end was not seen yet.
#[derive(Clone)]
struct Living(Arc<Inner>);

impl Living {
    fn pids(&self) -> HashSet<i32> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().filter(|one| *one.progress.borrow() == Progress::Running).map(|one| one.handle.pid).collect()
    }
}

impl ProcessLauncher {
    /// Makes the folders. On Linux this process becomes the reaper of what runners leave behind, so that the orphans
    /// of a runner that was killed come here instead of to init.
    pub fn new(mut config: ProcessLauncherConfig) -> Result<Self, LaunchError> {
        for dir in [&mut config.work_dir, &mut config.log_dir] {
            let failed = |source| LaunchError::Folder { path: dir.to_path_buf(), source };
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&*dir).map_err(failed)?;
            // The kernel names working directories without links; so must we.
            *dir = dir.canonicalize().map_err(failed)?;
        }
        tree::adopt_orphans();
        let exits = broadcast::channel(EXITS).0;
        Ok(Self(Arc::new(Inner { config, running: Mutex::default(), ended: Mutex::default(), exits })))
    }

    fn running(&self, runner: RunnerId) -> Option<Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).get(&runner).cloned()
    }

    fn files(&self, runner: RunnerId) -> RunnerFiles {
        RunnerFiles::of(&self.0.config, runner)
    }

    /// Ends a runner that this process started: asks, waits a moment, then kills all of it.
    async fn end(&self, runner: RunnerId, mut running: Running) -> Result<(), LaunchError> {
        running.handle.signal(Signal::SIGTERM);
        running.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take();
        let exited = running.progress.wait_for(|progress| *progress >= Progress::Exited);
        if tokio::time::timeout(self.0.config.grace, exited).await.is_err() {
            tracing::warn!(%runner, "a runner did not end when asked; killing it");
            let (workspace, handle) = (self.files(runner).workspace, running.handle.clone());
            let left = kill(Tree::own(runner, workspace, handle, Living(Arc::clone(&self.0)))).await;
            if left > 0 {
                return Err(LaunchError::LeftOver(left));
            }
        }
        let cleared = running.progress.wait_for(|progress| *progress == Progress::Cleared);
        // An error means that the runner's own task is over, and then so is its clean-up.
        drop(tokio::time::timeout(KILL_LIMIT * 2, cleared).await);
        Ok(())
    }

    /// Ends what an earlier life of this launcher left of a runner.
    async fn end_left_over(&self, runner: RunnerId, handle: Option<Handle>) -> Result<(), LaunchError> {
        let files = self.files(runner);
        let left = kill(Tree::left_over(runner, files.workspace.clone(), handle)).await;
        if left > 0 {
            return Err(LaunchError::LeftOver(left));
        }
        files.remove(self.0.config.keep_workspaces).await;
        Ok(())
    }
}

/// Kills a tree off the runtime's threads, since it reads much of `/proc`. Answers how many processes are left.
async fn kill(tree: Tree) -> usize {
    tokio::task::spawn_blocking(move || tree.kill(KILL_LIMIT)).await.unwrap_or(usize::MAX)
}

#[async_trait]
impl Launcher for ProcessLauncher {
    fn kind(&self) -> LauncherKind {
        LauncherKind::Process
    }

    /// Standbys of a program that was replaced are retired.
    fn template_digest(&self, _template: &str) -> String {
        let config = &self.0.config;
        let changed = std::fs::metadata(&config.runner_bin).and_then(|program| program.modified()).ok();
        format!("{} {changed:?} {:?} {:?}", config.runner_bin.display(), config.runner_args, config.linger)
    }

    async fn launch(&self, request: Launch) -> Result<String, LaunchError> {
        let started = tokio::spawn(self.clone().start(request)).await;
        started.unwrap_or_else(|panicked| Err(LaunchError::Start(std::io::Error::other(panicked))))
    }

    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError> {
        Ok(self.0.running.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect())
    }

    async fn destroy(&self, runner: RunnerId, handle: Option<&str>) -> Result<(), LaunchError> {
        if let Some(running) = self.running(runner) {
            return self.end(runner, running).await;
        }
        let files = self.files(runner);
        let handle = handle.map(str::to_owned).or_else(|| files.note()).and_then(|text| text.parse().ok());
        if handle.is_none() && !files.exist() {
            return Ok(());
        }
        self.end_left_over(runner, handle).await
    }

    async fn sweep(&self) -> Result<(), LaunchError> {
        let mut left = 0;
        for runner in files::noted(&self.0.config.work_dir) {
            let handle = self.files(runner).note().and_then(|text| text.parse().ok());
            tracing::info!(%runner, "ending what an earlier run left of a runner");
            if let Err(error) = self.end_left_over(runner, handle).await {
                tracing::error!(%runner, %error, "a runner of an earlier run could not be ended");
                left += 1;
            }
        }
        if left == 0 { Ok(()) } else { Err(LaunchError::LeftOver(left)) }
    }

    fn news(&self) -> Option<broadcast::Receiver<RunnerId>> {
        Some(self.0.exits.subscribe())
    }

    /// A process says why it ended only in its own last report.
    fn condition(&self, runner: RunnerId) -> Condition {
        let ended = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match ended.contains(&runner) {
            true => Condition::Over(Verdict::new(EndReason::RunnerLost, ENDED)),
            false => Condition::Fine,
        }
    }

    fn workspace(&self, runner: RunnerId) -> Option<PathBuf> {
        let path = self.files(runner).workspace;
        // The code is fetched into a folder of its own; before that, and for code that is run in place, there is none.
        [path.join("code"), path].into_iter().find(|path| path.is_dir())
    }
}
