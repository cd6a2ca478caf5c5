//! The flags of `cliscale up` and their `CLISCALE_*` variables; everything that is wrong is reported at once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use controller::recording::{RecordingFlags, RecordingSettings};
use gateway::Origin;
use service::config::PerMinute;
use service::telemetry::LogFormat;
use service::{ConfigErrors, Settings};
use session::code_url::ALLOWED_HOSTS_SETTING;
use session::spec::MAX_IDLE_SECS;
use session::{AllowedHosts, SpecLimits};
use url::Url;

use super::config::{LauncherChoice, LogSettings, MAX_SESSIONS, MAX_STANDBYS, UpConfig};
use super::data_dir;

/// The longest TTL that may be allowed, a week.
const MAX_MAX_TTL: u64 = 7 * 24 * 3600;

/// Flags as text, so that clap itself refuses nothing one by one. Each is also a `CLISCALE_*` variable.
#[derive(Debug, Clone, Args)]
pub struct UpFlags {
    /// Where to listen, ADDRESS:PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", env = "CLISCALE_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Allow --listen to be reachable from other machines, although commands run as you
    #[arg(long, env = "CLISCALE_EXPOSE", value_parser = FalseyValueParser::new())]
    expose: bool,
    /// Where keys, database and workspaces are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "CLISCALE_DATA_DIR")]
    data_dir: Option<String>,
    /// Session creations per client address [default: 60/min from this machine, 5/min from others]
    #[arg(long, value_name = "N/min", env = "CLISCALE_CREATE_RATE")]
    create_rate: Option<String>,
    /// Sessions at once [default: 8]
    #[arg(long, value_name = "N", env = "CLISCALE_MAX_SESSIONS")]
    max_sessions: Option<String>,
    /// Let code be fetched from private, loopback and link-local addresses
    #[arg(long, env = "CLISCALE_ALLOW_PRIVATE_CODE_HOSTS", value_parser = FalseyValueParser::new())]
    allow_private_code_hosts: bool,
    /// Hosts that code may come from, comma-separated [default: all; also ALLOWED_CODE_DOMAINS]
    #[arg(long, value_name = "HOSTS", env = "CLISCALE_ALLOWED_CODE_DOMAINS")]
    allowed_code_domains: Option<String>,
    /// The address that clients use, when it is not the one that is listened on
    #[arg(long, value_name = "URL", env = "CLISCALE_PUBLIC_URL")]
    public_url: Option<String>,
    /// Proxies in front whose X-Forwarded headers are believed
    #[arg(long, value_name = "N", env = "CLISCALE_TRUSTED_PROXY_HOPS", default_value = "0")]
    trusted_proxy_hops: String,
    /// Sites that may embed terminals, comma-separated origins
    #[arg(long, value_name = "ORIGINS", env = "CLISCALE_EMBED_ORIGINS")]
    embed_origins: Option<String>,
    /// Where metrics and health are served
    #[arg(long, value_name = "ADDRESS", env = "CLISCALE_ADMIN_LISTEN", default_value = "127.0.0.1:0")]
    admin_listen: String,
    /// process: each session is a process tree here; static: each is given the terminal at --static-backend
    #[arg(long, value_name = "KIND", env = "CLISCALE_LAUNCHER", default_value = "process")]
    launcher: String,
    /// The ttyd-compatible server of the static launcher
    #[arg(long, value_name = "HOST:PORT", env = "CLISCALE_STATIC_BACKEND")]
    static_backend: Option<String>,
    /// Runners that wait for the next sessions, which start at once then; 0 launches one when a session comes
    #[arg(long, value_name = "N", env = "CLISCALE_POOL_MIN", default_value = "1")]
    pool_min: String,
    /// The runner's program [default: cliscale-runner beside this one]
    #[arg(long, value_name = "FILE", env = "CLISCALE_RUNNER_BIN")]
    runner_bin: Option<String>,
    /// Seconds that a runner shows the end of its session
    #[arg(long, value_name = "SECONDS", env = "CLISCALE_LINGER_SECS", default_value = "300")]
    linger_secs: String,
    /// Seconds that a session may live when it does not say
    #[arg(long, value_name = "SECONDS", env = "CLISCALE_DEFAULT_TTL_SECS", default_value = "3600")]
    default_ttl_secs: String,
    /// Seconds that a session may live at most
    #[arg(long, value_name = "SECONDS", env = "CLISCALE_MAX_TTL_SECS", default_value = "86400")]
    max_ttl_secs: String,
    /// Seconds without operator and output after which a session ends when it does not say
    #[arg(long, value_name = "SECONDS", env = "CLISCALE_DEFAULT_IDLE_SECS", default_value = "900")]
    default_idle_secs: String,
    /// Keep sessions' folders after their end
    #[arg(long, env = "CLISCALE_KEEP_WORKSPACES", value_parser = FalseyValueParser::new())]
    keep_workspaces: bool,
    #[command(flatten)]
    recordings: RecordingFlags,
    /// text or json, on standard error
    #[arg(long, value_name = "FORMAT", env = "CLISCALE_LOG_FORMAT", default_value = "text")]
    log_format: String,
    /// What to log, in tracing's filter syntax
    #[arg(long, value_name = "FILTER", env = "CLISCALE_LOG", default_value = "info")]
    log: String,
    /// Start a first session that runs the sample program, and print its URL
    #[arg(long, env = "CLISCALE_DEMO", value_parser = FalseyValueParser::new())]
    demo: bool,
}

