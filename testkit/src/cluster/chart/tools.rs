//! helm and kubectl as programs, each run kept in a log.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Longer than anything that a test waits for by them.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where the programs are, and the cluster that they are to work on.
pub struct Tools {
    folder: PathBuf,
    kubeconfig: PathBuf,
    runs: AtomicUsize,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    /// The output, where it succeeded.
    pub fn succeeded(self) -> Result<String> {
        if !self.success {
            bail!("it failed: {}{}", self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }

    /// What it complained about, where it failed as it should.
    pub fn failed(self) -> Result<String> {
        if self.success {
            bail!("it succeeded: {}", self.stdout);
        }
        Ok(self.stderr)
    }
}

impl Tools {
    /// Those that the environment names. `None`: there are none, and the test is skipped by name.
    pub fn of_environment() -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os("CLISCALE_E2E_TOOLS").map(PathBuf::from) else {
            anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "CLISCALE_E2E_TOOLS is unset under CI");
            println!("skipped: {}: CLISCALE_E2E_TOOLS is unset", crate::cluster::test_name());
            return Ok(None);
        };
        let kubeconfig = std::env::var_os("CLISCALE_E2E_KUBECONFIG").map(PathBuf::from).context("a kubeconfig")?;
        Ok(Some(Self { folder, kubeconfig, runs: AtomicUsize::new(0) }))
    }

    /// Runs `helm` or `kubectl` in a namespace. What it says is kept in `logs` as well.
    pub async fn run(&self, program: &str, namespace: &str, args: &[&str], logs: &Path) -> Result<Ran> {
        let started = Instant::now();
        let mut command = Command::new(self.folder.join(program));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", namespace]).args(args);
        // Nothing of the person who runs the tests is looked at or written.
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR"] {
            command.env(variable, logs.with_file_name("helm"));
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output).await.with_context(|| format!("{program} {args:?}"))?;
        let output = output.with_context(|| self.folder.join(program).display().to_string())?;
        let ran = Ran {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        };
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let log = format!("{program} {args:?}: {:?}, {:?}\n{}{}", output.status, ran.took, ran.stdout, ran.stderr);
        std::fs::write(logs.join(format!("{number:03}-{program}.log")), log)?;
        Ok(ran)
    }
}
