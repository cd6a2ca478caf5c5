//! What the command finds around it: a shell, a folder, and an environment made from nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use session::{SessionId, SessionSecrets};

/// What the command is told that its terminal is, and what the page is.
pub const TERM: &str = "xterm-256color";

/// Looked through where this process has no PATH of its own.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names the runner in the environment of all that it starts.
const RUNNER_MARK: &str = "CLISCALE_RUNNER_ID";

/// Variables of a container that are not its commands': the launcher's, and what Kubernetes tells every container.
const WITHHELD: [&str; 2] = ["CLISCALE_", "KUBERNETES_"];

/// The environment and shell of everything that one session runs.
pub struct Environment {
    shell: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// Takes PATH, USER and TMPDIR over from this process, and nothing else of it, unless it has a `container` to
    /// itself: then what its image and its pod's template set is meant for commands. All others win over `defaults`.
    pub fn new(
        session: SessionId,
        secrets: &SessionSecrets,
        home: &Path,
        container: bool,
        defaults: Vec<(OsString, OsString)>,
    ) -> Self {
        let own = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = own("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let bash = std::env::split_paths(&path).map(|folder| folder.join("bash")).find(|file| file.is_file());
        let shell = bash.unwrap_or_else(|| PathBuf::from("/bin/sh"));
        let user = user_name().or_else(|| own("USER")).unwrap_or_else(|| "user".into());
        let mut variables = defaults;
        if container {
            variables.extend(of_container(home, std::env::vars_os()));
        }
        variables.extend([
            ("PATH".into(), path),
            ("HOME".into(), home.into()),
            ("TERM".into(), TERM.into()),
            ("COLORTERM".into(), "truecolor".into()),
            ("LANG".into(), own("LANG").filter(|_| container).unwrap_or_else(|| "C.UTF-8".into())),
            ("SHELL".into(), shell.clone().into()),
            ("USER".into(), user.clone()),
            ("LOGNAME".into(), user),
            ("TMPDIR".into(), own("TMPDIR").unwrap_or_else(|| "/tmp".into())),
        ]);
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

    /// Whether there is anything to run commands with.
    pub fn has_shell(&self) -> bool {
        self.shell.exists()
    }

    /// `bash -lc LINE` (or `sh -lc LINE`) in `folder`.
    pub fn command(&self, line: &str, folder: &Path) -> Command {
        let mut command = Command::new(&self.shell);
        command.args(["-lc", line]).current_dir(folder).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// What commands get of a container's own variables. First come those without which npm, pip and git do not work for a user
/// who may write to his home alone and is no person; an image may say otherwise.
fn of_container(home: &Path, given: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = vec![
        ("NPM_CONFIG_PREFIX".into(), home.join(".local").into()),
        ("PIP_BREAK_SYSTEM_PACKAGES".into(), "1".into()),
        ("EMAIL".into(), "runner@localhost".into()),
    ];
    let withheld =
        |name: &OsString| WITHHELD.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
    variables.extend(given.filter(|(name, _)| !withheld(name)));
    variables
}

/// By `passwd(5)` itself and not by the C library, which in a static program would load the name services of an image that
/// it was not built with.
fn user_name() -> Option<OsString> {
    let own = nix::unistd::getuid().to_string();
    let entries = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut entries = entries.lines().map(|line| line.split(':'));
    entries.find_map(|mut entry| {
        let name = entry.next()?;
        (entry.nth(1)? == own).then(|| name.into())
    })
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
    fn a_container_gives_its_variables_but_for_the_launchers() {
        let given =
            [("GOPATH", "/go"), ("EMAIL", "a@b"), ("CLISCALE_BOOT_TOKEN", "t"), ("KUBERNETES_SERVICE_HOST", "k")];
        let found = of_container(Path::new("/h"), given.into_iter().map(|(name, value)| (name.into(), value.into())));
        let found: std::collections::BTreeMap<_, _> = found.into_iter().collect();
        let found: Vec<_> =
            found.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        assert_eq!(found, ["EMAIL=a@b", "GOPATH=/go", "NPM_CONFIG_PREFIX=/h/.local", "PIP_BREAK_SYSTEM_PACKAGES=1"]);
    }

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
