//! The settings of `cliscale-controller`: each is a flag and a `CLISCALE_*` variable. Everything that is wrong with
//! them is reported at once.

mod launchers;
mod pools;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use service::config::PerMinute;
use service::database::{DatabaseConfig, DatabaseFlags};
use service::shutdown::MAX_DELAY_SECS;
use service::telemetry::LogFormat;
use service::{ConfigErrors, PublicAddress, Settings};
use session::code_url::ALLOWED_HOSTS_SETTING;
use session::{AllowedHosts, DEFAULT_TEMPLATE, Secret, SpecLimits};
use store::Retention;
use url::Url;

use crate::api::{ControllerConfig, DEFAULT_ISSUER};
use crate::auth::BootstrapKey;
use crate::lifecycle::PoolConfig;
use crate::recording::{RecordingFlags, RecordingSettings};
use launchers::{LauncherFlags, Times};
use values::{BaseUrl, required};

pub use launchers::LauncherChoice;

/// The controller: REST API, signing keys, launchers, reconciler.
#[derive(Debug, Clone, Parser)]
#[command(name = "cliscale-controller", version)]
pub struct Flags {
    /// Where the public API listens.
    #[arg(long, env = "CLISCALE_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    listen: String,
    /// Where runners call home.
    #[arg(long, env = "CLISCALE_INTERNAL_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:8081")]
    internal_listen: String,
    /// Where health and metrics are served.
    #[arg(long, env = "CLISCALE_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:9090")]
    admin_listen: String,
    #[command(flatten)]
    database: DatabaseFlags,
    /// The key that secrets in the database are sealed with: 64 hexadecimal digits; drawn where there is no such file.
    #[arg(long, env = "CLISCALE_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    encryption_key_file: Option<String>,
    /// The folder of signing keys, *.pem; a first key is drawn where there is none.
    #[arg(long, env = "CLISCALE_KEYS_DIR", value_name = "DIR")]
    keys_dir: Option<String>,
    /// A file with the API key. Otherwise the key is read from the variable CLISCALE_API_KEY or API_KEY.
    #[arg(long, env = "CLISCALE_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<String>,
    #[command(flatten)]
    launchers: LauncherFlags,
    /// How clients reach this server; left out: as their Host header says.
    #[arg(long, env = "CLISCALE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// How many proxies in front are trusted to tell the client's address.
    #[arg(long, env = "CLISCALE_TRUSTED_PROXY_HOPS", value_name = "N", default_value = "0")]
    trusted_proxy_hops: String,
    /// Session creations per client address [default: 5/min, and 60/min from this machine].
    #[arg(long, env = "CLISCALE_CREATE_RATE", value_name = "N/min")]
    create_rate: Option<String>,
    /// The most sessions that may be active at once; left out: no limit.
    #[arg(long, env = "CLISCALE_MAX_SESSIONS", value_name = "N")]
    max_sessions: Option<String>,
    /// Seconds that a session lives where its request says nothing.
    #[arg(long, env = "CLISCALE_DEFAULT_TTL_SECS", value_name = "SECONDS", default_value = "3600")]
    default_ttl_secs: String,
    /// The most seconds that a session may live.
    #[arg(long, env = "CLISCALE_MAX_TTL_SECS", value_name = "SECONDS", default_value = "86400")]
    max_ttl_secs: String,
    /// Seconds without an operator and without output after which a session ends, where its request says nothing.
    #[arg(long, env = "CLISCALE_DEFAULT_IDLE_SECS", value_name = "SECONDS", default_value = "900")]
    default_idle_secs: String,
    /// Seconds that a terminal stays readable after its command ended.
    #[arg(long, env = "CLISCALE_LINGER_SECS", value_name = "SECONDS", default_value = "120")]
    linger_secs: String,
    /// Seconds between not being ready any more and stopping, in which balancers can hear of it.
    #[arg(long, env = "CLISCALE_SHUTDOWN_DELAY_SECS", value_name = "SECONDS", default_value = "0")]
    shutdown_delay_secs: String,
    /// Hours that ended sessions are kept.
    #[arg(long, env = "CLISCALE_KEEP_SESSIONS_HOURS", value_name = "HOURS", default_value = "168")]
    keep_sessions_hours: String,
    #[command(flatten)]
    recordings: RecordingFlags,
    /// The hosts that code may come from, separated by commas, *.HOST for all below one; left out: every public host.
    /// The variable ALLOWED_CODE_DOMAINS is read, too.
    #[arg(long, env = "CLISCALE_ALLOWED_CODE_DOMAINS", value_name = "HOSTS")]
    allowed_code_domains: Option<String>,
    /// Let code be fetched from private, loopback and link-local addresses.
    #[arg(long, env = "CLISCALE_ALLOW_PRIVATE_CODE_HOSTS")]
    allow_private_code_hosts: bool,
    /// text or json.
    #[arg(long, env = "CLISCALE_LOG_FORMAT", value_name = "text|json", default_value = "text")]
    log_format: String,
    /// What is logged, such as info or warn,controller=debug.
    #[arg(long, env = "CLISCALE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

/// The settings, read.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub internal_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub database: DatabaseConfig,
    pub encryption_key_file: PathBuf,
    pub keys_dir: PathBuf,
    pub bootstrap: BootstrapKey,
    pub launcher: LauncherChoice,
    /// Where runners call home; `None`: the internal port on this machine.
    pub internal_url: Option<Url>,
    /// From a runner's creation to its call home.
    pub boot_deadline: Duration,
    /// Between a runner's heartbeats.
    pub heartbeat: Duration,
    pub pools: Vec<PoolConfig>,
    pub api: ControllerConfig,
    pub allow_private: bool,
    pub linger: Duration,
    pub retention: Retention,
    /// `None`: nothing is recorded.
    pub recordings: Option<RecordingSettings>,
    /// How long this is not ready any more, and serves on, before it stops.
    pub shutdown_delay: Duration,
    pub log_format: LogFormat,
    pub log_filter: String,
}

