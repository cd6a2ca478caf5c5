//! `cliscale-controller migrate`: brings the database's schema up to date, one step back, or into words. It needs
//! nothing but the database's address.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use service::database::DatabaseUrl;
use service::telemetry::LogFormat;
use service::{ConfigErrors, Settings, Shutdown};
use store::migrations::{self, Limits, MigrateError, Migrator, State, Status};
use store::postgres::PostgresConfig;
use tokio::time::Instant;

/// Migrations are pending: what `status` exits with, so that a script can tell.
const PENDING: u8 = 3;

/// Bring the database's schema up to date, or back.
///
/// Exits with 0 when all is well, 1 when it failed, 2 when the settings cannot be used, and `status` with 3 when
/// migrations are pending.
#[derive(Debug, Clone, Args)]
pub struct MigrateFlags {
    #[command(subcommand)]
    action: Option<Action>,
    /// The database: postgres://USER@HOST/DATABASE or sqlite:PATH.
    #[arg(long, env = "CLISCALE_DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// A file with the password for PostgreSQL; left out: the URL's own.
    #[arg(long, env = "CLISCALE_DATABASE_PASSWORD_FILE", value_name = "FILE", global = true)]
    database_password_file: Option<String>,
    /// Seconds to wait for the database, for another migration, and for locks, all together.
    #[arg(long, env = "CLISCALE_WAIT_SECS", value_name = "SECONDS", default_value = "60", global = true)]
    wait_secs: String,
    /// Milliseconds to wait for a lock before giving way to those who wait behind, and trying again (PostgreSQL).
    #[arg(long, env = "CLISCALE_LOCK_TIMEOUT_MS", value_name = "MS", default_value = "2000", global = true)]
    lock_timeout_ms: String,
    /// Seconds that one statement of a migration may take (PostgreSQL).
    #[arg(long, env = "CLISCALE_STATEMENT_TIMEOUT_SECS", value_name = "SECONDS", default_value = "600", global = true)]
    statement_timeout_secs: String,
    /// text or json.
    #[arg(long, env = "CLISCALE_LOG_FORMAT", value_name = "text|json", default_value = "text", global = true)]
    log_format: String,
    /// What is logged, such as info or warn,controller=debug.
    #[arg(long, env = "CLISCALE_LOG", value_name = "FILTER", default_value = "info", global = true)]
    log: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Apply what is pending; what is done when nothing is said.
    Up,
    /// List every migration and how it stands. Changes nothing.
    Status,
    /// Take the last migration back, with all data that it made room for.
    Rollback,
    /// Write the files of a new migration, in a source checkout.
    Create {
        /// In lower_snake, such as add_zone.
        name: String,
    },
}

/// What the settings say, read.
struct Config {
    database: DatabaseUrl,
    limits: Limits,
    log_format: LogFormat,
}

/// Why it failed, for whoever ran it.
enum Failure {
    Settings(ConfigErrors),
    Migrate(MigrateError),
    /// It may have worked later.
    GaveUp(Duration, MigrateError),
    Create(migrations::CreateError),
    Folder(std::io::Error),
    Stopped,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(errors) => errors.fmt(f),
            Self::Migrate(error) => error.fmt(f),
            Self::GaveUp(wait, error) => write!(f, "given up after {} s: {error}", wait.as_secs()),
            Self::Create(error) => error.fmt(f),
            Self::Folder(error) => write!(f, "the current folder is not known: {error}"),
            Self::Stopped => f.write_str("stopped by a signal; what was not committed is taken back by the database"),
        }
    }
}

/// Does what the flags say. Results are on standard output, reasons on standard error.
pub async fn run(flags: MigrateFlags) -> ExitCode {
    let shutdown = Shutdown::new();
    // As a container's first process it would not be ended by a signal that nobody listens for.
    if let Err(error) = shutdown.on_signals() {
        eprintln!("cliscale-controller: signals cannot be listened for: {error}");
        return ExitCode::FAILURE;
    }
    let stopped = shutdown.token();
    let done = tokio::select! {
        done = act(&flags) => done,
        () = stopped.cancelled() => Err(Failure::Stopped),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("cliscale-controller: {failure}");
            ExitCode::from(if matches!(failure, Failure::Settings(_)) { 2 } else { 1 })
        }
    }
}

