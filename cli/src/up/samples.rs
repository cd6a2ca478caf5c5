//! The code that `up` brings along, so that a first session needs no repository: a greeting for the printed `curl`
//! command, and the sample program for `--demo`. Written into the data directory at each start, so that it is this
//! version's.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use url::Url;

const HELLO: &str = r#"#!/bin/sh
# What the command that `cliscale up` prints runs: a greeting, then a shell.
printf '\033[1mHello from CLI Scale.\033[0m This is a live terminal in %s\n' "$PWD"
printf 'Type something; exit ends the session.\n\n'
exec "${SHELL:-/bin/sh}"
"#;

/// The sample program, without what npm fetches.
const DEMO: [(&str, &str); 6] = [
    ("index.js", include_str!("../../../sample-cli/index.js")),
    ("lib/agent.js", include_str!("../../../sample-cli/lib/agent.js")),
    ("lib/conversation.js", include_str!("../../../sample-cli/lib/conversation.js")),
    ("lib/spinner.js", include_str!("../../../sample-cli/lib/spinner.js")),
    ("package.json", include_str!("../../../sample-cli/package.json")),
    ("package-lock.json", include_str!("../../../sample-cli/package-lock.json")),
];

/// Writes the greeting; answers the folder as a `code_url`.
pub fn write_hello(data_dir: &Path) -> io::Result<Url> {
    let folder = data_dir.join("hello");
    fs::create_dir_all(&folder)?;
    let script = folder.join("hello.sh");
    fs::write(&script, HELLO)?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    folder_url(&folder)
}

/// Writes the sample program; answers its folder as a `code_url`. `CLISCALE_DEMO_DIR` names another one, for whoever
/// works on it.
pub fn write_demo(data_dir: &Path) -> io::Result<Url> {
    if let Some(folder) = std::env::var_os("CLISCALE_DEMO_DIR").filter(|folder| !folder.is_empty()) {
        return folder_url(&PathBuf::from(folder).canonicalize()?);
    }
    let folder = data_dir.join("demo");
    for (name, text) in DEMO {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs::write(path, text)?;
    }
    folder_url(&folder)
}

fn folder_url(folder: &Path) -> io::Result<Url> {
    Url::from_file_path(folder).map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_the_whole_sample_program() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-cli");
        let dir = tempfile::tempdir().unwrap();
        write_demo(dir.path()).unwrap();
        for folder in ["", "lib"] {
            for entry in fs::read_dir(sample.join(folder)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_file() && (name.ends_with(".js") || name.ends_with(".json")) {
                    let copy = dir.path().join("demo").join(folder).join(&name);
                    assert_eq!(fs::read(entry.path()).unwrap(), fs::read(copy).unwrap(), "{name}");
                }
            }
        }
    }

    #[test]
    fn the_greeting_can_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let url = write_hello(dir.path()).unwrap();
        let script = url.to_file_path().unwrap().join("hello.sh");
        let output = std::process::Command::new(script).env("SHELL", "true").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Hello from CLI Scale"));
    }
}