impl Flags {
    /// Reads the settings, with what only the environment may hold: an API key in an argument would show in every
    /// listing of processes.
    pub fn config(&self) -> Result<ServerConfig, ConfigErrors> {
        self.config_with(|name| std::env::var(name).ok())
    }

    fn config_with(&self, variable: impl Fn(&str) -> Option<String>) -> Result<ServerConfig, ConfigErrors> {
        let mut settings = Settings::default();
        let listen = settings.read("--listen", &self.listen);
        let internal_listen = settings.read("--internal-listen", &self.internal_listen);
        let admin_listen = settings.read("--admin-listen", &self.admin_listen);
        let database = self.database.read(&mut settings);
        let encryption_key_file = required(&mut settings, "--encryption-key-file", &self.encryption_key_file);
        let keys_dir = required(&mut settings, "--keys-dir", &self.keys_dir);
        let bootstrap = self.bootstrap(&mut settings, &variable);
        let api = self.api(&mut settings, &variable);
        let linger = settings.read_range("--linger-secs", &self.linger_secs, 0, 86_400);
        let times = Times { linger, max_ttl: api.as_ref().map(|api| api.limits.max_ttl) };
        let runners = self.launchers.read(&mut settings, times);
        let hours = settings.read_range("--keep-sessions-hours", &self.keep_sessions_hours, 1, 24 * 3650);
        let recordings = self.recordings.read(&mut settings, None);
        let delay = settings.read_range("--shutdown-delay-secs", &self.shutdown_delay_secs, 0, MAX_DELAY_SECS);
        let log_format = settings.read("--log-format", &self.log_format);
        settings.finish(|| {
            let (runners, sessions) = (runners?, Duration::from_secs(hours? * 3600));
            let mut api = api?;
            if !runners.pools.is_empty() {
                api.limits.templates = runners.pools.iter().map(|pool| pool.name.clone()).collect();
            }
            Some(ServerConfig {
                listen: listen?,
                internal_listen: internal_listen?,
                admin_listen: admin_listen?,
                database: database?,
                encryption_key_file: encryption_key_file?,
                keys_dir: keys_dir?,
                bootstrap: bootstrap?,
                launcher: runners.choice,
                internal_url: runners.internal_url,
                boot_deadline: runners.boot_deadline,
                heartbeat: runners.heartbeat,
                pools: runners.pools,
                api,
                allow_private: self.allow_private_code_hosts,
                linger: Duration::from_secs(linger?),
                retention: Retention { sessions, ..Retention::default() },
                recordings: recordings?.map(|recordings| recordings.within(sessions)),
                shutdown_delay: Duration::from_secs(delay?),
                log_format: log_format?,
                log_filter: self.log.clone(),
            })
        })
    }

