//! The database: the settings that name it and bound what a process takes of it, and opening it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use session::Secret;
use store::postgres::{Part, PostgresConfig, PostgresStore, PostgresUrl};
use store::sqlite::SqliteStore;
use store::{SealKey, Store, StoreError};

use crate::Settings;

/// `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS` as libpq reads it. Shown without the
/// password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// The error does not repeat the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return text.parse().map(Self::Postgres).map_err(|error| format!("{error}"));
        }
        match text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("expected postgres://USER@HOST/DATABASE or sqlite:PATH".to_owned()),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl DatabaseUrl {
    /// Takes the password from a file, as Secrets are mounted; a line end after it does not count.
    pub fn read_password(&mut self, file: &Path) -> Result<(), String> {
        let Self::Postgres(url) = self else { return Err("only PostgreSQL has a password".to_owned()) };
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(format!("{}: it is empty", file.display())),
            password => {
                url.set_password(&Secret::new(password));
                Ok(())
            }
        }
    }
}

/// The flags of every process that opens the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseFlags {
    /// The database: postgres://USER@HOST/DATABASE?sslmode=verify-full or sqlite:PATH.
    #[arg(long, env = "CLISCALE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file with the password for PostgreSQL; left out: the URL's own.
    #[arg(long, env = "CLISCALE_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    database_password_file: Option<String>,
    /// Seconds to wait at the start for a PostgreSQL that is away.
    #[arg(long, env = "CLISCALE_DATABASE_WAIT_SECS", value_name = "SECONDS", default_value = "60")]
    database_wait_secs: String,
    /// Connections to PostgreSQL at most, beside one that listens for changes.
    #[arg(long, env = "CLISCALE_DATABASE_CONNECTIONS", value_name = "N", default_value = "8")]
    database_connections: String,
    /// Milliseconds that a connection to PostgreSQL may take to be made, and again to become free.
    #[arg(long, env = "CLISCALE_DATABASE_CONNECT_TIMEOUT_MS", value_name = "MS", default_value = "3000")]
    database_connect_timeout_ms: String,
    /// Milliseconds that a statement may take in PostgreSQL.
    #[arg(long, env = "CLISCALE_DATABASE_STATEMENT_TIMEOUT_MS", value_name = "MS", default_value = "5000")]
    database_statement_timeout_ms: String,
    /// Milliseconds of that which a statement may wait for a lock.
    #[arg(long, env = "CLISCALE_DATABASE_LOCK_TIMEOUT_MS", value_name = "MS", default_value = "3000")]
    database_lock_timeout_ms: String,
}

impl DatabaseFlags {
    pub fn read(&self, settings: &mut Settings) -> Option<DatabaseConfig> {
        let flag = "--database-url";
        let text = self.database_url.as_deref().unwrap_or_default().trim();
        // Not through `read`, whose error would repeat the text.
        let mut url = text.parse::<DatabaseUrl>().map_err(|error| settings.refuse(flag, error)).ok();
        let flag = "--database-password-file";
        if let Some(file) = settings.read_optional::<PathBuf>(flag, &self.database_password_file)
            && let Some(Err(why)) = url.as_mut().map(|url| url.read_password(&file))
        {
            settings.refuse(flag, why);
        }
        let wait = settings.read_range("--database-wait-secs", &self.database_wait_secs, 0, 86_400);
        let connections = settings.read_range("--database-connections", &self.database_connections, 1, 1000);
        let mut millis = |flag, text: &String| settings.read_range(flag, text, 1, 600_000).map(Duration::from_millis);
        let connect = millis("--database-connect-timeout-ms", &self.database_connect_timeout_ms);
        let statement = millis("--database-statement-timeout-ms", &self.database_statement_timeout_ms);
        let lock = millis("--database-lock-timeout-ms", &self.database_lock_timeout_ms);
        Some(DatabaseConfig {
            url: url?,
            wait: Duration::from_secs(wait?),
            connections: connections?,
            connect_timeout: connect?,
            statement_timeout: statement?,
            lock_timeout: lock?,
        })
    }
}

