//! Runs git: isolated from every configuration but ours, its network pinned, its output tamed, its group killed
//! unless it ends well.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use session::spec::CodeAuth;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdout, Command};
use url::Url;

use super::disk;
use super::fault::GitError;
use crate::fetch::jobs::Jobs;
use crate::fetch::limits::{FetchLimits, seconds};
use crate::fetch::report::{Reporter, basic, shown};
use crate::fetch::web::host_of;

/// Bytes of git's messages that are shown for one command: the remote may send as many as it likes.
const MAX_SHOWN: usize = 64 * 1024;
/// Bytes of one message.
const MAX_MESSAGE: usize = 1024;

/// Between two looks at the disk. A fast network writes tens of MiB meanwhile, which the limits leave room for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The environment variables that pass through: where programs and certificate authorities are.
const KEPT: [&str; 6] = ["PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "DEVELOPER_DIR"];

/// Everything that git must not do by itself.
const CONFIG: [(&str, &str); 17] = [
    ("credential.helper", ""),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("core.fsync", "none"),
    ("init.templateDir", ""),
    ("init.defaultBranch", "main"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("protocol.version", "2"),
    ("http.followRedirects", "false"),
    ("http.proxy", ""),
    ("http.lowSpeedLimit", "1"),
    ("remote.origin.tagOpt", "--no-tags"),
];

pub(super) struct Git<'a> {
    env: Vec<(String, String)>,
    host: String,
    pub(super) limits: &'a FetchLimits,
    reporter: &'a Reporter,
    jobs: &'a Jobs,
}

/// What a command may do to the disk while it runs.
pub(super) struct Watch<'a> {
    pub(super) folder: &'a Path,
    pub(super) max_bytes: u64,
    pub(super) above: fn(u64) -> GitError,
    /// The limit that the error names.
    pub(super) limit: u64,
}

impl<'a> Git<'a> {
    /// `staging` is a folder of our own with an empty folder `home` in it. `pinned` is the value of `http.curloptResolve`, if the host is a name.
    pub(super) fn new(
        url: &Url,
        staging: &Path,
        pinned: Option<String>,
        auth: Option<&CodeAuth>,
        limits: &'a FetchLimits,
        reporter: &'a Reporter,
        jobs: &'a Jobs,
    ) -> Self {
        let home = staging.join("home").display().to_string();
        // A repository that the workspace happens to lie in is none of ours.
        let ceiling = staging.parent().unwrap_or(staging).display().to_string();
        let mut env: Vec<(String, String)> = [
            ("HOME", home.as_str()),
            ("XDG_CONFIG_HOME", home.as_str()),
            ("LC_ALL", "C"),
            ("GIT_CEILING_DIRECTORIES", ceiling.as_str()),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "false"),
            ("SSH_ASKPASS", "false"),
            ("GIT_ALLOW_PROTOCOL", "http:https"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
            ("GIT_LITERAL_PATHSPECS", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        env.extend(KEPT.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?))));
        let mut config: Vec<(String, String)> = CONFIG.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        config.push(("http.lowSpeedTime".into(), limits.stall.as_secs().max(1).to_string()));
        config.extend(pinned.map(|value| ("http.curloptResolve".into(), value)));
        // Bound to scheme, host and port: git sends it nowhere else.
        let origin = url.origin().ascii_serialization();
        let secret =
            auth.map(|auth| (format!("http.{origin}/.extraHeader"), format!("Authorization: Basic {}", basic(auth))));
        for (at, (key, value)) in config.iter().chain(&secret).enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{at}"), key.clone()));
            env.push((format!("GIT_CONFIG_VALUE_{at}"), value.clone()));
        }
        env.push(("GIT_CONFIG_COUNT".into(), (config.len() + usize::from(secret.is_some())).to_string()));
        Self { env, host: host_of(url), limits, reporter, jobs }
    }

    /// Runs a command in `folder`; `sink` takes its standard output and may give up. `what` completes "git could
    /// not ...".
    pub(super) async fn run(
        &self,
        what: &'static str,
        folder: &Path,
        args: &[&str],
        watch: Option<Watch<'_>>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let mut command = Command::new("git");
        command.args(args).current_dir(folder).env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, since git has children of its own.
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => GitError::Missing(error),
            _ => GitError::Run(error),
        })?;
        let group = child.id().map(|id| self.jobs.group(id));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut said = String::new();
        let talk = async {
            let (out, ()) = tokio::join!(feed(stdout, sink), self.listen(stderr, &mut said));
            out?;
            child.wait().await.map_err(GitError::Run)
        };
        let status = tokio::select! {
            status = talk => status?,
            error = self.exceed(watch) => return Err(error),
        };
        if let Some(group) = group {
            group.ended();
        }
        if status.success() {
            return Ok(());
        }
        if said.contains("Operation too slow") {
            return Err(GitError::Stalled(self.host.clone(), seconds(self.limits.stall)));
        }
        let said = if said.is_empty() { format!("it ended with {status}") } else { said };
        Err(GitError::Failed { what, said: shown(&self.reporter.redact(&said), 300) })
    }

    /// As [`Self::run`], with the output collected.
    pub(super) async fn output(
        &self,
        what: &'static str,
        folder: &Path,
        args: &[&str],
        max: usize,
    ) -> Result<Vec<u8>, GitError> {
        let mut out = Vec::new();
        let host = &self.host;
        let mut sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            if out.len() > max { Err(GitError::TooManyReferences(host.clone())) } else { Ok(()) }
        };
        self.run(what, folder, args, None, &mut sink).await?;
        Ok(out)
    }

    /// As [`Self::run`], with the output of no interest.
    pub(super) async fn quiet(
        &self,
        what: &'static str,
        folder: &Path,
        args: &[&str],
        watch: Option<Watch<'_>>,
    ) -> Result<(), GitError> {
        self.run(what, folder, args, watch, &mut |_| Ok(())).await
    }

    /// Shows git's messages; keeps the last `fatal:` or `error:`, which says what was wrong.
    async fn listen(&self, stderr: Option<ChildStderr>, said: &mut String) {
        let Some(mut stderr) = stderr else { return };
        let (mut block, mut message, mut total) = ([0; 4096], Vec::new(), 0);
        // A read error is the end of what can be heard; the exit status decides.
        while let Ok(count @ 1..) = stderr.read(&mut block).await {
            for byte in &block[..count] {
                match byte {
                    b'\r' | b'\n' => {
                        let text = String::from_utf8_lossy(&message).into_owned();
                        total += message.len();
                        message.clear();
                        self.hear(text.trim(), *byte == b'\r', total <= MAX_SHOWN, said);
                    }
                    _ if message.len() < MAX_MESSAGE => message.push(*byte),
                    _ => {}
                }
            }
        }
        self.hear(String::from_utf8_lossy(&message).trim(), false, total <= MAX_SHOWN, said);
    }

    fn hear(&self, text: &str, passing: bool, show: bool, said: &mut String) {
        if let Some(why) = text.strip_prefix("fatal: ").or_else(|| text.strip_prefix("error: ")) {
            // The first says what happened; those behind it, that git gave up.
            if said.is_empty() {
                why.clone_into(said);
            }
            return;
        }
        // Which name became which means nothing to those who wait for the code.
        let of_no_interest = text.is_empty() || text.starts_with("From ") || text.starts_with("* [");
        if of_no_interest || !show {
            return;
        }
        if passing {
            self.reporter.percent(|| format!("  {text}"));
        } else {
            self.reporter.line(&format!("  {text}"));
        }
    }

    /// Ends only when the watched folder has grown above its limit.
    async fn exceed(&self, watch: Option<Watch<'_>>) -> GitError {
        let Some(watch) = watch else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (folder, stop) = (watch.folder.to_owned(), self.jobs.stop.clone());
            let used = self.jobs.spawn_blocking(move || disk::used(&folder, &stop)).await.unwrap_or_default();
            if used > watch.max_bytes {
                return (watch.above)(watch.limit);
            }
        }
    }
}

