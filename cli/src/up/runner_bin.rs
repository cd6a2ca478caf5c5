//! Where the runner's program is: it is installed beside this one.

use std::path::{Path, PathBuf};

const NAME: &str = "cliscale-runner";

#[derive(Debug, thiserror::Error)]
pub enum NoRunner {
    #[error("the runner's program {} is not there; --runner-bin (CLISCALE_RUNNER_BIN) names it", .0.display())]
    NotThere(PathBuf),
    #[error("{NAME} is not beside {}, where it is installed; name it with --runner-bin (CLISCALE_RUNNER_BIN)", .0.display())]
    NotBeside(PathBuf),
    #[error("this program's own path is not known ({0}); name the runner's with --runner-bin (CLISCALE_RUNNER_BIN)")]
    Unknown(std::io::Error),
}

/// The named program, else the one beside this executable.
pub fn find_runner(named: Option<&Path>) -> Result<PathBuf, NoRunner> {
    if let Some(path) = named {
        return match path.canonicalize() {
            Ok(path) if path.is_file() => Ok(path),
            _ => Err(NoRunner::NotThere(path.to_owned())),
        };
    }
    let own = std::env::current_exe().and_then(|path| path.canonicalize()).map_err(NoRunner::Unknown)?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    // Test executables are one folder further down than the programs.
    let candidates = [Some(folder), folder.parent().filter(|_| folder.ends_with("deps"))];
    let found = candidates.into_iter().flatten().map(|folder| folder.join(NAME)).find(|path| path.is_file());
    found.ok_or_else(|| NoRunner::NotBeside(own.clone()))
}