/// Which database, and how much of it; all but the URL is PostgreSQL's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    pub url: DatabaseUrl,
    /// How long opening waits where the database is away.
    pub wait: Duration,
    pub connections: usize,
    /// For a connection to be made, and for one to become free.
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    pub lock_timeout: Duration,
}

impl From<DatabaseUrl> for DatabaseConfig {
    fn from(url: DatabaseUrl) -> Self {
        Self {
            url,
            wait: Duration::from_secs(60),
            connections: 8,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(3),
        }
    }
}

/// Opens the database for a server that is about to serve as `part`. A file is brought up to date. PostgreSQL is not,
/// since servers have no right to that: its schema must not be older than this release (`cliscale-controller migrate up`).
pub async fn open(config: &DatabaseConfig, key: SealKey, part: Part) -> Result<Arc<dyn Store>, StoreError> {
    match &config.url {
        DatabaseUrl::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, key).await?)),
        DatabaseUrl::Postgres(url) => {
            let settings = PostgresConfig {
                url: url.clone(),
                max_connections: config.connections,
                connect_timeout: config.connect_timeout,
                wait_timeout: config.connect_timeout,
                statement_timeout: config.statement_timeout,
                lock_timeout: config.lock_timeout,
            };
            let store = PostgresStore::open(&settings, key, config.wait).await?;
            if let Err(error) = store.rehearse(part).await {
                tracing::warn!(%error, "the database cannot be prepared for the first sessions, which start later");
            }
            Ok(Arc::new(store))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        database: DatabaseFlags,
    }

    fn read(arguments: &[&str]) -> Result<DatabaseConfig, crate::ConfigErrors> {
        let flags = Flags::try_parse_from(["x"].iter().chain(arguments)).unwrap();
        let mut settings = Settings::default();
        let config = flags.database.read(&mut settings);
        settings.finish(|| config)
    }

    #[test]
    fn the_defaults_are_those_of_a_url_alone() {
        for url in ["sqlite:/d/c.db", "postgres://u:hunter2@h/d"] {
            let config = read(&["--database-url", url]).unwrap();
            assert_eq!(config, DatabaseConfig::from(url.parse::<DatabaseUrl>().unwrap()));
            assert!(!format!("{config:?} {}", config.url).contains("hunter2"));
        }
    }

    #[test]
    fn everything_that_is_wrong_is_reported_and_no_password() {
        let errors = read(&[
            "--database-url=postgres://u:hunter2@h:hunter2/d",
            "--database-wait-secs=x",
            "--database-connections=0",
            "--database-connect-timeout-ms=0",
            "--database-statement-timeout-ms=-1",
            "--database-lock-timeout-ms=1e9",
        ]);
        let text = errors.unwrap_err().to_string();
        assert_eq!(text.matches("\n  --database-").count(), 6, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        for url in ["", "mysql://u:hunter2@h/d", "sqlite:"] {
            let text = read(&["--database-url", url]).unwrap_err().to_string();
            assert!(
                text.contains("postgres://USER@HOST/DATABASE or sqlite:PATH") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_is_read_from_its_file() {
        let file = std::env::temp_dir().join(format!("cliscale-password-{}", std::process::id()));
        let arguments = |url| [url, "--database-password-file".to_owned(), file.display().to_string()];
        let read = |url: &str| read(&arguments(format!("--database-url={url}")).each_ref().map(String::as_str));
        let text = read("postgres://u@h/d").unwrap_err().to_string();
        assert!(text.contains("--database-password-file"), "{text}");
        fs::write(&file, "hunter2\n").unwrap();
        let with_file = read("postgres://u:other@h/d");
        let for_sqlite = read("sqlite:/d/c.db");
        fs::remove_file(&file).unwrap();
        assert_eq!(with_file.unwrap().url, "postgres://u:hunter2@h/d".parse().unwrap());
        assert!(for_sqlite.unwrap_err().to_string().contains("only PostgreSQL has a password"));
    }
}
