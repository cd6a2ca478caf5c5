//! A runner's processes on Linux: who belongs to it, and how all of them are ended.
//!
//! A command may fork, daemonise, start sessions of its own and kill its runner, so no single relation finds all. One
//! of these makes a process a runner's:
//! - it is the runner itself, recognised by id and start time, or below a process that is the runner's;
//! - it carries the runner's mark in its environment;
//! - it is in the runner's own session, while that is certainly the runner's;
//! - it works in the runner's workspace and has no terminal: a person's shell there has one, while a command lost its
//!   own with the runner;
//! - it became ours when its runner ended, and has the score that runners give to what they start. As long as a runner
//!   lives, it is the one to inherit. Runners themselves are ours too, and have that score for the moment in which they
//!   start something: the living ones are known, and spared.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use procfs::process::{Process, Stat, all_processes};
use session::RunnerId;

use super::Living;
use super::handle::Handle;
use super::spawn::MARK;

/// What runners set for everything that they start.
const COMMAND_SCORE: i16 = 1000;
/// Between two looks at processes that were killed.
const PAUSE: Duration = Duration::from_millis(5);
/// Rounds of stopping before killing; each finds only what was forked during the one before.
const ROUNDS: usize = 20;

/// The processes of one runner.
pub(super) struct Tree {
    runner: RunnerId,
    workspace: PathBuf,
    root: Option<Handle>,
    /// This process started the runner, and so inherits what it leaves, beside the runners that live.
    own: Option<Living>,
}

/// A process as it was found.
struct Found {
    stat: Stat,
    process: Process,
}

impl Found {
    fn ended(&self) -> bool {
        matches!(self.stat.state, 'Z' | 'X')
    }
}

impl Tree {
    /// Of a runner that this process started.
    pub fn own(runner: RunnerId, workspace: PathBuf, root: Handle, living: Living) -> Self {
        Self { runner, workspace, root: Some(root), own: Some(living) }
    }

    /// Of a runner that an earlier process started.
    pub fn left_over(runner: RunnerId, workspace: PathBuf, root: Option<Handle>) -> Self {
        Self { runner, workspace, root, own: None }
    }