    fn bootstrap(&self, settings: &mut Settings, variable: impl Fn(&str) -> Option<String>) -> Option<BootstrapKey> {
        if let Some(path) = settings.read_optional("--api-key-file", &self.api_key_file) {
            return Some(BootstrapKey::File(path));
        }
        let given = ["CLISCALE_API_KEY", "API_KEY"].into_iter().filter_map(variable);
        match given.map(|key| key.trim().to_owned()).find(|key| !key.is_empty()) {
            Some(key) => Some(BootstrapKey::Given(Secret::new(key))),
            None => {
                settings.refuse("--api-key-file", "needed, unless CLISCALE_API_KEY or API_KEY holds the API key");
                None
            }
        }
    }

    fn api(&self, settings: &mut Settings, variable: impl Fn(&str) -> Option<String>) -> Option<ControllerConfig> {
        let public_url = settings.read_optional::<BaseUrl>("--public-url", &self.public_url);
        let hops = settings.read_range("--trusted-proxy-hops", &self.trusted_proxy_hops, 0, 16);
        let create_rate = settings.read_optional::<PerMinute>("--create-rate", &self.create_rate);
        let max_sessions = self.max_sessions.as_deref().filter(|text| !text.trim().is_empty());
        let max_sessions = max_sessions.map(|text| settings.read_range("--max-sessions", text, 1, 1_000_000));
        let max_ttl = settings.read_range("--max-ttl-secs", &self.max_ttl_secs, 1, 30 * 86_400);
        let default_ttl =
            settings.read_range("--default-ttl-secs", &self.default_ttl_secs, 1, max_ttl.unwrap_or(30 * 86_400));
        let max_idle = session::spec::MAX_IDLE_SECS;
        let default_idle = settings.read_range("--default-idle-secs", &self.default_idle_secs, 1, max_idle);
        let domains = self.allowed_code_domains.clone().or_else(|| variable(ALLOWED_HOSTS_SETTING));
        let given = domains.as_deref().is_some_and(|text| !text.trim().is_empty());
        let allowed = settings.read_optional("--allowed-code-domains", &domains);
        if given && allowed.is_none() {
            // Noted above: a list that cannot be read must not become "every host".
            return None;
        }
        let config = ControllerConfig {
            limits: SpecLimits {
                default_ttl: Duration::from_secs(default_ttl?),
                max_ttl: Duration::from_secs(max_ttl?),
                default_idle: Duration::from_secs(default_idle?),
                templates: vec![DEFAULT_TEMPLATE.to_owned()],
                allowed_hosts: allowed.unwrap_or_else(AllowedHosts::any),
                local: false,
            },
            max_sessions: match max_sessions {
                Some(read) => Some(read?),
                None => None,
            },
            public: PublicAddress { public_url: public_url.map(|BaseUrl(url)| url), trusted_proxy_hops: hops? },
            issuer: DEFAULT_ISSUER.to_owned(),
            ..ControllerConfig::default()
        };
        Some(config.with_create_rate(create_rate))
    }
}

#[cfg(test)]
mod tests;
