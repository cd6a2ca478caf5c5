//! The ways of installing that every check of a rendering is made with: each profile, each Ingress preset, each option.

/// A way of installing: the arguments of Helm after the chart's.
pub struct Case {
    pub name: String,
    pub args: Vec<String>,
}

/// The Secrets that a rendering without a cluster asks for.
pub const SECRETS: &str = "apiKey.existingSecret=given-api-key,signingKeys.existingSecret=given-signing-keys,\
                           encryptionKey.existingSecret=given-encryption-key";
pub const EXTERNAL: &str = "database.existingSecret=given-database";
pub const BUNDLED: &str = "postgresql.enabled=true,postgresql.password=given-password";
/// The names of Secrets that exist beside the chart in some case.
pub const GIVEN: [&str; 10] = [
    "given-api-key",
    "given-signing-keys",
    "given-encryption-key",
    "given-database",
    "given-database-tls",
    "given-tls",
    "given-registry",
    "given-bucket",
    // Made by cert-manager, and named by the production profile.
    "cliscale-tls",
    "cliscale-database-tls",
];

/// The profiles, and what each leaves to the one who installs.
pub const PROFILES: [(&str, &str); 4] =
    [("dev", BUNDLED), ("single-node", BUNDLED), ("staging", EXTERNAL), ("prod", EXTERNAL)];

