//! Keeps what the runner runs away from the runner: a command of the same user must not read its memory, environment
//! or descriptors, trace it, or take it down with a core dump.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Mutex;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};

/// The score of everything that a session runs: the kernel, short of memory, takes it before the runner.
const COMMANDS_SCORE: &str = "1000";

/// Raises the OOM killer's score for what is started meanwhile; see [`OomScore::while_raised`].
pub struct OomScore(Mutex<Option<(File, String)>>);

/// Shields this process. To be called before any secret is read or anything is started.
///
/// Not being dumpable makes everything under `/proc/PID` belong to root: same-user processes can neither trace this
/// one nor read its memory, environment and descriptors. The score's file is therefore opened before.
pub fn raise() -> io::Result<OomScore> {
    let oom = OomScore::open();
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    close_inherited_on_exec()?;
    #[cfg(target_os = "linux")]
    {
        nix::sys::prctl::set_dumpable(false)?;
        // What a command leaves behind becomes this process's child, and so stays in its tree.
        nix::sys::prctl::set_child_subreaper(true)?;
    }
    #[cfg(target_os = "macos")]
    deny_tracing();
    Ok(oom)
}

/// macOS has no dumpable flag; this refuses debuggers.
#[cfg(target_os = "macos")]
#[allow(unsafe_code)]
fn deny_tracing() {
    // SAFETY: PT_DENY_ATTACH takes no address and only changes a flag of this process.
    unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, std::ptr::null_mut(), 0) };
}

/// What this process opens itself is close-on-exec already; this sees to what it was started with.
fn close_inherited_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/dev/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()).filter(|&number| number > 2) else {
            continue;
        };
        set_cloexec(number);
    }
    Ok(())
}

#[allow(unsafe_code)]
fn set_cloexec(number: i32) {
    // SAFETY: the descriptor was just listed and is borrowed for this call only; one that is closed by now, as the
    // listing's own, merely makes the call fail.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
}

impl OomScore {
    fn open() -> Self {
        let own = || -> io::Result<(File, String)> {
            let own = std::fs::read_to_string("/proc/self/oom_score_adj")?;
            Ok((File::options().write(true).open("/proc/self/oom_score_adj")?, own))
        };
        Self(Mutex::new(own().ok()))
    }

    /// Runs `start` with the score raised, so that a child inherits it from its first instant, and takes it back.
    ///
    /// The child cannot raise it itself: until its exec it is as undumpable as this process, and may not open its
    /// own files under `/proc`. Raising needs no privilege, nor does going back to where one came from.
    pub fn while_raised<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((file, own)) = held.as_mut() else { return start() };
        let raised = file.write_all(COMMANDS_SCORE.as_bytes());
        let started = start();
        if let Err(error) = raised.and_then(|()| file.write_all(own.trim().as_bytes())) {
            tracing::warn!(%error, "the OOM score was not set");
        }
        started
    }
}