impl UpFlags {
    /// Turns the text into values, or says everything that is wrong with it.
    pub fn read(&self) -> Result<(UpConfig, LogSettings), ConfigErrors> {
        let mut settings = Settings::default();
        let listen = self.listen_address(&mut settings);
        let admin = settings.read::<Listen>("--admin-listen", &self.admin_listen);
        let data_dir = self.directory(&mut settings);
        let create_rate = settings.read_optional::<PerMinute>("--create-rate", &self.create_rate);
        let max_sessions = settings
            .read_optional::<String>("--max-sessions", &self.max_sessions)
            .map_or(Some(MAX_SESSIONS), |text| settings.read_range("--max-sessions", &text, 1, 10_000));
        let limits = self.limits(&mut settings);
        let public_url = self.public_url(&mut settings);
        let hops = settings.read_range("--trusted-proxy-hops", &self.trusted_proxy_hops, 0, 16);
        let embed_origins = self.origins(&mut settings);
        let launcher = self.launcher(&mut settings);
        let linger = settings.read_range("--linger-secs", &self.linger_secs, 0, 3600);
        let pool_min = settings.read_range("--pool-min", &self.pool_min, 0, u64::from(MAX_STANDBYS));
        let kept = data_dir.as_deref().and_then(RecordingSettings::in_data_dir);
        let recordings = self.recordings.read(&mut settings, kept);
        let format = settings.read::<LogFormat>("--log-format", &self.log_format);
        settings.finish(|| {
            let config = UpConfig {
                listen: listen?,
                admin_listen: admin?.0,
                expose: self.expose,
                data_dir: data_dir?,
                work_dir: None,
                create_rate,
                max_sessions,
                allow_private_code_hosts: self.allow_private_code_hosts,
                limits: limits?,
                public_url,
                trusted_proxy_hops: hops?,
                embed_origins,
                launcher: launcher?,
                linger: Duration::from_secs(linger?),
                pool_min: u32::try_from(pool_min?).ok()?,
                keep_workspaces: self.keep_workspaces,
                recordings: recordings?,
                demo: self.demo,
            };
            Some((config, LogSettings { format: format?, filter: self.log.clone() }))
        })
    }

    fn listen_address(&self, settings: &mut Settings) -> Option<SocketAddr> {
        let address = settings.read::<Listen>("--listen", &self.listen)?.0;
        if !address.ip().is_loopback() && !self.expose {
            settings.refuse(
                "--listen",
                format!(
                    "{address} can be reached from other machines, and commands run as you, with no isolation: \
                     whoever gets a link or the API key gets your account. Say --expose (CLISCALE_EXPOSE=1) if that is meant"
                ),
            );
        }
        Some(address)
    }

    fn directory(&self, settings: &mut Settings) -> Option<PathBuf> {
        let named = self.data_dir.as_ref().filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let found = named.or_else(data_dir::default_path);
        if found.is_none() {
            settings.refuse("--data-dir", "no home directory is known, so it must be named");
        }
        found
    }

    fn limits(&self, settings: &mut Settings) -> Option<SpecLimits> {
        let max = settings.read_range("--max-ttl-secs", &self.max_ttl_secs, 1, MAX_MAX_TTL);
        // Judged against its own limit when that one is wrong already.
        let ttl = settings.read_range("--default-ttl-secs", &self.default_ttl_secs, 1, max.unwrap_or(MAX_MAX_TTL));
        let idle = settings.read_range("--default-idle-secs", &self.default_idle_secs, 1, MAX_IDLE_SECS);
        let domains = self.allowed_code_domains.clone().or_else(|| std::env::var(ALLOWED_HOSTS_SETTING).ok());
        let hosts = settings.read::<AllowedHosts>("--allowed-code-domains", domains.as_deref().unwrap_or_default());
        Some(SpecLimits {
            default_ttl: Duration::from_secs(ttl?),
            max_ttl: Duration::from_secs(max?),
            default_idle: Duration::from_secs(idle?),
            allowed_hosts: hosts?,
            local: true,
            ..SpecLimits::default()
        })
    }

