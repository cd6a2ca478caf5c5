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

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::unistd::Pid;
use session::frames::Size;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::shield::OomScore;

/// The runner's side of a terminal. Never blocks.
pub struct Master(AsyncFd<File>);

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
    let both = Interest::READABLE | Interest::WRITABLE;
    // SAFETY: a `File` has the same descriptor for as long as it lives, and closes it only when it is dropped.
    let master = Master(unsafe { AsyncFd::register_with_interest(File::from(master), both) }?);
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
    /// Fills `buffer` with what is there, waiting for the first byte. 0 is the end: nobody has the terminal any more.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let first = self.0.async_io(Interest::READABLE, |mut master| master.read(buffer)).await;
        let mut filled = match first {
            // Linux reports a terminal that nobody holds as an I/O error, other systems as end of file.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(0),
            first => first?,
        };
        // A terminal gives a page at a time; a flood is cheaper in larger pieces.
        while filled > 0 && filled < buffer.len() {
            match self.0.get_ref().read(&mut buffer[filled..]) {
                Ok(more) if more > 0 => filled += more,
                _ => break,
            }
        }
        Ok(filled)
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
