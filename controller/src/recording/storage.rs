//! The folder or bucket, and what lies where in it: chunks at `{session}/{epoch}-{number}.cast`, and the whole recording at
//! `{session}/recording.cast`, below the configured URL.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use session::SessionId;
use url::Url;

/// Where the whole recording is, in its session's folder. It sorts after every chunk.
const JOINED: &str = "recording.cast";
/// Digits that keep chunks in order wherever they are listed.
const DIGITS: usize = 10;

/// Why the store cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the folder {}: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] object_store::Error),
    #[error("{0}")]
    Url(String),
}

/// Reads a URL, as far as that is possible without asking anybody.
pub fn check_url(text: &str) -> Result<Url, String> {
    let expected = "expected file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
    let url = Url::parse(text).map_err(|error| format!("{error}; {expected}"))?;
    let known = match url.scheme() {
        "file" => url.to_file_path().is_ok_and(|path| path.parent().is_some()),
        "s3" | "gs" | "az" => url.has_host(),
        _ => false,
    };
    // Credentials in a URL would be in every listing of processes.
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if known && plain { Ok(url) } else { Err(expected.to_owned()) }
}

#[derive(Clone)]
pub struct Storage {
    pub store: Arc<dyn ObjectStore>,
    /// Where it is a folder.
    pub folder: Option<PathBuf>,
    name: String,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Storage {
    pub fn open(url: &Url, options: &[(String, String)]) -> Result<Self, OpenError> {
        let name = url.to_string();
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| OpenError::Url("is no folder".to_owned()))?;
            make_private(&path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
            let store = LocalFileSystem::new_with_prefix(&path)?.with_automatic_cleanup(true);
            return Ok(Self { store: Arc::new(store), folder: Some(path), name });
        }
        // The clients are built without a provider of their own; a second installation changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (_, prefix) = ObjectStoreScheme::parse(url).map_err(|error| OpenError::Url(error.to_string()))?;
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" => Arc::new(PrefixStore::new(s3(url, options)?, prefix)),
            "gs" => Arc::new(PrefixStore::new(google(url, options)?, prefix)),
            _ => Arc::new(PrefixStore::new(azure(url, options)?, prefix)),
        };
        Ok(Self { store, folder: None, name })
    }

    pub fn folder_of(session: SessionId) -> Path {
        Path::from(session.to_string())
    }

    pub fn joined(session: SessionId) -> Path {
        Path::from(format!("{session}/{JOINED}"))
    }

    pub fn chunk(session: SessionId, epoch: u64, number: u64) -> Path {
        Path::from(format!("{session}/{epoch:0DIGITS$}-{number:0DIGITS$}.cast"))
    }
}

/// What an object is, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chunk { epoch: u64, number: u64 },
    Joined,
}

/// `None`: nothing of ours.
pub fn read_path(path: &Path) -> Option<(SessionId, Kind)> {
    let (session, name) = path.as_ref().split_once('/')?;
    let session = session.parse().ok()?;
    if name == JOINED {
        return Some((session, Kind::Joined));
    }
    let (epoch, number) = name.strip_suffix(".cast")?.split_once('-')?;
    Some((session, Kind::Chunk { epoch: epoch.parse().ok()?, number: number.parse().ok()? }))
}

/// What a terminal showed is nobody else's.
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Not for long: a runner that waits for an answer asks again by itself.
fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: 2, retry_timeout: Duration::from_secs(10) }
}

type Options = [(String, String)];

fn s3(url: &Url, options: &Options) -> object_store::Result<object_store::aws::AmazonS3> {
    use AmazonS3ConfigKey::{Client, Endpoint, S3Endpoint};
    let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry());
    for (key, value) in options {
        builder = builder.with_config(key.to_lowercase().parse()?, value);
    }
    let endpoint = builder.get_config_value(&S3Endpoint).or_else(|| builder.get_config_value(&Endpoint));
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        // Whoever names such an address wants it so; the system's certificates are not looked for, and may be missing.
        builder = builder.with_allow_http(true).with_config(Client(ClientConfigKey::NoSystemCertificates), "true");
    }
    builder.build()
}

fn google(url: &Url, options: &Options) -> object_store::Result<object_store::gcp::GoogleCloudStorage> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry());
    for (key, value) in options {
        builder = builder.with_config(key.to_lowercase().parse()?, value);
    }
    builder.build()
}

fn azure(url: &Url, options: &Options) -> object_store::Result<object_store::azure::MicrosoftAzure> {
    let mut builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry());
    for (key, value) in options {
        builder = builder.with_config(key.to_lowercase().parse()?, value);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_store_is_opened_without_being_asked() {
        let options = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let keys = options(&[("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "r")]);
        let azure = options(&[("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")]);
        let account = r#"{"gcs_base_url":"http://h","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}"#;
        let google = options(&[("GOOGLE_SERVICE_ACCOUNT_KEY", account)]);
        for (url, options) in [("s3://bucket/a", keys), ("az://container/a", azure), ("gs://bucket/a", google)] {
            let opened = Storage::open(&check_url(url).unwrap(), &options);
            assert_eq!(format!("{:?}", opened.unwrap_or_else(|error| panic!("{url}: {error}"))), url);
        }
        let unknown = options(&[("AWS_NO_SUCH_THING", "x")]);
        assert!(Storage::open(&check_url("s3://bucket").unwrap(), &unknown).is_err());
    }

    #[test]
    fn a_url_is_of_a_folder_or_a_bucket_and_holds_no_credentials() {
        for good in ["file:///var/recordings", "s3://bucket", "s3://bucket/a/b", "gs://bucket/a", "az://container/a"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "recordings",
            "file:///",
            "https://h.example/x",
            "s3://",
            "s3://key:secret@bucket",
            "s3://bucket?key=x",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_say_what_is_there() {
        let session = SessionId::new();
        let chunk = Storage::chunk(session, 2, 17);
        assert_eq!(chunk.as_ref(), format!("{session}/0000000002-0000000017.cast"));
        assert_eq!(read_path(&chunk), Some((session, Kind::Chunk { epoch: 2, number: 17 })));
        assert_eq!(read_path(&Storage::joined(session)), Some((session, Kind::Joined)));
        assert!(Storage::chunk(session, u64::from(u32::MAX), 9).as_ref() < Storage::joined(session).as_ref());
        for other in ["x/recording.cast", "recording.cast", &format!("{session}/other"), &format!("{session}/a-b.cast")]
        {
            assert_eq!(read_path(&Path::from(other)), None, "{other}");
        }
    }
}