    fn public_url(&self, settings: &mut Settings) -> Option<Url> {
        let url = settings.read_optional::<Url>("--public-url", &self.public_url)?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            settings.refuse("--public-url", "expected http(s)://HOST[:PORT] and nothing behind it");
            return None;
        }
        Some(url)
    }

    fn origins(&self, settings: &mut Settings) -> Vec<Origin> {
        let list = self.embed_origins.as_deref().unwrap_or_default();
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.filter_map(|entry| settings.read("--embed-origins", entry)).collect()
    }

    fn launcher(&self, settings: &mut Settings) -> Option<LauncherChoice> {
        let backend = settings.read_optional::<Backend>("--static-backend", &self.static_backend);
        match self.launcher.as_str() {
            "process" => {
                let runner_bin = self.runner_bin.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from);
                Some(LauncherChoice::Process { runner_bin })
            }
            "static" => {
                if self.static_backend.as_deref().is_none_or(|text| text.trim().is_empty()) {
                    settings.refuse("--static-backend", "must be given with --launcher static");
                }
                backend.map(|backend| LauncherChoice::Static { backend: backend.0 })
            }
            other => {
                settings.refuse("--launcher", format!("{other:?}: expected process or static"));
                None
            }
        }
    }
}

/// `ADDRESS:PORT`, where `localhost` is 127.0.0.1.
#[derive(Debug)]
struct Listen(SocketAddr);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        local.or_else(|| text.parse().ok()).map(Self).ok_or("expected ADDRESS:PORT, such as 127.0.0.1:8080")
    }
}

/// `HOST:PORT`.
#[derive(Debug)]
struct Backend(String);

impl FromStr for Backend {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let authority = text.parse::<http::uri::Authority>().ok();
        let usable = authority.filter(|at| at.port_u16().is_some_and(|port| port > 0) && !at.as_str().contains('@'));
        usable.map(|at| Self(at.to_string())).ok_or("expected HOST:PORT, such as 127.0.0.1:7681")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        up: UpFlags,
    }

    fn read(args: &[&str]) -> Result<UpConfig, ConfigErrors> {
        let command = Command::try_parse_from(["up"].iter().chain(args)).unwrap();
        command.up.read().map(|(config, _)| config)
    }

    #[test]
    fn the_defaults_are_a_loopback_server_for_eight_sessions() {
        let config = read(&["--data-dir", "/d"]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((config.max_sessions, config.limits.local), (Some(8), true));
        assert_eq!(config.launcher, LauncherChoice::Process { runner_bin: None });
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let wrong = [
            "--listen=8080x",
            "--create-rate=5/h",
            "--max-sessions=0",
            "--public-url=https://h/path",
            "--trusted-proxy-hops=-1",
            "--embed-origins=https://a.example,*",
            "--admin-listen=x",
            "--launcher=docker",
            "--static-backend=nohost",
            "--linger-secs=x",
            "--max-ttl-secs=0",
            "--default-ttl-secs=x",
            "--default-idle-secs=86401",
            "--allowed-code-domains=a b",
            "--log-format=xml",
        ];
        let errors = read(&wrong).unwrap_err().0;
        for flag in wrong {
            let flag = flag.split('=').next().unwrap();
            let named = |error: &&String| error.starts_with(&format!("{flag} (CLISCALE_"));
            assert_eq!(errors.iter().filter(named).count(), 1, "{flag}: {errors:#?}");
        }
    }

    #[test]
    fn a_reachable_address_needs_expose() {
        let text = read(&["--listen", "0.0.0.0:80"]).unwrap_err().to_string();
        assert!(text.contains("--expose") && text.contains("no isolation"), "{text}");
        assert!(read(&["--listen", "0.0.0.0:80", "--expose"]).unwrap().expose);
        assert!(read(&["--listen", "[::1]:80"]).is_ok());
        assert_eq!(read(&["--listen", "localhost:9"]).unwrap().listen.to_string(), "127.0.0.1:9");
    }

    #[test]
    fn a_default_ttl_above_the_maximum_is_refused() {
        let text = read(&["--max-ttl-secs=60"]).unwrap_err().to_string();
        assert!(text.contains("--default-ttl-secs") && text.contains("1 to 60"), "{text}");
    }

    #[test]
    fn the_static_launcher_needs_its_backend() {
        assert!(read(&["--launcher=static"]).unwrap_err().to_string().contains("--static-backend"));
        let config = read(&["--launcher=static", "--static-backend=127.0.0.1:7681"]).unwrap();
        assert_eq!(config.launcher, LauncherChoice::Static { backend: "127.0.0.1:7681".into() });
    }
}
