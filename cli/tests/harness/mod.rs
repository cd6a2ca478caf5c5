//! Runs the real `cliscale` as a child process, in a world of its own: its own temporary directory, its own default
//! data directory, and nothing of this machine's settings.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod cuttable;
pub mod gateway;
pub mod screen;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tempfile::TempDir;
use testkit::stack::{SOON, binary};
use tokio::process::{Child, Command};

/// Directories that nothing else uses.
pub struct World {
    pub dir: TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tmp", "home"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder with one file in it.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), "from the folder\n").unwrap();
        folder
    }

    /// The variables that the command is started with.
    pub fn variables(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let mut variables = vec![
            ("HOME".to_owned(), path("home")),
            ("TMPDIR".to_owned(), path("tmp")),
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ];
        variables.extend(std::env::var("LLVM_PROFILE_FILE").ok().map(|file| ("LLVM_PROFILE_FILE".to_owned(), file)));
        variables
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("cliscale"));
        command.args(args).env_clear().envs(self.variables()).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// A runner that keeps little output in memory and none beside it.
    pub fn forgetful_runner(&self, ring_bytes: u32) -> PathBuf {
        let (path, runner) = (self.path("forgetful-runner"), binary("cliscale-runner"));
        let script =
            format!("#!/bin/sh\nexec '{}' --ring-bytes {ring_bytes} --spill-bytes 0 \"$@\"\n", runner.display());
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub async fn output(&self, args: &[&str]) -> Output {
        finished(self.command(args).spawn().unwrap()).await
    }

    /// What is left in the temporary directory.
    pub fn left_over(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// The output of a child that must end soon.
pub async fn finished(child: Child) -> Output {
    tokio::time::timeout(SOON, child.wait_with_output()).await.expect("the command did not end").unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The value of a `name: value` line on standard error.
pub fn line_value(output: &Output, name: &str) -> Option<String> {
    let text = stderr(output);
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
}

/// The process ids that a session's command wrote to a file, once `count` are there.
pub async fn pids_in(file: &Path, count: usize) -> Vec<u32> {
    let read = || -> Vec<u32> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(|line| line.parse().ok()).collect()
    };
    testkit::stack::wait_until("the session's processes run", || read().len() >= count).await;
    read()
}

/// A command that leaves processes of every kind behind: in the background, in a session of their own, ignoring
/// signals. Each writes its id to `file`.
pub fn stubborn(file: &Path) -> String {
    let note = format!("echo $$ >> '{}'", file.display());
    let each = |wrap: &str| {
        format!("{wrap} sh -c \"trap '' TERM HUP INT; {}; while :; do sleep 1; done\" &", note.replace('$', "\\$"))
    };
    format!("{} {} {note}; while :; do sleep 1; done", each(""), each("setsid"))
}
