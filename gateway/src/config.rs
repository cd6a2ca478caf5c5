//! The settings of `cliscale-gateway`: flags and `CLISCALE_*` variables, read as text and checked all at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use service::database::{DatabaseConfig, DatabaseFlags};
use service::shutdown::MAX_DELAY_SECS;
use service::telemetry::LogFormat;
use service::{ConfigErrors, PublicAddress, Settings};
use url::Url;

use crate::{DEFAULT_ISSUER, GatewayConfig, Origin};

/// What of the time to stop is kept for the terminal that is let go of last, at most.
const LAST_TERMINAL: Duration = Duration::from_secs(8);

/// The gateway of CLI Scale: serves the terminal page and connects it to the session's runner.
#[derive(Debug, Parser)]
#[command(name = "cliscale-gateway", version)]
pub struct Flags {
    /// Where clients connect
    #[arg(long, env = "CLISCALE_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    listen: String,
    /// Where metrics and health are served
    #[arg(long, env = "CLISCALE_ADMIN", default_value = "0.0.0.0:9090", value_name = "ADDRESS")]
    admin: String,
    #[command(flatten)]
    database: DatabaseFlags,
    /// The file with the key that the database's secrets are sealed with
    #[arg(long, env = "CLISCALE_ENCRYPTION_KEY_FILE", default_value = "", value_name = "FILE")]
    encryption_key_file: String,
    /// Where the controller publishes its keys, such as http://controller/.well-known/jwks.json
    #[arg(long, env = "CLISCALE_JWKS_URL", default_value = "", value_name = "URL")]
    jwks_url: String,
    /// The controller's internal port, such as http://controller:8081; without it, no read-only links are handed out
    #[arg(long, env = "CLISCALE_CONTROLLER_URL", value_name = "URL")]
    controller_url: Option<String>,
    /// The issuer whose tokens are believed
    #[arg(long, env = "CLISCALE_ISSUER", default_value = DEFAULT_ISSUER, value_name = "NAME")]
    issuer: String,
    /// The address that clients use; without it, each request's Host
    #[arg(long, env = "CLISCALE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// How many proxies before this server may be believed about X-Forwarded-*
    #[arg(long, env = "CLISCALE_TRUSTED_PROXY_HOPS", default_value = "0", value_name = "N")]
    trusted_proxy_hops: String,
    /// Sites that may show the terminal in their own pages, as exact origins separated by commas
    #[arg(long, env = "CLISCALE_EMBED_ORIGINS", default_value = "", value_name = "ORIGINS")]
    embed_origins: String,
    /// Terminal connections at once
    #[arg(long, env = "CLISCALE_MAX_CONNECTIONS", default_value = "5000", value_name = "N")]
    max_connections: String,
    /// Seconds between not being ready any more and stopping, in which balancers can hear of it
    #[arg(long, env = "CLISCALE_SHUTDOWN_DELAY_SECS", default_value = "0", value_name = "SECONDS")]
    shutdown_delay_secs: String,
    /// Seconds that stopping may take, over most of which the open terminals are sent to other gateways
    #[arg(long, env = "CLISCALE_DRAIN_SECS", default_value = "10", value_name = "SECONDS")]
    drain_secs: String,
    /// text or json
    #[arg(long, env = "CLISCALE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    log_format: String,
    /// What is logged, such as info or warn,gateway=debug
    #[arg(long, env = "CLISCALE_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

/// Settings that can be used.
#[derive(Debug)]
pub struct GatewaySettings {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub database: DatabaseConfig,
    pub encryption_key_file: PathBuf,
    pub jwks_url: Url,
    /// The controller's internal port.
    pub controller_url: Option<Url>,
    pub log_format: LogFormat,
    pub log: String,
    /// How long this is not ready any more, and serves on, before it stops.
    pub shutdown_delay: Duration,
    /// How long stopping may take.
    pub drain: Duration,
    pub gateway: GatewayConfig,
}

impl Flags {
    pub fn check(self) -> Result<GatewaySettings, ConfigErrors> {
        let mut settings = Settings::default();
        let listen = settings.read::<SocketAddr>("--listen", &self.listen);
        let admin = settings.read::<SocketAddr>("--admin", &self.admin);
        let database = self.database.read(&mut settings);
        let key_file = self.encryption_key_file.trim();
        if key_file.is_empty() {
            settings.refuse("--encryption-key-file", "is needed");
        }
        let jwks_url = settings.read::<Url>("--jwks-url", &self.jwks_url);
        if jwks_url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
            settings.refuse("--jwks-url", "expected an http or https address");
        }
        let controller_url = read_base(&mut settings, "--controller-url", &self.controller_url);
        let public_url = read_base(&mut settings, "--public-url", &self.public_url);
        let trusted_proxy_hops = settings.read_range::<u8>("--trusted-proxy-hops", &self.trusted_proxy_hops, 0, 8);
        let embed_origins = read_origins(&mut settings, &self.embed_origins);
        let max_connections = settings.read_range::<usize>("--max-connections", &self.max_connections, 1, 1_000_000);
        let delay = settings.read_range("--shutdown-delay-secs", &self.shutdown_delay_secs, 0, MAX_DELAY_SECS);
        let drain = settings.read_range::<u64>("--drain-secs", &self.drain_secs, 1, 600).map(Duration::from_secs);
        let log_format = settings.read::<LogFormat>("--log-format", &self.log_format);
        settings.finish(|| {
            let drain = drain?;
            let last = (drain / 2).min(LAST_TERMINAL);
            Some(GatewaySettings {
                listen: listen?,
                admin: admin?,
                database: database?,
                encryption_key_file: key_file.into(),
                jwks_url: jwks_url?,
                controller_url,
                log_format: log_format?,
                log: self.log.clone(),
                shutdown_delay: Duration::from_secs(delay?),
                drain,
                gateway: GatewayConfig {
                    public: PublicAddress { public_url, trusted_proxy_hops: trusted_proxy_hops? },
                    embed_origins,
                    max_connections: max_connections?,
                    drain_spread: drain - last,
                    // The other half is for its closing handshake.
                    drain_timeout: last / 2,
                    issuer: self.issuer.clone(),
                    ..GatewayConfig::default()
                },
            })
        })
    }
}

