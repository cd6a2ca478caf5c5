//! The settings: defaults, and everything that is wrong at once.

use super::*;

const MINIMUM: [&str; 11] = [
    "cliscale-controller",
    "--database-url",
    "sqlite:/d/c.db",
    "--encryption-key-file",
    "/d/k",
    "--keys-dir",
    "/d/keys",
    "--launcher",
    "static",
    "--static-backend",
    "ttyd:7681",
];

fn config(more: &[&str], variables: &[(&str, &str)]) -> Result<ServerConfig, ConfigErrors> {
    let flags = Flags::parse_from(MINIMUM.iter().chain(more));
    flags.config_with(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = config(&[], &[("API_KEY", "a-key-from-a-secret")]).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.internal_listen.port(), 8081);
    assert_eq!(config.admin_listen.port(), 9090);
    assert_eq!((config.api.create_rate, config.api.loopback_create_rate), (PerMinute(5), PerMinute(60)));
    assert_eq!(config.launcher, LauncherChoice::Static { backend: "ttyd:7681".to_owned() });
    assert!(!config.api.limits.local);
}

#[test]
fn a_given_rate_holds_for_clients_on_this_machine_too() {
    let config = config(&["--create-rate", "7/min"], &[("API_KEY", "a-key-from-a-secret")]).unwrap();
    assert_eq!((config.api.create_rate, config.api.loopback_create_rate), (PerMinute(7), PerMinute(7)));
}

#[test]
fn the_seed_variable_for_code_hosts_is_read_and_never_ignored() {
    let key = ("API_KEY", "a-key-from-a-secret");
    let read = config(&[], &[key, ("ALLOWED_CODE_DOMAINS", "github.com,*.example.com")]).unwrap();
    assert!(read.api.limits.allowed_hosts.allows("a.example.com"));
    assert!(!read.api.limits.allowed_hosts.allows("example.org"));
    let errors = config(&[], &[key, ("ALLOWED_CODE_DOMAINS", "not a host")]).unwrap_err();
    assert!(errors.to_string().contains("--allowed-code-domains"), "{errors}");
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let wrong = Flags::parse_from([
        "cliscale-controller",
        "--listen",
        "nowhere",
        "--database-url",
        "mysql://u:hunter2@h/d",
        "--launcher",
        "vm",
        "--create-rate",
        "5",
        "--max-sessions",
        "0",
        "--max-ttl-secs",
        "10",
        "--default-ttl-secs",
        "11",
        "--public-url",
        "ftp://h",
        "--trusted-proxy-hops",
        "99",
        "--log-format",
        "xml",
    ]);
    let errors = wrong.config_with(|_| None).unwrap_err();
    for flag in [
        "--listen",
        "--database-url",
        "--encryption-key-file",
        "--keys-dir",
        "--api-key-file",
        "--launcher",
        "--create-rate",
        "--max-sessions",
        "--default-ttl-secs",
        "--public-url",
        "--trusted-proxy-hops",
        "--log-format",
    ] {
        assert!(errors.0.iter().any(|error| error.starts_with(&format!("{flag} ("))), "{flag} is missing: {errors}");
    }
    assert!(!errors.to_string().contains("hunter2"));
}
