//! Starting a runner's process, and seeing to what it leaves when it ends.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use session::RunnerId;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::files::RunnerFiles;
use super::tree::{Tree, handle_of};
use super::{Launch, LaunchError, Living, ProcessLauncher, Progress, Running, kill};

/// All that a runner learns of our environment. Settings and keys of this server are not among it, nor is anything
/// that merely happened to be set when it was started.
const PASSED_ON: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// The mark by which the processes of a runner are found; runners hand it on to what they start.
pub(super) const MARK: &str = "CLISCALE_RUNNER_ID";
/// A runner that ends this soon and not well never worked: the end of its log says why.
const STILLBORN: Duration = Duration::from_secs(3);
/// Bytes of a log that are shown then.
const LAST_WORDS: u64 = 2048;

impl ProcessLauncher {
    /// Must not be dropped half-way: a process that has been started is to be attended to.
    pub(super) async fn start(self, request: Launch) -> Result<String, LaunchError> {
        let runner = request.runner;
        let files = self.files(runner);
        let mut child = self.spawn(&request, &files)?;
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return Err(LaunchError::Start(io::ErrorKind::NotFound.into()));
        };
        let handle = handle_of(pid);
        if let Err(error) = files.write_note(&handle.to_string()) {
            // Without the note a later life of this server could not end it, but its lifeline will.
            tracing::warn!(%runner, %error, "the note about a runner could not be written");
        }
        let stdin = child.stdin.take();
        let (progress, seen) = watch::channel(Progress::Running);
        let running = Running { handle: handle.clone(), progress: seen, lifeline: Arc::default() };
        // Before it has its token: a runner that has called home is one that we know.
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).insert(runner, running.clone());
        if let Some(mut stdin) = stdin {
            let line = format!("{}\n", request.boot_token.expose());
            if let Err(error) = stdin.write_all(line.as_bytes()).await {
                tracing::warn!(%runner, %error, "a runner ended before it read its boot token");
            }
            *running.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = Some(stdin);
        }
        tracing::debug!(%runner, pid, "runner started");
        tokio::spawn(self.attend(request, child, running, progress));
        Ok(handle.to_string())
    }

    fn spawn(&self, request: &Launch, files: &RunnerFiles) -> Result<Child, LaunchError> {
        let config = &self.0.config;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LaunchError::Folder { path, source }
        };
        DirBuilder::new().mode(0o700).create(&files.workspace).map_err(failed(&files.workspace))?;
        let open_log = || OpenOptions::new().append(true).create(true).mode(0o600).open(&files.log);
        let log = open_log().map_err(failed(&files.log))?;
        let errors = log.try_clone().map_err(failed(&files.log))?;
        let spawned = Command::new(&config.runner_bin)
            .arg("--controller-url")
            .arg(request.internal_url.as_str())
            .args(["--runner-id", &request.runner.to_string()])
            .args(["--lifeline", "--listen", "127.0.0.1:0", "--workspace"])
            .arg(&files.workspace)
            .args(["--linger-secs", &config.linger.as_secs().to_string()])
            .args(&config.runner_args)
            .env_clear()
            .envs(environment(std::env::vars_os()))
            .env(MARK, request.runner.to_string())
            .current_dir(&files.workspace)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn();
        spawned.map_err(|source| {
            // Nothing ran in it.
            let _ = fs::remove_dir(&files.workspace);
            let _ = fs::remove_file(&files.log);
            if !config.runner_bin.exists() {
                return LaunchError::NoProgram(config.runner_bin.clone());
            }
            LaunchError::Start(source)
        })
    }

    /// Waits for a runner's end, however it comes, and then sees that nothing of it is left.
    async fn attend(self, launch: Launch, mut child: Child, running: Running, progress: watch::Sender<Progress>) {
        let runner = launch.runner;
        let started = Instant::now();
        let status = child.wait().await;
        running.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take();
        progress.send_replace(Progress::Exited);
        let files = self.files(runner);
        note_end(runner, &status, started.elapsed(), &files.log);
        let left = kill(Tree::own(runner, files.workspace.clone(), running.handle, Living(Arc::clone(&self.0)))).await;
        if left > 0 {
            tracing::error!(%runner, left, "processes of a runner could not be ended");
        }
        self.0.tell_exit(runner);
        if launch.standby {
            // Of one that nobody used, there is nothing to keep.
            let _ = fs::remove_dir(&files.workspace);
        }
        files.remove(self.0.config.keep_workspaces).await;
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&runner);
        progress.send_replace(Progress::Cleared);
    }
}

/// The part of our environment that runners get.
fn environment(own: impl Iterator<Item = (OsString, OsString)>) -> HashMap<OsString, OsString> {
    let passed = |name: &OsStr| {
        let name = name.to_string_lossy();
        PASSED_ON.contains(&&*name) || name.starts_with("LC_")
    };
    own.filter(|(name, _)| passed(name)).collect()
}

/// A runner exits with its command's code, so a bad one is no news: unless it is one of the runner's own (sysexits.h's
/// EX_USAGE and EX_UNAVAILABLE) or a signal's, and came too soon for most commands.
fn note_end(runner: RunnerId, status: &io::Result<ExitStatus>, lived: Duration, log: &Path) {
    match status {
        Ok(status) if matches!(status.code(), None | Some(64 | 69)) && lived < STILLBORN => {
            tracing::warn!(%runner, %status, log = last_words(log).unwrap_or_default(), "a runner ended at once");
        }
        Ok(status) => tracing::debug!(%runner, %status, "runner ended"),
        Err(error) => tracing::error!(%runner, %error, "a runner cannot be waited for"),
    }
}

fn last_words(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let from = file.metadata()?.len().saturating_sub(LAST_WORDS);
    file.seek(SeekFrom::Start(from))?;
    let mut words = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut words)?;
    Ok(String::from_utf8_lossy(&words).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_learns_nothing_of_this_server_from_its_environment() {
        let own = ["PATH", "LC_ALL", "CLISCALE_API_KEY", "API_KEY", "RUST_LOG", "TERM", "ALLOWED_CODE_DOMAINS", "LCX"];
        let passed = environment(own.iter().map(|name| (OsString::from(name), OsString::from("x"))));
        let mut names: Vec<_> = passed.keys().map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }
}
