//! Starts a command on a pseudo-terminal of its own, and reads and writes that terminal's other side.
//!
//! Own code and not `portable-pty`, which gives no way to run anything between fork and exec: a command must not
//! inherit ignored signals, nor the runner's place in the OOM killer's order.
//!
//! The install command and the command each have a terminal of their own: when the first process of a terminal ends,
//! the kernel hangs the terminal up.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::unistd::Pid;
use session::frames::Size;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::shield::OomScore;

/// This much within [`RUSH_TIME`] is a flood. The kernel wakes its reader for each of the writer's pieces of 2 KiB at most,
/// which costs more than all else that is done with them.
const RUSH: usize = 16 * 1024;
const RUSH_TIME: Duration = Duration::from_millis(4);
/// What is not read for this long in a flood is then read in fewer and full pieces. A terminal has room for 64 KiB, which
/// takes the quickest of programs longer.
const PAUSE: Duration = Duration::from_micros(200);
/// As much as the kernel gives at once where there is more behind it, but for a line's end or two.
const FULL: usize = 4000;

/// The runner's side of a terminal. Its descriptor never blocks.
pub struct Master(AsyncFd<File>);

/// Reads one terminal, and keeps count of how much came lately.
pub struct Reading<'a> {
    master: &'a Master,
    since: Instant,
    taken: usize,
    /// Pieces in a row that were not full.
    small: u32,
}

/// A command that runs on its own terminal, in its own session and process group, both numbered `pid`.
pub struct Job {
    pub pid: Pid,
    pub master: Master,
}

/// Starts `command`, to which only its terminal is given: every other descriptor here is close-on-exec.
pub fn spawn(mut command: Command, size: Size, oom: &OomScore) -> io::Result<Job> {
    let OpenptyResult { master, slave } = openpty(&winsize(size), None)?;
    fcntl(&master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&slave, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // SAFETY: a `File` has the same descriptor for as long as it lives, and closes it only when it is dropped.
    let master = Master(unsafe { AsyncFd::register_with_interest(File::from(master), Interest::WRITABLE) }?);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(Stdio::from(slave.try_clone()?));
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock, no panic.
    unsafe { command.pre_exec(move || become_leader(&slave)) };
    // The closure holds the terminal's far side open here until `command` is gone, which is at this function's end:
    // the end of the last process that has it must be seen as the end of its output.
    let child = oom.while_raised(|| command.spawn())?;
    Ok(Job { pid: Pid::from_raw(child.id() as i32), master })
}

/// Runs in the child. The signal mask is empty already: the standard library clears it before exec.
fn become_leader(slave: &OwnedFd) -> io::Result<()> {
    for signal in 1..32 {
        // SAFETY: SIG_DFL is a valid disposition for every signal; for SIGKILL and SIGSTOP the call only fails.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // Should the runner be killed, this goes with it. The kernel minds the thread that forked: the one that lives
    // the session, which lives as long as the runner.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(slave)?;
    Ok(())
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Master {
    /// To be read by a thread of its own, at whose pace the program writes.
    pub fn reading(&self) -> Reading<'_> {
        Reading { master: self, since: Instant::now(), taken: 0, small: 0 }
    }

    /// Writes all of `bytes`, waiting as long as the program does not read.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.0.async_io(Interest::WRITABLE, |mut master| master.write(bytes)).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    pub fn resize(&self, size: Size) {
        let winsize = rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(error) = rustix::termios::tcsetwinsize(self.0.get_ref().as_fd(), winsize) {
            tracing::debug!(%error, "the terminal was not resized");
        }
    }
}

impl Reading<'_> {
    /// Waits for output and takes what is there; blocks. 0 is the end: nobody has the terminal any more.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.keep_pace();
        let mut file = self.master.0.get_ref();
        loop {
            let read = match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
                Ok(_) => file.read(buffer),
                Err(error) => Err(error.into()),
            };
            match read {
                Ok(read) => {
                    self.taken += read;
                    self.small = if read < FULL { self.small + 1 } else { 0 };
                    return Ok(read);
                }
                // Linux reports a terminal that nobody holds as an I/O error, other systems as end of file.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(0),
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// In a flood, lets more come as soon as all has been read that was there.
    fn keep_pace(&mut self) {
        let is_rush = self.taken >= RUSH;
        if is_rush && self.small >= 2 {
            std::thread::sleep(PAUSE);
        }
        if is_rush || self.since.elapsed() > RUSH_TIME {
            (self.since, self.taken) = (Instant::now(), 0);
        }
    }
}
