//! What the fetch tests share: a workspace in a folder that is watched, a terminal that records, archives by hand.
#![allow(dead_code)] // Each test file uses its part.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use runner::fetch::{FetchError, FetchLimits, FetchRequest, Fetched, fetch};
use session::runner_api::FetchPolicy;
use session::{AllowedHosts, CodeSource};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A fetch into a workspace of its own. What lies beside the workspace must not change.
pub struct Scene {
    folder: TempDir,
    pub request: FetchRequest,
    pub limits: FetchLimits,
    pub cancel: CancellationToken,
    terminal: Arc<Mutex<String>>,
}

impl Scene {
    /// Fetches `url`, private addresses allowed.
    pub fn new(url: impl AsRef<str>) -> Self {
        let source = CodeSource::parse(url.as_ref(), true).expect("a code URL");
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().join("workspace");
        fs::create_dir(&workspace).unwrap();
        fs::write(folder.path().join("beside"), "untouched").unwrap();
        let policy = FetchPolicy { allowed_hosts: AllowedHosts::any(), allow_private: true, allow_local: true };
        let request = FetchRequest { source, checksum_sha256: None, auth: None, policy, workspace, in_place: false };
        Self {
            folder,
            request,
            limits: FetchLimits::default(),
            cancel: CancellationToken::new(),
            terminal: Arc::default(),
        }
    }

    pub async fn run(&self) -> Result<Fetched, FetchError> {
        let terminal = self.terminal.clone();
        let say = Arc::new(move |text: &str| terminal.lock().unwrap().push_str(text));
        let outcome = fetch(self.request.clone(), &self.limits, say, self.cancel.clone()).await;
        self.check_surroundings();
        if outcome.is_err() {
            assert_eq!(listing(self.workspace()), Vec::<String>::new(), "a failed fetch leaves the workspace empty");
        }
        outcome
    }

    /// The folder that was fetched.
    pub async fn fetched(&self) -> PathBuf {
        match self.run().await {
            Ok(fetched) => fetched.folder,
            Err(error) => panic!("{} -- {}", error.detail(), self.terminal()),
        }
    }

    /// The sentence that the user sees of a fetch that fails.
    pub async fn refusal(&self) -> String {
        match self.run().await {
            Ok(fetched) => panic!("fetched {:?}", listing(&fetched.folder)),
            Err(error) => error.to_string(),
        }
    }

    pub fn workspace(&self) -> &Path {
        &self.request.workspace
    }

    /// The folder that holds the workspace and a file beside it.
    pub fn outside(&self) -> &Path {
        self.folder.path()
    }

    pub fn terminal(&self) -> String {
        self.terminal.lock().unwrap().clone()
    }

    fn check_surroundings(&self) {
        let mut beside =
            fs::read_dir(self.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        beside.sort();
        assert_eq!(beside, ["beside", "workspace"], "nothing is written outside the workspace");
        assert_eq!(fs::read(self.outside().join("beside")).unwrap(), b"untouched");
    }
}

/// Everything below a folder, sorted: folders end in a slash, links show their target.
pub fn listing(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, out: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                out.push(format!("{name} -> {}", fs::read_link(entry.path()).unwrap().display()));
            } else if kind.is_dir() {
                out.push(format!("{name}/"));
                walk(&entry.path(), &format!("{name}/"), out);
            } else {
                out.push(name);
            }
        }
    }
    let mut out = Vec::new();
    walk(folder, "", &mut out);
    out.sort();
    out
}

pub fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Waits until something holds, for at most ten seconds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An entry of a tar archive, whatever it is called and points to.
pub struct TarEntry<'a> {
    pub name: &'a [u8],
    pub kind: u8,
    pub mode: u32,
    pub target: &'a [u8],
    pub content: &'a [u8],
}

pub fn file<'a>(name: &'a str, content: &'a str) -> TarEntry<'a> {
    TarEntry { name: name.as_bytes(), kind: b'0', mode: 0o644, target: b"", content: content.as_bytes() }
}

pub fn folder(name: &str) -> TarEntry<'_> {
    TarEntry { name: name.as_bytes(), kind: b'5', mode: 0o755, target: b"", content: b"" }
}

/// `kind`: 1 hard link, 2 symbolic link, 3 and 4 devices, 6 pipe.
pub fn special<'a>(name: &'a str, kind: u8, target: &'a str) -> TarEntry<'a> {
    TarEntry { name: name.as_bytes(), kind, mode: 0o777, target: target.as_bytes(), content: b"" }
}

pub fn link<'a>(name: &'a str, target: &'a str) -> TarEntry<'a> {
    special(name, b'2', target)
}

pub fn hard_link<'a>(name: &'a str, target: &'a str) -> TarEntry<'a> {
    special(name, b'1', target)
}

/// A tar archive without any of the checks that writers make.
pub fn tar(entries: &[TarEntry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..entry.name.len()].copy_from_slice(entry.name);
        old.linkname[..entry.target.len()].copy_from_slice(entry.target);
        header.set_mode(entry.mode);
        header.set_size(entry.content.len() as u64);
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(entry.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn tar_gz(entries: &[TarEntry<'_>]) -> Vec<u8> {
    gzip(&tar(entries))
}

/// A zip archive; `mode` with kind bits, as Unix has them.
pub fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (at, (name, mode, content)) in entries.iter().enumerate() {
        // The writer refuses a name twice, so the name is written as a placeholder of the same length first.
        let placeholder = format!("{at:0>width$}", width = name.len());
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode & 0o777);
        out.start_file(placeholder, options).unwrap();
        out.write_all(content).unwrap();
    }
    let mut bytes = out.finish().unwrap().into_inner();
    let central = find(&bytes, b"PK\x01\x02").unwrap_or(bytes.len());
    let (mut local_at, mut central_at) = (0, central);
    for (at, (name, mode, _)) in entries.iter().enumerate() {
        let placeholder = format!("{at:0>width$}", width = name.len());
        local_at += find(&bytes[local_at..], b"PK\x03\x04").unwrap() + 30;
        assert_eq!(&bytes[local_at..local_at + name.len()], placeholder.as_bytes());
        bytes[local_at..local_at + name.len()].copy_from_slice(name.as_bytes());
        central_at += find(&bytes[central_at..], b"PK\x01\x02").unwrap();
        bytes[central_at + 5] = 3; // made by Unix
        bytes[central_at + 38..central_at + 42].copy_from_slice(&(mode << 16).to_le_bytes());
        central_at += 46;
        bytes[central_at..central_at + name.len()].copy_from_slice(name.as_bytes());
    }
    bytes
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}
