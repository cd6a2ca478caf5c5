//! The data directory: private to its owner, held by one server at a time, and what lies where in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::{LocalServer, SERVER_FILE};

/// Held for as long as a server runs; its text is the holder's process id.
const LOCK_FILE: &str = "cliscale.lock";
/// A command that looks for a running server holds the lock for an instant; nobody who holds it longer is a command.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(30);

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the data directory {} is used by another server, process {pid}; stop that one, or name another directory with --data-dir (CLISCALE_DATA_DIR)", path.display())]
    Held { path: PathBuf, pid: String },
    #[error("the data directory {} belongs to another user", .0.display())]
    Foreign(PathBuf),
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock goes with the open file, so it is gone with the process, however that ends.
    _lock: File,
}

impl DataDir {
    /// Creates the directory where it is missing, makes it private, and takes its lock.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        make_private(&path)?;
        let lock = take_lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database(&self) -> PathBuf {
        self.path.join("cliscale.db")
    }

    pub fn encryption_key(&self) -> PathBuf {
        self.path.join("encryption.key")
    }

    pub fn signing_keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    pub fn api_key(&self) -> PathBuf {
        self.path.join("api-key")
    }

    /// Where sessions' workspaces are.
    pub fn work_dir(&self) -> PathBuf {
        self.path.join("workspaces")
    }

    /// Where runners log.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Tells other commands where this server answers.
    pub fn publish(&self, server: &LocalServer) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        serde_json::to_writer_pretty(&mut file, server)?;
        file.persist(self.path.join(SERVER_FILE)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Takes that back.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(self.path.join(SERVER_FILE));
    }
}

/// Others may not look into it: the database tells commands, and the files beside it are keys.
fn make_private(path: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(DataDirError::Foreign(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

fn take_lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK_FILE);
    let failed = |source| DataDirError::Io { path: path.clone(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim().parse::<u32>().map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string());
                return Err(DataDirError::Held { path: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// The server that runs from a data directory now, if one does. Its file alone would not tell: a killed server leaves
/// one that names a port which may be anybody's by now.
pub fn running_server(dir: &Path) -> Option<LocalServer> {
    let lock = File::open(dir.join(LOCK_FILE)).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Ok(()) | Err(TryLockError::Error(_)) => return None,
    }
    serde_json::from_slice(&fs::read(dir.join(SERVER_FILE)).ok()?).ok()
}

/// `$XDG_DATA_HOME/cliscale` or `~/.local/share/cliscale`; on macOS `~/Library/Application Support/cliscale`.
pub fn default_path() -> Option<PathBuf> {
    dirs::data_dir().map(|dir| dir.join("cliscale"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> LocalServer {
        LocalServer { api_url: "http://127.0.0.1:1".into(), api_key_file: "/k".into(), pid: 7, version: "0".into() }
    }

    #[test]
    fn the_second_start_is_told_who_holds_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a b/data");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let text = DataDir::open(&path).unwrap_err().to_string();
        assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("--data-dir"), "{text}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_server_is_found_only_while_it_holds_its_directory() {
        let parent = tempfile::tempdir().unwrap();
        assert!(running_server(parent.path()).is_none());
        let dir = DataDir::open(parent.path()).unwrap();
        assert!(running_server(parent.path()).is_none());
        dir.publish(&server()).unwrap();
        assert_eq!(running_server(parent.path()).unwrap().pid, 7);
        // Killed: the lock is gone, the file is still there.
        drop(dir);
        assert!(running_server(parent.path()).is_none());
        DataDir::open(parent.path()).unwrap().withdraw();
    }

    #[test]
    fn a_directory_that_was_open_to_others_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
        let _dir = DataDir::open(parent.path()).unwrap();
        assert_eq!(fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
