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

const KUBERNETES: [&str; 10] = [
    "cliscale-controller",
    "--database-url=sqlite:/d/c.db",
    "--encryption-key-file=/d/k",
    "--keys-dir=/d/keys",
    "--launcher=kubernetes",
    "--internal-url=http://controller:8081",
    "--runner-image=runner:1",
    "--max-ttl-secs=7200",
    "--linger-secs=30",
    "--runner-cpu=500m",
];

/// With `more` instead of, or beside, what is enough.
fn kubernetes(more: &[&str]) -> Result<ServerConfig, ConfigErrors> {
    let flag = |given: &str| given.split('=').next().map(str::to_owned);
    let kept = KUBERNETES.iter().filter(|given| !more.iter().any(|other| flag(other) == flag(given)));
    Flags::parse_from(kept.chain(more))
        .config_with(|name| (name != ALLOWED_HOSTS_SETTING).then(|| "a-key-from-a-secret".to_owned()))
}

#[test]
fn runners_on_kubernetes_have_longer_to_boot_and_know_all_times() {
    let config = kubernetes(&[]).unwrap();
    assert_eq!(config.boot_deadline, Duration::from_secs(120));
    assert_eq!(kubernetes(&["--boot-deadline-secs=7"]).unwrap().boot_deadline, Duration::from_secs(7));
    let LauncherChoice::Kubernetes(kubernetes) = config.launcher else { panic!() };
    assert_eq!((kubernetes.instance.as_str(), &kubernetes.namespace), ("cliscale", &None));
    let pod = &kubernetes.templates["default"].pod;
    let times = (pod.max_ttl, pod.linger, pod.max_idle, pod.heartbeat);
    assert_eq!(times, (secs(7200), secs(30), secs(3600), secs(60)));
    let times = (kubernetes.ttl_after_finished, kubernetes.unschedulable_after, kubernetes.list_every);
    assert_eq!(times, (secs(600), secs(60), secs(30)));
    assert_eq!(config_of_process().boot_deadline, secs(30));
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn config_of_process() -> ServerConfig {
    kubernetes(&["--launcher=process", "--work-dir=/d/w"]).unwrap()
}

#[test]
fn a_pod_template_that_cannot_be_used_stops_the_start_and_names_the_field() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "spec: {hostNetwork: true}").unwrap();
    let flag = format!("--runner-pod-template={}", file.path().display());
    let errors = kubernetes(&[&flag]).unwrap_err();
    assert_eq!(
        errors.0,
        ["--runner-pod-template (CLISCALE_RUNNER_POD_TEMPLATE): spec.hostNetwork: the launcher sets this, to false"]
    );
    let errors = kubernetes(&["--runner-pod-template=/nowhere/t.yaml"]).unwrap_err();
    assert!(errors.0[0].contains("/nowhere/t.yaml"), "{errors}");
}

#[test]
fn kubernetes_needs_to_know_where_pods_find_the_controller() {
    for (wrong, flag) in [
        ("--internal-url=", "--internal-url"),
        ("--internal-url=https://controller", "--internal-url"),
        ("--runner-image=", "--runner-image"),
        ("--runner-memory=1GB", "--runner-memory"),
        ("--kubernetes-instance=Not_a_name", "--kubernetes-instance"),
        ("--kubernetes-namespace=Not_a_name", "--kubernetes-namespace"),
        ("--unschedulable-secs=soon", "--unschedulable-secs"),
    ] {
        let errors = kubernetes(&[wrong]).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
        assert!(errors.0[0].starts_with(&format!("{flag} (")), "{errors}");
    }
}