/// Options on top of the external database: a name and what is set.
const OPTIONS: &[(&str, &str)] = &[
    ("defaults", ""),
    ("no-ingress", "ingress.enabled=false"),
    ("no-policies", "networkPolicy.enabled=false"),
    ("no-migration", "migration.enabled=false"),
    ("no-disruption-budgets", "controller.podDisruptionBudget.enabled=false,gateway.podDisruptionBudget.enabled=false"),
    ("one-of-each", "controller.replicas=1,gateway.replicas=1"),
    ("autoscaling", "controller.autoscaling.enabled=true,gateway.autoscaling.enabled=true"),
    ("autoscaling-by-connections", "gateway.autoscaling.enabled=true,gateway.autoscaling.connections.enabled=true"),
    (
        "monitoring",
        "monitoring.serviceMonitor.enabled=true,monitoring.dashboard.enabled=true,monitoring.rules.enabled=true,\
         monitoring.serviceMonitor.labels.release=prometheus",
    ),
    ("prepull", "runner.prepull.enabled=true"),
    (
        "pools",
        "pools[0].name=default,pools[0].min=3,pools[1].name=large,pools[1].memory=8Gi,pools[1].max=4,pools[1].priority=2,\
         pools[1].whenEmpty=refuse,pools[1].labels.team=data,pools[1].image=large:1,pools[1].perMinute=6,\
         pools[1].maxIdleSeconds=600,pools[1].spread=false,pools[1].podTemplate.spec.nodeSelector.disk=ssd",
    ),
    (
        "installer",
        "runner.installer.enabled=true,runner.image.repository=debian,runner.image.tag=bookworm,\
         runner.prepull.enabled=true",
    ),
    (
        "sandbox",
        "runner.runtimeClassName=gvisor,runner.nodeSelector.pool=sandboxes,runner.tolerations[0].key=sandboxes,\
         runner.tolerations[0].operator=Exists,runner.prepull.enabled=true,runner.cpu=2,runner.memory=2Gi,\
         runner.ephemeralStorage=8Gi",
    ),
    (
        "install-caches",
        "runner.installCaches.persistentVolumeClaim.claimName=caches,\
         runner.installCaches.persistentVolumeClaim.readOnly=true",
    ),
    ("folders-of-the-image", "runner.folders=image"),
    (
        "registry",
        "images.registry=registry.example/project/cliscale,images.tag=v1,images.pullPolicy=Always,\
         images.pullSecrets[0]=given-registry,runner.prepull.enabled=true",
    ),
    ("digest", "controller.image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("database-password", "database.passwordKey=password,database.tlsSecret=given-database-tls"),
    ("long-name", "fullnameOverride=a-name-as-long-as-a-very-thorough-operator-likes-it"),
    ("other-name", "nameOverride=terminals"),
    (
        "sessions",
        "sessions.createRate=30/min,sessions.maxSessions=1000000,sessions.allowPrivateCodeHosts=true,\
         sessions.allowedCodeDomains[0]=github.com,sessions.allowedCodeDomains[1]=*.example,publicUrl=https://term.example,\
         gateway.embedOrigins[0]=https://app.example,trustedProxyHops=3,sessions.keepHours=87600",
    ),
    (
        "recordings",
        "recordings.url=s3://bucket/terminals,recordings.existingSecret=given-bucket,recordings.maxBytes=1048576,\
         recordings.keepHours=24,networkPolicy.recordings.ports[0]=9000,networkPolicy.recordings.cidrs[0]=10.1.2.4/32",
    ),
    (
        "recordings-in-a-folder",
        "recordings.url=file:///var/lib/cliscale/recordings,recordings.existingClaim=given-claim,controller.replicas=1",
    ),
    (
        "placement",
        "controller.priorityClassName=high,gateway.nodeSelector.pool=edge,gateway.podLabels.team=a,\
         gateway.podAnnotations.team=a,controller.podLabels.team=a,controller.podAnnotations.team=a,\
         controller.extraEnv[0].name=HTTPS_PROXY,controller.extraEnv[0].value=http://proxy:3128,\
         gateway.extraEnv[0].name=HTTPS_PROXY,gateway.extraEnv[0].value=http://proxy:3128,\
         controller.serviceAccountAnnotations.iam=a,gateway.serviceAccountAnnotations.iam=a",
    ),
    (
        "networks",
        "networkPolicy.balancerRanges[0]=192.0.2.0/24,networkPolicy.deniedRanges.ipv4[0]=203.0.113.0/24,\
         networkPolicy.dns.nodeLocal=false,networkPolicy.database.cidrs[0]=10.1.2.3/32,networkPolicy.database.ports[0]=6432",
    ),
];

/// Ingress presets, and what each can do besides.
const INGRESS: &[(&str, &str)] = &[
    ("plain", ""),
    ("name", "ingress.hostname=term.example"),
    ("tls", "ingress.hostname=term.example,ingress.tls.enabled=true,ingress.tls.secretName=given-tls"),
    ("tls-without-redirect", "ingress.tls.enabled=true,ingress.tls.secretName=given-tls,ingress.httpsRedirect=false"),
    (
        "cert-manager",
        "ingress.hostname=term.example,ingress.tls.enabled=true,ingress.tls.certManagerIssuer=letsencrypt",
    ),
    ("annotations", "ingress.annotations.team=a,ingress.className=mine"),
];

/// What only Google's balancer has.
const GCE: &str = "ingress.preset=gce,ingress.hostname=term.example,ingress.gce.staticIpName=cliscale,\
                   ingress.tls.enabled=true,ingress.gce.managedCertificate=true,ingress.gce.securityPolicy=armor";

pub const PRESETS: [&str; 5] = ["nginx", "gce", "traefik", "haproxy", "none"];

/// `--set` with the Secrets and some more.
pub fn set(settings: &[&str]) -> Vec<String> {
    let mut args = vec!["--set".to_owned(), SECRETS.to_owned()];
    for setting in settings.iter().filter(|setting| !setting.is_empty()) {
        args.extend(["--set".to_owned(), (*setting).to_owned()]);
    }
    args
}

/// A profile with what it leaves to the one who installs.
pub fn profile(name: &str) -> Vec<String> {
    let (_, database) = PROFILES.iter().find(|(profile, _)| *profile == name).expect("a profile");
    let mut args = vec!["--values".to_owned(), format!("chart/values-{name}.yaml")];
    args.extend(set(&[database]));
    args
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> =
        PROFILES.iter().map(|(name, _)| Case { name: format!("profile-{name}"), args: profile(name) }).collect();
    for (name, settings) in OPTIONS {
        cases.push(Case { name: format!("external-{name}"), args: set(&[EXTERNAL, settings]) });
    }
    let bundled = [
        ("plain", ""),
        ("no-volume", "postgresql.storage.enabled=false"),
        ("kept", "postgresql.storage.retain=true,postgresql.storage.className=fast"),
    ];
    for (name, settings) in bundled {
        cases.push(Case { name: format!("bundled-{name}"), args: set(&[BUNDLED, settings]) });
    }
    for preset in PRESETS {
        let preset_setting = format!("ingress.preset={preset}");
        for (name, settings) in INGRESS {
            let args = set(&[EXTERNAL, &preset_setting, settings]);
            cases.push(Case { name: format!("ingress-{preset}-{name}"), args });
        }
    }
    cases.push(Case { name: "ingress-gce-all".to_owned(), args: set(&[EXTERNAL, GCE]) });
    let url = "database.url=postgres://cliscale:given-word@10.1.2.3:5433/cliscale";
    let own = "signingKeys.existingSecret=given-signing-keys,encryptionKey.existingSecret=given-encryption-key";
    let args = [own, url, "apiKey.value=given-key-0123456789"];
    let args = args.into_iter().flat_map(|text| ["--set".to_owned(), text.to_owned()]);
    cases.push(Case { name: "secrets-in-values".to_owned(), args: args.collect() });
    cases
}
