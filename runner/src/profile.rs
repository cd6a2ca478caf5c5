//! The login profile of a home that is new. Login shells read `/etc/profile` first, which on Debian and others sets PATH
//! anew; an image that has its programs elsewhere, as those of Go and Rust do, would have them no more.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Read by `bash` where a home has no `.bash_profile`, and by every other `sh`.
const FILE: &str = ".profile";
/// Where npm and pip put programs that are installed for one user.
const OWN_PROGRAMS: &str = ".local/bin";

/// Writes the profile of `home`, unless it has one.
pub fn write(home: &Path) -> io::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match OpenOptions::new().write(true).create_new(true).open(home.join(FILE)) {
        Ok(mut file) => file.write_all(&text(path.as_bytes())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Puts what PATH lacks of `path` before it, in its order, and the user's own programs before all.
fn text(path: &[u8]) -> Vec<u8> {
    let mut text =
        b"# The image's own PATH, which login shells set anew, and the programs of this user.\nlacking=\n".to_vec();
    // No variable holds a NUL, which is all that cannot be quoted.
    let folders = path.split(|byte| *byte == b':').filter(|folder| !folder.is_empty());
    for folder in folders.filter_map(|folder| shlex::bytes::try_quote(folder).ok()) {
        text.extend_from_slice(b"case \":$PATH:\" in *:");
        text.extend_from_slice(&folder);
        text.extend_from_slice(b":*) ;; *) lacking=\"$lacking\"");
        text.extend_from_slice(&folder);
        text.extend_from_slice(b": ;; esac\n");
    }
    text.extend_from_slice(
        format!("PATH=\"$HOME/{OWN_PROGRAMS}:$lacking$PATH\"\nunset lacking\nexport PATH\n").as_bytes(),
    );
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// PATH after a shell in which it was `before` read the profile of an image whose PATH is `image`.
    fn path_after(before: &str, image: &str) -> String {
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join(FILE);
        std::fs::write(&profile, text(image.as_bytes())).unwrap();
        let line = ". \"$HOME/.profile\"; printf %s \"$PATH\"";
        let run = Command::new("/bin/sh").args(["-c", line]).env("PATH", before).env("HOME", home.path()).output();
        let run = run.unwrap();
        assert!(run.stderr.is_empty(), "{run:?}");
        String::from_utf8(run.stdout).unwrap().replace(home.path().to_str().unwrap(), "~")
    }

    #[test]
    fn what_a_login_shell_dropped_of_the_images_path_comes_back_in_its_order() {
        let image = "/go/bin:/usr/local/go/bin:/usr/bin:/it's a $HOME/bin:/bin";
        assert_eq!(
            path_after("/usr/bin:/bin", image),
            "~/.local/bin:/go/bin:/usr/local/go/bin:/it's a $HOME/bin:/usr/bin:/bin"
        );
        assert_eq!(path_after("/usr/bin:/bin", ""), "~/.local/bin:/usr/bin:/bin");
    }

    #[test]
    fn a_home_that_has_a_profile_keeps_it() {
        let home = tempfile::tempdir().unwrap();
        write(home.path()).unwrap();
        std::fs::write(home.path().join(FILE), "mine").unwrap();
        write(home.path()).unwrap();
        assert_eq!(std::fs::read_to_string(home.path().join(FILE)).unwrap(), "mine");
    }
}