async fn act(flags: &MigrateFlags) -> Result<ExitCode, Failure> {
    if let Some(Action::Create { name }) = &flags.action {
        let place = std::env::current_dir().map_err(Failure::Folder)?;
        for path in migrations::create(&place, name).map_err(Failure::Create)? {
            println!("{}", path.strip_prefix(&place).unwrap_or(&path).display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let config = flags.config().map_err(Failure::Settings)?;
    service::telemetry::start(config.log_format, &flags.log);
    match flags.action {
        Some(Action::Status) => {
            let status = patiently(&config, async |mut migrator| migrator.status().await).await?;
            print_status(&status);
            Ok(exit_code(&status))
        }
        Some(Action::Rollback) => {
            match patiently(&config, async |mut migrator| migrator.rollback().await).await? {
                Some(title) => println!("{title} was taken back"),
                None => println!("nothing is applied"),
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            let report = patiently(&config, async |mut migrator| migrator.up().await).await?;
            for title in &report.newer {
                println!("{title} was applied by a newer release");
            }
            for title in &report.applied {
                println!("{title} was applied");
            }
            if report.applied.is_empty() {
                println!("the schema is up to date");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Does `work` on a new connection, again while that may help, until the time to wait is over.
async fn patiently<T>(config: &Config, work: impl AsyncFn(Migrator) -> Result<T, MigrateError>) -> Result<T, Failure> {
    let wait = config.limits.wait;
    let deadline = Instant::now() + wait;
    let mut pauses = migrations::pauses();
    let mut told = String::new();
    loop {
        let limits = Limits { wait: deadline.saturating_duration_since(Instant::now()), ..config.limits };
        let attempt = async { work(migrator(&config.database).await?.with_limits(limits)).await };
        let error = match attempt.await {
            Ok(answer) => return Ok(answer),
            // It has waited as long as it may.
            Err(error @ MigrateError::Locked(_)) => return Err(Failure::GaveUp(wait, error)),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(Failure::Migrate(error)),
        };
        let reason = error.to_string();
        if reason != told {
            tracing::warn!(reason, "waiting for the database");
            told = reason;
        }
        if !migrations::pause(&mut pauses, deadline).await {
            return Err(Failure::GaveUp(wait, error));
        }
    }
}

async fn migrator(database: &DatabaseUrl) -> Result<Migrator, MigrateError> {
    match database {
        DatabaseUrl::Sqlite(path) => Ok(Migrator::sqlite(path)),
        DatabaseUrl::Postgres(url) => {
            let settings = PostgresConfig::new(url.clone());
            Ok(Migrator::postgres(store::postgres::connect(&settings).await?))
        }
    }
}

fn exit_code(status: &Status) -> ExitCode {
    let broken = status.entries.iter().any(|entry| matches!(entry.state, State::Differs | State::Skipped));
    match (broken, status.is_current()) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(PENDING),
    }
}

fn print_status(status: &Status) {
    let wide = status.entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0).max(4);
    println!("{:7}  {:wide$}  {:20}  STATE", "VERSION", "NAME", "APPLIED");
    for entry in &status.entries {
        let version = format!("V{}", entry.version);
        let applied = entry.applied.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let state = match entry.state {
            State::Applied => "applied",
            State::Pending => "pending",
            State::Differs => "differs: changed after it was applied",
            State::Skipped => "skipped: a later one is applied",
            State::Newer => "applied by a newer release",
        };
        println!("{version:7}  {:wide$}  {applied:20}  {state}", entry.name);
    }
    match status.titles(State::Pending).len() {
        0 => {}
        1 => println!("1 migration is pending: cliscale-controller migrate up"),
        n => println!("{n} migrations are pending: cliscale-controller migrate up"),
    }
}

impl MigrateFlags {
    fn config(&self) -> Result<Config, ConfigErrors> {
        let mut settings = Settings::default();
        // The text is not repeated: it may hold a password.
        let url = self.database_url.as_deref().unwrap_or_default().trim();
        let mut database = url.parse::<DatabaseUrl>().map_err(|error| settings.refuse("--database-url", error)).ok();
        let flag = "--database-password-file";
        if let Some(file) = settings.read_optional::<PathBuf>(flag, &self.database_password_file)
            && let Some(Err(why)) = database.as_mut().map(|url| url.read_password(&file))
        {
            settings.refuse(flag, why);
        }
        let wait = settings.read_range("--wait-secs", &self.wait_secs, 0, 86_400);
        let lock = settings.read_range("--lock-timeout-ms", &self.lock_timeout_ms, 1, 3_600_000);
        let statement = settings.read_range("--statement-timeout-secs", &self.statement_timeout_secs, 1, 86_400);
        let log_format = settings.read("--log-format", &self.log_format);
        settings.finish(|| {
            let limits = Limits {
                wait: Duration::from_secs(wait?),
                lock: Duration::from_millis(lock?),
                statement: Duration::from_secs(statement?),
            };
            Some(Config { database: database?, limits, log_format: log_format? })
        })
    }
}
