//! Which server a command talks to: the one that is named, else a `cliscale up` that runs on this machine.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use session::Secret;
use url::Url;

use super::{ApiError, Client};
use crate::up::data_dir;

/// Beside the data directory's lock: where the server that holds the lock answers.
pub const SERVER_FILE: &str = "server.json";

/// A server that runs from a data directory on this machine. Meant only while that directory's lock is held: a file
/// left by a killed server names a port that may be somebody else's by now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalServer {
    pub api_url: String,
    pub api_key_file: PathBuf,
    pub pid: u32,
    pub version: String,
}

/// How a server is named. The key itself is never a flag: process listings show flags to everybody.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server's address [default: a `cliscale up` that runs on this machine]
    #[arg(long, value_name = "URL", env = "CLISCALE_SERVER")]
    pub server: Option<String>,
    /// A file that holds the API key (or set CLISCALE_API_KEY to the key itself)
    #[arg(long, value_name = "FILE", env = "CLISCALE_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Where a local server keeps its data [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "CLISCALE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// A server that was found.
pub struct Server {
    pub client: Client,
    /// It serves this machine's folders.
    pub local: bool,
}

/// Why no server could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("--server (CLISCALE_SERVER): {0:?} is not an http or https address")]
    NotAnAddress(String),
    #[error("{0} needs an API key: set CLISCALE_API_KEY, or name a file with --api-key-file (CLISCALE_API_KEY_FILE)")]
    NoKey(Url),
    #[error("the API key file {}: {source}", path.display())]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error("the API key file {} holds no key", .0.display())]
    EmptyKeyFile(PathBuf),
    #[error("no server runs from {}: start one with `cliscale up`, or name one with --server (CLISCALE_SERVER)", .0.display())]
    NoneRuns(PathBuf),
    #[error("no home directory is known: name the data directory with --data-dir (CLISCALE_DATA_DIR)")]
    NoDataDir,
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ServerArgs {
    /// The server to use, or `None` when none is named and none runs here.
    pub fn find(&self) -> Result<Option<Server>, ServerError> {
        let named = self.server.as_deref().filter(|text| !text.trim().is_empty());
        let Some(named) = named else { return self.find_local() };
        let url = Url::parse(named.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| ServerError::NotAnAddress(named.to_owned()))?;
        let key = match self.key()? {
            Some(key) => key,
            None => return Err(ServerError::NoKey(url)),
        };
        let client = Client::new(url, key)?;
        let local = client.is_loopback();
        Ok(Some(Server { client, local }))
    }

    /// The server to use; the error says how to get one.
    pub fn require(&self) -> Result<Server, ServerError> {
        match self.find()? {
            Some(server) => Ok(server),
            None => Err(ServerError::NoneRuns(self.local_dir()?)),
        }
    }

    fn find_local(&self) -> Result<Option<Server>, ServerError> {
        let Some(found) = data_dir::running_server(&self.local_dir()?) else { return Ok(None) };
        let key = match self.key()? {
            Some(key) => key,
            None => read_key(&found.api_key_file)?,
        };
        let url = Url::parse(&found.api_url).map_err(|_| ServerError::NotAnAddress(found.api_url))?;
        Ok(Some(Server { client: Client::new(url, key)?, local: true }))
    }

    fn local_dir(&self) -> Result<PathBuf, ServerError> {
        self.data_dir.clone().or_else(data_dir::default_path).ok_or(ServerError::NoDataDir)
    }

    fn key(&self) -> Result<Option<Secret>, ServerError> {
        match std::env::var("CLISCALE_API_KEY").ok().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()) {
            Some(key) => Ok(Some(Secret::new(key))),
            None => self.api_key_file.as_deref().map(read_key).transpose(),
        }
    }
}

fn read_key(path: &Path) -> Result<Secret, ServerError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ServerError::KeyFile { path: path.to_owned(), source })?;
    match text.trim() {
        "" => Err(ServerError::EmptyKeyFile(path.to_owned())),
        key => Ok(Secret::new(key)),
    }
}
