//! Puts this program into a folder from which another image can run it, with what that image may lack: an entry of the
//! user that runners run as. It needs nothing beside it, so it does so from an image that holds this program alone.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The program's name in the folder.
pub const PROGRAM: &str = "cliscale-runner";
/// `passwd(5)` and `group(5)` for an image that does not know the user. Many programs end without an entry: `ssh`, whatever
/// asks Node.js for `os.userInfo()`, `git commit`, which also wants the name in the fifth field. The others are there for
/// listings.
const ENTRIES: [(&str, &str); 2] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         runner:x:10001:10001:CLI Scale:/workspace/home:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("group", "root:x:0:\nrunner:x:10001:\nnogroup:x:65534:\n"),
];

/// The program could not be put there.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {source}", path.display())]
pub struct InstallError {
    path: PathBuf,
    source: io::Error,
}

/// Installs this program and the user's entries into `folder`. Whoever reads any of them finds it whole.
pub fn install_to(folder: &Path) -> Result<(), InstallError> {
    let program = std::env::current_exe().and_then(File::open);
    put(folder, PROGRAM, 0o755, |file| io::copy(&mut program?, file).map(drop))?;
    for (name, text) in ENTRIES {
        put(folder, name, 0o644, |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}

fn put(
    folder: &Path,
    name: &str,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), InstallError> {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = NamedTempFile::new_in(folder)?;
        fill(file.as_file_mut())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| InstallError { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_installed_whole_and_over_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PROGRAM), "older").unwrap();
        install_to(folder.path()).unwrap();
        let installed = folder.path().join(PROGRAM);
        assert_eq!(std::fs::read(&installed).unwrap(), std::fs::read(std::env::current_exe().unwrap()).unwrap());
        let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(PROGRAM), mode("passwd"), mode("group")], [0o755, 0o644, 0o644]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named() {
        let error = install_to(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/folder/cliscale-runner cannot be written: "), "{error}");
    }
}
