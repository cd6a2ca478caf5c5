//! What the command finds around it: a shell, a folder, and an environment made from nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use session::{SessionId, SessionSecrets};

/// Looked through where this process has no PATH of its own.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names the runner in the environment of all that it starts.
const RUNNER_MARK: &str = "CLISCALE_RUNNER_ID";

/// The environment and shell of everything that one session runs.
pub struct Environment {
    shell: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// Takes PATH, USER and TMPDIR over from this process, and nothing else of it.
    pub fn new(session: SessionId, secrets: &SessionSecrets, home: &Path) -> Self {
        let path = std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
        let bash = std::env::split_paths(&path).map(|folder| folder.join("bash")).find(|file| file.is_file());
        let shell = bash.unwrap_or_else(|| PathBuf::from("/bin/sh"));
        let user = std::env::var_os("USER").or_else(user_name).unwrap_or_else(|| "user".into());
        let temporary = std::env::var_os("TMPDIR").unwrap_or_else(|| "/tmp".into());
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), path),
            ("HOME".into(), home.into()),
            ("TERM".into(), "xterm-256color".into()),
            ("COLORTERM".into(), "truecolor".into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("SHELL".into(), shell.clone().into()),
            ("USER".into(), user),
            ("TMPDIR".into(), temporary),
        ];
        if let Some(prompt) = &secrets.prompt {
            variables.push(("PROMPT".into(), prompt.expose().into()));
            variables.push(("CLAUDE_PROMPT".into(), prompt.expose().into()));
        }
        // The caller's own come later, and so win.
        variables.extend(secrets.env.iter().map(|(name, value)| (name.into(), value.expose().into())));
        variables.push(("CLISCALE_SESSION_ID".into(), session.to_string().into()));
        // The process launcher's mark: by it what outlives a killed runner is found.
        variables.extend(std::env::var_os(RUNNER_MARK).map(|id| (RUNNER_MARK.into(), id)));
        Self { shell, variables }
    }

    /// `bash -lc LINE` (or `sh -lc LINE`) in `folder`.
    pub fn command(&self, line: &str, folder: &Path) -> Command {
        let mut command = Command::new(&self.shell);
        command.args(["-lc", line]).current_dir(folder).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn user_name() -> Option<OsString> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name.into())
}

/// What to install with: as asked, or by what the folder holds. `None`: there is nothing to install.
pub fn install_line(asked: Option<&str>, folder: &Path) -> Option<String> {
    let line = match asked {
        Some(line) => line,
        None if folder.join("package-lock.json").is_file() => "npm ci",
        None if folder.join("package.json").is_file() => "npm install",
        None => "",
    };
    (!line.trim().is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_follows_the_folder_unless_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(install_line(None, folder.path()), None);
        std::fs::write(folder.path().join("package.json"), "{}").unwrap();
        assert_eq!(install_line(None, folder.path()).unwrap(), "npm install");
        std::fs::write(folder.path().join("package-lock.json"), "{}").unwrap();
        assert_eq!(install_line(None, folder.path()).unwrap(), "npm ci");
        assert_eq!(install_line(Some(" "), folder.path()), None);
        assert_eq!(install_line(Some("make"), folder.path()).unwrap(), "make");
    }
}
