//! The process launcher against a stand-in runner: nothing of a runner outlives it, and nothing else is touched.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::launcher::{Launch, LaunchError, Launcher, ProcessLauncher, ProcessLauncherConfig};
use procfs::process::Process;
use session::{RunnerId, Secret};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// Orphans of every test's runners come to this one process, so the tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

struct World {
    launcher: Arc<ProcessLauncher>,
    config: ProcessLauncherConfig,
    notes: PathBuf,
    runner: RunnerId,
    _dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    async fn new(mode: &str) -> Self {
        let turn = TURN.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let notes = dir.path().join("notes");
        std::fs::create_dir(&notes).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand-in-runner.sh");
        let mut config = ProcessLauncherConfig::new(program, dir.path());
        config.grace = Duration::from_millis(300);
        config.runner_args = vec![mode.to_owned(), notes.display().to_string()];
        let launcher = Arc::new(ProcessLauncher::new(config.clone()).unwrap());
        Self { launcher, config, notes, runner: RunnerId::new(), _dir: dir, _turn: turn }
    }

    async fn launch(&self) -> String {
        let handle = self.launcher.launch(self.order()).await.unwrap();
        until("the runner works", || self.notes.join("ready").exists()).await;
        handle
    }

    fn order(&self) -> Launch {
        Launch {
            runner: self.runner,
            boot_token: Secret::new("boot-token"),
            internal_url: "http://127.0.0.1:1".parse().unwrap(),
            template: "default".to_owned(),
            standby: false,
        }
    }

    /// The tree's processes, once all of it noted themselves.
    async fn pids(&self, count: usize) -> Vec<i32> {
        let read = || -> Vec<i32> {
            let text = std::fs::read_to_string(self.notes.join("pids")).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        until("the tree stands", || read().len() == count).await;
        let pids = read();
        assert!(pids.iter().all(|&pid| lives(pid)), "{pids:?}");
        pids
    }

    fn workspace(&self) -> PathBuf {
        self.config.work_dir.join(self.runner.to_string())
    }
}

/// The daemons, their shells' children and the runner that the mode `tree` makes and notes.
const TREE: usize = 7;

fn lives(pid: i32) -> bool {
    Process::new(pid).is_ok_and(|process| process.is_alive())
}

fn exists(pid: i32) -> bool {
    Process::new(pid).is_ok()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pid_of(handle: &str) -> i32 {
    handle.split('/').next().unwrap().parse().unwrap()
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_runner_gets_its_token_and_nothing_of_our_environment() {
    let world = World::new("plain").await;
    world.launch().await;
    assert_eq!(std::fs::read_to_string(world.notes.join("token")).unwrap(), "boot-token\n");
    let env = std::fs::read_to_string(world.notes.join("env")).unwrap();
    assert!(env.contains(&format!("CLISCALE_RUNNER_ID={}\n", world.runner)));
    // Cargo sets dozens for its tests.
    assert!(!env.contains("CARGO") && !env.contains("boot-token"), "{env}");
    assert_eq!(world.launcher.alive().await.unwrap(), [world.runner]);
    assert_eq!(world.launcher.workspace(world.runner), Some(world.workspace().canonicalize().unwrap()));
    let mut exits = world.launcher.news().unwrap();
    world.launcher.destroy(world.runner, None).await.unwrap();
    assert_eq!(exits.recv().await.unwrap(), world.runner);
    assert_eq!(world.launcher.alive().await.unwrap(), []);
    assert!(!world.workspace().exists());
    assert_eq!(std::fs::read_dir(&world.config.work_dir).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&world.config.log_dir).unwrap().count(), 0);
    world.launcher.destroy(world.runner, None).await.unwrap();
}

#[tokio::test]
async fn a_runner_that_ends_by_itself_is_noticed_and_cleared_away() {
    let world = World::new("quits").await;
    let mut exits = world.launcher.news().unwrap();
    world.launcher.launch(world.order()).await.unwrap();
    assert_eq!(exits.recv().await.unwrap(), world.runner);
    until("it is cleared", || !world.workspace().exists()).await;
}

#[tokio::test]
async fn destroying_a_runner_ends_everything_that_it_started() {
    let world = World::new("tree").await;
    world.launch().await;
    let pids = world.pids(TREE).await;
    world.launcher.destroy(world.runner, None).await.unwrap();
    assert_eq!(pids.iter().filter(|&&pid| lives(pid)).count(), 0);
    // Not even as zombies: what became ours was reaped.
    assert_eq!(pids.iter().filter(|&&pid| exists(pid)).count(), 0);
    assert!(!world.workspace().exists());
}

#[tokio::test]
async fn a_runner_that_is_killed_takes_everything_that_it_started_with_it() {
    let world = World::new("tree").await;
    let mut exits = world.launcher.news().unwrap();
    let handle = world.launch().await;
    let pids = world.pids(TREE).await;
    kill(pid_of(&handle));
    assert_eq!(exits.recv().await.unwrap(), world.runner);
    assert_eq!(pids.iter().filter(|&&pid| exists(pid)).count(), 0);
}

#[tokio::test]
async fn a_runner_that_does_not_listen_is_killed() {
    let world = World::new("stubborn").await;
    world.launch().await;
    let pids = world.pids(TREE).await;
    world.launcher.destroy(world.runner, None).await.unwrap();
    assert_eq!(pids.iter().filter(|&&pid| exists(pid)).count(), 0);
}

#[test]
fn what_a_killed_server_left_behind_is_swept_at_the_next_start() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let world = first.block_on(World::new("stubborn"));
    first.block_on(world.launch());
    let pids = first.block_on(world.pids(TREE));
    // Everything that attends to the runner ends here, as with a killed server.
    drop(first);
    assert!(lives(pids[0]));
    runtime().block_on(async {
        let next = ProcessLauncher::new(world.config.clone()).unwrap();
        assert_eq!(next.alive().await.unwrap(), []);
        next.sweep().await.unwrap();
        // What has only the score is told by it alone while its runner's own server lives.
        let left: Vec<_> = pids.iter().filter(|&&pid| lives(pid)).collect();
        assert!(left.len() <= 1, "{left:?} of {pids:?}");
        left.into_iter().for_each(|&pid| kill(pid));
        assert_eq!(std::fs::read_dir(&world.config.work_dir).unwrap().count(), 0);
    });
}

#[test]
fn daemons_of_a_killed_runner_are_swept_at_the_next_start() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let world = first.block_on(World::new("tree"));
    let handle = first.block_on(world.launch());
    let pids = first.block_on(world.pids(TREE));
    drop(first);
    // It may have ended at its closed lifeline already.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid_of(&handle)), nix::sys::signal::Signal::SIGKILL);
    runtime().block_on(async {
        until("the runner is dead", || !lives(pid_of(&handle))).await;
        let next = ProcessLauncher::new(world.config.clone()).unwrap();
        next.sweep().await.unwrap();
        let left: Vec<_> = pids.iter().filter(|&&pid| lives(pid)).collect();
        assert!(left.len() <= 1, "{left:?} of {pids:?}");
        left.into_iter().for_each(|&pid| kill(pid));
    });
}

