//! Where PostgreSQL's programs are, and as whom they run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// PostgreSQL refuses to run as root; Debian's package makes this user for it.
const USER: &str = "postgres";

#[derive(Debug, Clone)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// In the folder that `CLISCALE_TEST_POSTGRES_BIN` names, else the newest of Debian's, else on the path.
    pub(super) fn find() -> Option<Self> {
        let named = std::env::var_os("CLISCALE_TEST_POSTGRES_BIN").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = named.into_iter().chain(debian()).chain(std::env::split_paths(&path)).collect();
        folders.retain(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
        folders.into_iter().next().map(|folder| Self { folder })
    }

    /// A program, to be run as somebody whom it accepts.
    pub(super) fn command(&self, program: &str, as_root: bool) -> Command {
        let program = self.folder.join(program);
        if !as_root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--init-groups", "--"]).arg(program);
        command
    }
}

/// Newest first.
fn debian() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// Gives a folder with all that is in it to the user that the programs run as.
pub(super) fn give(folder: &Path) -> anyhow::Result<()> {
    let status = Command::new("chown").args(["-R", &format!("{USER}:")]).arg(folder).status()?;
    anyhow::ensure!(status.success(), "chown to {USER}: {status}");
    Ok(())
}
