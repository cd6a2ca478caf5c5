//! Which core runs what: what is measured has one to itself, and whoever drives it has the other.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long one may take that is asked to end because it is needed no more.
const GRACE: Duration = Duration::from_secs(2);
/// What is measured.
pub const SUBJECT: usize = 0;
/// Clients and backends.
pub const DRIVER: usize = 1;

/// A command on one core; its children are there too.
pub fn pinned(program: impl AsRef<Path>, core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program.as_ref());
    command
}

/// Set in a program that was started anew.
const PINNED: &str = "CLISCALE_BENCH_PINNED";

pub fn is_pinned() -> bool {
    std::env::var_os(PINNED).is_some()
}

/// Puts this very program on a core, by starting it anew there: what it has done before, it does not do again where it
/// asks [`is_pinned`].
pub fn pin_self(core: usize) -> Result<()> {
    if is_pinned() {
        return Ok(());
    }
    let program = std::env::current_exe().context("this program's file")?;
    let error = pinned(program, core).args(std::env::args_os().skip(1)).env(PINNED, "1").exec();
    Err(error).context("taskset")
}

/// A child that ends with its owner.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        command.spawn().map(Self).with_context(|| format!("cannot start {}", program.display()))
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid fits")
    }

    /// Asks it to end, as a service manager does, and waits.
    pub fn stop(mut self) -> Result<()> {
        self.ask_to_end().context("ending a child")?;
        self.0.wait().context("waiting for a child")?;
        Ok(())
    }

    /// By this process itself: runners ignore a signal whose sender has exited, as it may be one of the session's own.
    fn ask_to_end(&self) -> nix::Result<()> {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, since some have children of their own to end, as nginx has its worker. Already ended is as good.
        let deadline = Instant::now() + GRACE;
        while matches!(self.0.try_wait(), Ok(None)) && self.ask_to_end().is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