#[tokio::test]
async fn a_process_that_was_given_a_runners_old_id_is_left_alone() {
    let world = World::new("plain").await;
    let mut foreign = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(foreign.id()).unwrap();
    std::fs::create_dir(world.workspace()).unwrap();
    let note = format!("{pid}/1/{}", procfs::sys::kernel::random::boot_id().unwrap().trim());
    std::fs::write(world.config.work_dir.join(format!("{}.process", world.runner)), &note).unwrap();
    world.launcher.sweep().await.unwrap();
    world.launcher.destroy(world.runner, Some(&note)).await.unwrap();
    assert!(foreign.try_wait().unwrap().is_none(), "a foreign process was ended");
    assert!(!world.workspace().exists());
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

#[tokio::test]
async fn workspaces_are_kept_where_that_is_asked_for() {
    let mut world = World::new("plain").await;
    world.config.keep_workspaces = true;
    world.launcher = Arc::new(ProcessLauncher::new(world.config.clone()).unwrap());
    world.launch().await;
    world.launcher.destroy(world.runner, None).await.unwrap();
    assert!(world.workspace().is_dir());
    // And nobody who works in it later is taken for the runner's.
    let mut shell = Command::new("sleep").arg("1000").current_dir(world.workspace()).spawn().unwrap();
    ProcessLauncher::new(world.config.clone()).unwrap().sweep().await.unwrap();
    assert!(shell.try_wait().unwrap().is_none());
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[tokio::test]
async fn a_missing_program_is_said_to_be_missing() {
    let mut world = World::new("plain").await;
    world.config.runner_bin = world.notes.join("nothing-here");
    let launcher = ProcessLauncher::new(world.config.clone()).unwrap();
    let error = launcher.launch(world.order()).await.unwrap_err();
    assert!(matches!(error, LaunchError::NoProgram(_)), "{error}");
    assert_eq!(launcher.alive().await.unwrap(), []);
    assert!(!world.workspace().exists());
}