async fn feed(
    stdout: Option<ChildStdout>,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    let mut block = vec![0; 64 * 1024];
    loop {
        match stdout.read(&mut block).await.map_err(GitError::Run)? {
            0 => return Ok(()),
            count => sink(&block[..count])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn git_connects_to_the_pinned_address_whatever_the_name_says() {
        let server = testkit::git_server::GitServer::start().await;
        server.create_repo("o/r.git").commit(&[("f", "1")]);
        let mut url = server.url("/o/r.git");
        url.set_host(Some("no-such-host.invalid")).unwrap();
        let staging = tempfile::tempdir().unwrap();
        let pinned = format!("no-such-host.invalid:{}:127.0.0.1", server.address().port());
        let (limits, reporter, jobs) = (FetchLimits::default(), Reporter::new(Arc::new(|_| ()), None), Jobs::default());
        let git = Git::new(&url, staging.path(), Some(pinned), None, &limits, &reporter, &jobs);
        let listing = git.output("list", staging.path(), &["ls-remote", url.as_str()], 4096).await.unwrap();
        assert!(String::from_utf8(listing).unwrap().contains("refs/heads/main"));
    }

    #[tokio::test]
    async fn the_environment_and_configuration_of_the_machine_do_not_reach_git() {
        let folder = tempfile::tempdir().unwrap();
        let staging = folder.path().join("workspace/staging");
        std::fs::create_dir_all(staging.join("home")).unwrap();
        // A repository around the workspace, with a configuration of its own.
        std::fs::create_dir_all(folder.path().join(".git/objects")).unwrap();
        std::fs::create_dir_all(folder.path().join(".git/refs")).unwrap();
        std::fs::write(folder.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(folder.path().join(".git/config"), "[around]\n\tkey = value\n").unwrap();
        let (limits, reporter, jobs) = (FetchLimits::default(), Reporter::new(Arc::new(|_| ()), None), Jobs::default());
        let url = "https://h.example/x.git".parse().unwrap();
        let git = Git::new(&url, &staging, None, None, &limits, &reporter, &jobs);
        let listing = git.output("list", &staging, &["config", "--list", "--show-scope"], 65536).await.unwrap();
        let listing = String::from_utf8(listing).unwrap();
        assert!(listing.lines().all(|line| line.starts_with("command")), "{listing}");
        assert!(listing.contains("http.followredirects=false"), "{listing}");
    }
}