/// Reads the address of a whole host, where it is given.
fn read_base(settings: &mut Settings, flag: &str, text: &Option<String>) -> Option<Url> {
    let url = settings.read_optional::<Url>(flag, text);
    if url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https") || url.path() != "/") {
        settings.refuse(flag, "expected http:// or https://, a host, and no path");
    }
    url
}

/// Reads origins separated by commas. Each that is none is reported; empty entries are not entries.
pub fn read_origins(settings: &mut Settings, text: &str) -> Vec<Origin> {
    text.split(',')
        .filter(|entry| !entry.trim().is_empty())
        .filter_map(|entry| settings.read("--embed-origins", entry))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<GatewaySettings, ConfigErrors> {
        Flags::try_parse_from(["cliscale-gateway"].iter().chain(arguments)).unwrap().check()
    }

    #[test]
    fn everything_that_is_wrong_is_reported_at_once() {
        let errors = check(&[
            "--listen=here",
            "--database-url=mysql://u:hunter2@h/d",
            "--jwks-url=ftp://h/",
            "--controller-url=http://h/internal",
            "--public-url=https://h/x",
            "--trusted-proxy-hops=9",
            "--embed-origins=https://a.example, https://*.b.example",
            "--max-connections=0",
            "--shutdown-delay-secs=601",
            "--drain-secs=x",
            "--log-format=xml",
        ]);
        let text = errors.unwrap_err().to_string();
        for flag in [
            "listen",
            "database-url",
            "encryption-key-file",
            "jwks-url",
            "controller-url",
            "public-url",
            "trusted-proxy-hops",
            "embed-origins",
            "max-connections",
            "shutdown-delay-secs",
            "drain-secs",
            "log-format",
        ] {
            assert_eq!(text.matches(&format!("\n  --{flag} (CLISCALE_")).count(), 1, "{flag} in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_few_settings_are_enough() {
        let settings = check(&[
            "--database-url=sqlite:/d/cliscale.db",
            "--encryption-key-file=/d/key",
            "--jwks-url=http://c/.well-known/jwks.json",
            "--embed-origins=https://a.example,http://localhost:3000",
        ])
        .unwrap();
        assert_eq!(settings.listen.port(), 8080);
        assert_eq!(settings.gateway.embed_origins.len(), 2);
        assert_eq!(settings.shutdown_delay, Duration::ZERO);
    }

    #[test]
    fn the_last_terminal_has_time_to_go_whatever_the_drain_time() {
        for (secs, spread, frame) in [(1, 500, 250), (10, 5_000, 2_500), (60, 52_000, 4_000)] {
            let settings = check(&[
                "--database-url=sqlite:/d/cliscale.db",
                "--encryption-key-file=/d/key",
                "--jwks-url=http://c/.well-known/jwks.json",
                &format!("--drain-secs={secs}"),
            ])
            .unwrap()
            .gateway;
            let expected = (Duration::from_millis(spread), Duration::from_millis(frame));
            assert_eq!((settings.drain_spread, settings.drain_timeout), expected, "{secs}");
        }
    }
}