    /// Kills all of it; blocks until nothing is left or `limit` is over, and answers how many processes are left.
    /// They are all stopped before the first is killed, so that none can start another unseen.
    pub fn kill(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        let mut known = HashSet::new();
        loop {
            for _ in 0..ROUNDS {
                let fresh: Vec<_> =
                    self.members(&known).into_iter().filter(|one| known.insert(handle(&one.stat))).collect();
                fresh.iter().for_each(|one| signal(&one.process, Signal::SIGSTOP));
                if fresh.is_empty() {
                    break;
                }
            }
            self.members(&known).iter().for_each(|one| signal(&one.process, Signal::SIGKILL));
            let living = self.members(&known).len();
            // After the look: what it saw dead is reaped, what dies later is seen again.
            self.reap(&known);
            if living == 0 || Instant::now() >= deadline {
                return living;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The living processes that are the runner's. One that was found before stays so, though what showed it, such as
    /// its parent, is gone by now.
    fn members(&self, known: &HashSet<(i32, u64)>) -> Vec<Found> {
        let mut others = everything();
        let mut members: Vec<Found> = Vec::new();
        let evidence = Evidence::of(self, &others);
        members.extend(others.extract_if(.., |one| known.contains(&handle(&one.stat)) || evidence.shows(one)));
        let mut next = 0;
        while let Some(parent) = members.get(next).map(|one| one.stat.pid) {
            members.extend(others.extract_if(.., |one| one.stat.ppid == parent));
            next += 1;
        }
        members.retain(|one| !one.ended());
        members
    }

    /// Takes the status of the dead that became our children: never of a child that somebody here started and waits
    /// for, the runner among them.
    fn reap(&self, known: &HashSet<(i32, u64)>) {
        let everything = everything();
        let evidence = Evidence::of(self, &everything);
        let runner = self.root.as_ref().filter(|_| self.own.is_some()).map(|root| root.pid);
        let dead = everything.iter().filter(|one| one.ended() && one.stat.ppid == getpid().as_raw());
        let dead = dead.filter(|one| Some(one.stat.pid) != runner);
        for one in dead.filter(|one| known.contains(&handle(&one.stat)) || evidence.shows(one)) {
            let _: Result<_, Errno> = waitpid(Pid::from_raw(one.stat.pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// What makes a process the runner's by itself, without looking at its parents.
struct Evidence<'a> {
    root: Option<i32>,
    session: Option<i32>,
    mark: (std::ffi::OsString, std::ffi::OsString),
    workspace: &'a Path,
    /// We inherit the runner's orphans, and know them by their score, except for these.
    inherits: Option<HashSet<i32>>,
    user: u32,
}

impl<'a> Evidence<'a> {
    fn of(tree: &'a Tree, all: &[Found]) -> Self {
        let at_root = tree.root.as_ref().and_then(|root| all.iter().find(|one| one.stat.pid == root.pid));
        let root = tree.root.as_ref().filter(|root| root.exists()).map(|root| root.pid);
        // A session keeps its number from being given again, so an absent leader's number still means its session,
        // provided that we know there was one: while the runner lives, or when it was our child until now.
        let session =
            root.or(tree.root.as_ref().filter(|_| tree.own.is_some() && at_root.is_none()).map(|root| root.pid));
        let own_score = Process::myself().and_then(|own| own.oom_score_adj()).unwrap_or(COMMAND_SCORE);
        Self {
            root,
            session,
            mark: (MARK.into(), tree.runner.to_string().into()),
            workspace: &tree.workspace,
            // Asked after the processes were listed: a runner that is among them is among the living, or ended since.
            inherits: tree.own.as_ref().filter(|_| root.is_none() && own_score < COMMAND_SCORE).map(Living::pids),
            user: nix::unistd::geteuid().as_raw(),
        }
    }

    fn shows(&self, one: &Found) -> bool {
        if Some(one.stat.pid) == self.root || Some(one.stat.session) == self.session {
            return true;
        }
        let orphan = |spared: &HashSet<i32>| one.stat.ppid == getpid().as_raw() && !spared.contains(&one.stat.pid);
        let inherited = self.inherits.as_ref().is_some_and(orphan);
        if inherited && one.process.oom_score_adj().is_ok_and(|score| score == COMMAND_SCORE) {
            return true;
        }
        // Another user's processes are not told by what they say of themselves.
        if one.process.uid().ok() != Some(self.user) {
            return false;
        }
        let marked = || one.process.environ().is_ok_and(|all| all.get(&self.mark.0) == Some(&self.mark.1));
        let inside = || one.process.cwd().is_ok_and(|folder| folder.starts_with(self.workspace));
        marked() || (one.stat.tty_nr == 0 && inside())
    }
}

/// Every process but this one, those above it, and init.
fn everything() -> Vec<Found> {
    let found = all_processes().into_iter().flatten().flatten();
    let mut found: Vec<Found> =
        found.filter_map(|process| Some(Found { stat: process.stat().ok()?, process })).collect();
    let mut above = vec![getpid().as_raw()];
    while let Some(parent) = above.last().and_then(|last| found.iter().find(|one| one.stat.pid == *last)) {
        above.push(parent.stat.ppid);
    }
    found.retain(|one| one.stat.pid > 1 && !above.contains(&one.stat.pid));
    found
}

/// Signals the very process that was found: its open folder under `/proc` answers no more once it is gone.
fn signal(process: &Process, signal: Signal) {
    if process.stat().is_ok() {
        let _ = kill(Pid::from_raw(process.pid()), signal);
    }
}

fn handle(stat: &Stat) -> (i32, u64) {
    (stat.pid, stat.starttime)
}

fn stat_of(pid: i32) -> Option<Stat> {
    Process::new(pid).and_then(|process| process.stat()).ok()
}

/// How to recognise the process that has this id now; one that no process has where there is none.
pub(super) fn handle_of(pid: i32) -> Handle {
    let start = stat_of(pid).map_or(0, |stat| stat.starttime);
    Handle { pid, start, boot: procfs::sys::kernel::random::boot_id().unwrap_or_default().trim().to_owned() }
}

/// Makes orphans of runners ours.
pub(super) fn adopt_orphans() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "what a killed runner leaves behind may not be found");
    }
}
