//! Install caches that runners share: a folder that somebody filled beforehand, most often a volume that can only be read.
//! What is made of it is made while the runner waits for its session: a home whose npm finds there what it would fetch
//! otherwise, and a variable that tells pip where wheels are.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

/// Of npm's cache (`npm --cache DIR/npm`), below the folder, and where a home has its own.
const NPM: [&str; 2] = ["npm/_cacache", ".npm/_cacache"];
/// Wheels (`pip download --dest DIR/pip`), below the folder.
const PIP: &str = "pip";
const PIP_VARIABLE: &str = "PIP_FIND_LINKS";
/// How long a session that comes meanwhile waits: a volume that does not answer must not hold it up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Variables that commands get.
pub type Variables = Vec<(OsString, OsString)>;

/// What is being prepared.
pub struct Caches(watch::Receiver<Option<Variables>>);

impl Caches {
    /// Begins to prepare what `folder` holds for `home`; without one, nothing is to be done.
    pub fn prepare(folder: Option<PathBuf>, home: &Path) -> Self {
        let Some(folder) = folder else { return Self(watch::channel(Some(Variables::new())).1) };
        let (done, preparing) = watch::channel(None);
        let home = home.to_owned();
        // A thread that nobody waits for: one that hangs in a volume's system call cannot be ended, only left behind.
        let started = std::thread::Builder::new().name("caches".to_owned()).spawn(move || {
            let began = Instant::now();
            match link_npm(&folder.join(NPM[0]), &home.join(NPM[1])) {
                Ok(files) => tracing::info!(files, ms = began.elapsed().as_millis(), "npm's shared cache is linked"),
                Err(error) => tracing::warn!(%error, "npm's shared cache is not used"),
            }
            done.send_replace(Some(pip(&folder).into_iter().collect()));
        });
        if let Err(error) = started {
            tracing::warn!(%error, "install caches are not used");
        }
        Self(preparing)
    }

    /// What commands are to know of them, once all is in place.
    pub async fn variables(&self) -> Variables {
        self.within(PATIENCE).await
    }

    async fn within(&self, patience: Duration) -> Variables {
        let mut preparing = self.0.clone();
        match timeout(patience, preparing.wait_for(Option::is_some)).await {
            Ok(Ok(variables)) => variables.clone().unwrap_or_default(),
            Ok(Err(_)) => Variables::new(),
            Err(_) => {
                tracing::warn!("install caches do not answer; the session goes on without");
                Variables::new()
            }
        }
    }
}

fn pip(folder: &Path) -> Option<(OsString, OsString)> {
    let wheels = folder.join(PIP);
    wheels.is_dir().then(|| (PIP_VARIABLE.into(), wheels.into()))
}

/// Gives `own`, which must not be there yet, what the cache `shared` holds; says how many files that are. npm writes to its
/// cache even where it only reads: to the index, which is copied, and beside the contents, which are linked.
fn link_npm(shared: &Path, own: &Path) -> io::Result<usize> {
    if !shared.is_dir() || own.exists() {
        return Ok(0);
    }
    let mut files = 0;
    for entry in fs::read_dir(shared)? {
        let entry = entry?;
        let name = entry.file_name();
        // With their formats' numbers: `content-v2`, `index-v5`. The rest is npm's scratch.
        let bring: fn(&Path, &Path) -> io::Result<()> = match name.to_str() {
            Some(name) if name.starts_with("content-v") => |from, to| std::os::unix::fs::symlink(from, to),
            Some(name) if name.starts_with("index-v") => |from, to| fs::write(to, fs::read(from)?),
            _ => continue,
        };
        files += bring_all(&entry.path(), &own.join(&name), bring)?;
    }
    Ok(files)
}

/// Folders are made anew, so that others may be put beside what is brought.
fn bring_all(from: &Path, to: &Path, bring: fn(&Path, &Path) -> io::Result<()>) -> io::Result<usize> {
    let mut files = 0;
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            files += bring_all(&entry.path(), &to, bring)?;
        } else if kind.is_file() {
            bring(&entry.path(), &to)?;
            files += 1;
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(folder: &Path, path: &str, text: &str) {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[tokio::test]
    async fn contents_are_linked_the_index_is_copied_and_scratch_is_left() {
        let (shared, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        with_file(shared.path(), "npm/_cacache/content-v2/sha512/ab/cd/ef", "content");
        with_file(shared.path(), "npm/_cacache/index-v5/12/34/56", "index");
        with_file(shared.path(), "npm/_cacache/tmp/half", "half");
        with_file(shared.path(), "pip/x-1-py3-none-any.whl", "wheel");
        let caches = Caches::prepare(Some(shared.path().to_owned()), home.path());
        let wheels = shared.path().join("pip").into_os_string();
        assert_eq!(caches.variables().await, [("PIP_FIND_LINKS".into(), wheels)]);
        let own = home.path().join(".npm/_cacache");
        let content = own.join("content-v2/sha512/ab/cd/ef");
        assert!(content.is_symlink());
        assert_eq!(fs::read_to_string(content).unwrap(), "content");
        let index = own.join("index-v5/12/34/56");
        assert!(!index.is_symlink());
        assert_eq!(fs::read_to_string(index).unwrap(), "index");
        assert!(!own.join("tmp").exists());
    }

    #[tokio::test]
    async fn a_volume_that_never_answers_is_done_without() {
        let (_hangs, preparing) = watch::channel(None);
        assert!(Caches(preparing).within(Duration::from_millis(20)).await.is_empty());
    }

    #[tokio::test]
    async fn a_home_with_a_cache_of_its_own_keeps_it_and_a_folder_that_is_not_there_harms_nobody() {
        let (shared, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        with_file(shared.path(), "npm/_cacache/index-v5/12/34/56", "index");
        with_file(home.path(), ".npm/_cacache/index-v5/12/34/56", "own");
        assert!(Caches::prepare(Some(shared.path().to_owned()), home.path()).variables().await.is_empty());
        assert_eq!(fs::read_to_string(home.path().join(".npm/_cacache/index-v5/12/34/56")).unwrap(), "own");
        assert!(Caches::prepare(Some("/no/such".into()), home.path()).variables().await.is_empty());
        assert!(Caches::prepare(None, home.path()).variables().await.is_empty());
    }
}
