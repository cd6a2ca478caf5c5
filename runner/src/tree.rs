//! The processes below this one: who they are, how they end, and how none of them is left over.
//!
//! On Linux this process is a subreaper, so that daemons that left their parents are still found below it. Elsewhere
//! a daemon that left its parents is not found any more: a limit of local mode on macOS.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpid};
use rustix::process::{WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};

/// How a process ended, as a shell tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub code: i32,
    pub signal: Option<String>,
}

/// Waits for children, its own and those that it inherits.
///
/// It takes the status of every child, so it must not be used while something else waits for a child of its own.
pub struct Reaper {
    changed: tokio::signal::unix::Signal,
}

impl Reaper {
    pub fn new() -> io::Result<Self> {
        Ok(Self { changed: signal(SignalKind::child())? })
    }

    /// Waits until `child` has ended, reaping whatever else ends meanwhile.
    pub async fn wait_for(&mut self, child: Pid) -> Status {
        loop {
            if let Some(status) = reap(child) {
                return status;
            }
            self.changed.recv().await;
        }
    }
}

/// Reaps everything that has ended; the status of `child` if it is among them.
fn reap(child: Pid) -> Option<Status> {
    let mut found = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == child.as_raw() {
            found = Some(Status::of(status));
        }
    }
    found
}

impl Status {
    fn of(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(number) => {
                let name = Signal::try_from(number).map_or_else(|_| format!("SIG{number}"), |name| name.to_string());
                Self { code: 128 + number, signal: Some(name) }
            }
            None => Self { code: status.exit_status().unwrap_or(1), signal: None },
        }
    }
}

/// Sends `signal` to a job, and wakes what is stopped of it so that it can obey.
pub fn ask(group: Pid, signal: Signal) {
    for signal in [signal, Signal::SIGCONT] {
        let _ = killpg(group, signal);
    }
}

/// Kills everything below this process and reaps it; the status of `child` if it was among it. Processes are stopped
/// before they are killed, so that none can start another between being found and being killed.
pub async fn kill_all(child: Pid, limit: Duration) -> Option<Status> {
    let deadline = Instant::now() + limit;
    let mut status = None;
    loop {
        let mut stopped = HashSet::new();
        while let found = below(getpid())
            && found.iter().any(|pid| !stopped.contains(pid))
            && Instant::now() < deadline
        {
            found.iter().for_each(|&pid| signal_one(pid, Signal::SIGSTOP));
            stopped.extend(found);
        }
        stopped.iter().for_each(|&pid| signal_one(pid, Signal::SIGKILL));
        status = reap(child).or(status);
        let left = below(getpid());
        if left.is_empty() {
            return reap(child).or(status);
        }
        if Instant::now() >= deadline {
            tracing::error!(left = left.len(), "processes of the session could not be killed");
            return status;
        }
        // Dying takes the kernel a moment, and a grandchild's end is told to nobody here.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A process that is gone, or that belongs to another user, is left to whoever looks again.
fn signal_one(pid: Pid, signal: Signal) {
    let _ = kill(pid, signal);
}

/// Whether `pid` is a process, and none of those below this one. One that has ended counts until it is reaped.
pub fn is_elsewhere(pid: Pid) -> bool {
    let all = processes();
    all.iter().any(|process| process.pid == pid) && !tree(&all, getpid()).iter().any(|process| process.pid == pid)
}

/// Every living process below `root`.
pub fn below(root: Pid) -> Vec<Pid> {
    tree(&processes(), root).iter().filter(|process| process.alive).map(|process| process.pid).collect()
}

/// Everything in `all` below `root`.
fn tree(all: &[Process], root: Pid) -> Vec<Process> {
    let mut found: Vec<Process> = all.iter().filter(|process| process.parent == root).copied().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(all.iter().filter(|process| process.parent == parent));
        next += 1;
    }
    found
}

#[derive(Debug, Clone, Copy)]
struct Process {
    pid: Pid,
    parent: Pid,
    /// False for one that has ended and is not yet reaped.
    alive: bool,
}

/// Every process.
#[cfg(target_os = "linux")]
fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let process = |pid: i32| {
        // `PID (NAME) STATE PPID ...`, where NAME may hold anything, parentheses included (proc_pid_stat(5)).
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let after = stat.iter().rposition(|&byte| byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&stat[after..]).ok()?.split_ascii_whitespace();
        let alive = !matches!(fields.next()?, "Z" | "X");
        let parent = Pid::from_raw(fields.next()?.parse().ok()?);
        Some(Process { pid: Pid::from_raw(pid), parent, alive })
    };
    numbers.filter_map(process).collect()
}

#[cfg(not(target_os = "linux"))]
fn processes() -> Vec<Process> {
    use std::process::{Command, Stdio};
    let ps = Command::new("ps").args(["-axo", "pid=,ppid=,stat="]).stdout(Stdio::piped()).spawn();
    let Ok(ps) = ps else { return Vec::new() };
    let own = Pid::from_raw(ps.id() as i32);
    let Ok(listed) = ps.wait_with_output() else { return Vec::new() };
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let pid = Pid::from_raw(fields.next()?.parse().ok()?);
        let parent = Pid::from_raw(fields.next()?.parse().ok()?);
        Some(Process { pid, parent, alive: !fields.next()?.starts_with('Z') })
    };
    let all = String::from_utf8_lossy(&listed.stdout);
    all.lines().filter_map(line).filter(|process| process.pid != own).collect()
}
