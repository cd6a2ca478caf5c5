//! The schema of the chart's values: it knows every key, and refuses by name what is misspelt or hostile.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::{self, EXTERNAL};
use crate::tools::{Tools, read};
use crate::value_keys::defaults;

/// Settings that must be refused, and the field that the message must name.
const REFUSED: &[(&str, &str)] = &[
    ("gateway.maxConection=5", "maxConection"),
    ("ingres.enabled=true", "ingres"),
    ("ingress.tls.secret=a", "secret"),
    ("networkPolicy.egress=a", "egress"),
    ("runner.installer.enable=true", "enable"),
    ("controller.replicas=0", "/controller/replicas"),
    ("controller.replicas=-1", "/controller/replicas"),
    ("controller.replicas=two", "/controller/replicas"),
    ("gateway.maxConnections=0", "/gateway/maxConnections"),
    ("gateway.maxConnections=9999999", "/gateway/maxConnections"),
    ("gateway.drainSeconds=-1", "/gateway/drainSeconds"),
    ("ingress.preset=apache", "/ingress/preset"),
    ("ingress.enabled=yes-please", "/ingress/enabled"),
    ("ingress.hostname=UPPER_case!", "/ingress/hostname"),
    ("ingress.hostname=a.example/path", "/ingress/hostname"),
    ("images.pullPolicy=Sometimes", "/images/pullPolicy"),
    ("sessions.maxTtlSeconds=-1", "/sessions/maxTtlSeconds"),
    ("sessions.maxTtlSeconds=99999999", "/sessions/maxTtlSeconds"),
    ("sessions.createRate=often", "/sessions/createRate"),
    ("gateway.embedOrigins[0]=app.example", "/gateway/embedOrigins/0"),
    ("gateway.embedOrigins[0]=https://app.example/path", "/gateway/embedOrigins/0"),
    ("recordings.url=https://bucket.example", "/recordings/url"),
    ("recordings.url=s3://key:secret@bucket", "/recordings/url"),
    ("recordings.maxBytes=1000", "/recordings/maxBytes"),
    ("publicUrl=term.example", "/publicUrl"),
    ("trustedProxyHops=-1", "/trustedProxyHops"),
    ("trustedProxyHops=all", "/trustedProxyHops"),
    ("networkPolicy.balancerRanges[0]=everywhere", "/networkPolicy/balancerRanges/0"),
    ("networkPolicy.database.cidrs[0]=10.0.0.1", "/networkPolicy/database/cidrs/0"),
    ("networkPolicy.apiServer.ports[0]=70000", "/networkPolicy/apiServer/ports/0"),
    ("database.url=mysql://a@b/c", "/database/url"),
    ("encryptionKey.existingSecret=Not_A_Name", "/encryptionKey/existingSecret"),
    ("controller.image.digest=sha256:short", "/controller/image/digest"),
    ("fullnameOverride=Not_A_Name", "/fullnameOverride"),
    ("log.format=xml", "/log/format"),
    ("runner.cpu=lots", "/runner/cpu"),
    ("runner.memory=1 GB", "/runner/memory"),
    ("controller.extraEnv[0].nam=A", "/controller/extraEnv/0"),
    ("migration.backoffLimit=-1", "/migration/backoffLimit"),
];

#[test]
fn misspelt_and_hostile_values_are_refused_by_name() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for (setting, field) in REFUSED {
        // Without the external database's setting, which would be in the way of one here.
        let database = if setting.starts_with("database.url") { "" } else { EXTERNAL };
        let said = tools.refusal(&cases::set(&[database, setting]))?;
        ensure!(said.contains("schema") && said.contains(field), "{setting}: {said}");
    }
    // YAML and templates in values stay text.
    for hostile in
        [r#"ingress.hostname="}}{{ fail `a` }}""#, "log.filter={{ .Values }}", "sessions.createRate=\n- a: b"]
    {
        let ran = tools.template(&["--set-literal", hostile, "--set", cases::SECRETS, "--set", EXTERNAL])?;
        ensure!(ran.success == hostile.starts_with("log."), "{hostile}: {}{}", ran.stdout, ran.stderr);
        ensure!(!ran.success || ran.stdout.contains("{{ .Values }}"), "{hostile} was evaluated");
    }
    Ok(())
}

#[test]
fn contradictions_between_values_are_refused_in_words() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for (settings, words) in [
        (&[EXTERNAL, cases::BUNDLED][..], "Two databases"),
        (&[EXTERNAL, "database.url=postgres://a@b/c"], "Choose"),
        (&[EXTERNAL, "apiKey.value=0123456789abcdef"], "Choose"),
        (&[EXTERNAL, "recordings.url=file:///r,recordings.existingClaim=given-claim"], "one controller alone"),
        (&[EXTERNAL, "recordings.url=file:///r,controller.replicas=1"], "PersistentVolumeClaim"),
        (&[EXTERNAL, "recordings.url=s3://bucket,recordings.existingClaim=given-claim"], "file:///FOLDER alone"),
        (
            &[EXTERNAL, "ingress.preset=gce,ingress.gce.managedCertificate=true,ingress.tls.enabled=true"],
            "ingress.hostname",
        ),
        (&[EXTERNAL, "ingress.tls.certManagerIssuer=a"], "ingress.tls.enabled"),
        (&[EXTERNAL, "runner.installer.enabled=true,runner.folders=image"], "goes without runner.installer.enabled"),
        (&[EXTERNAL, "ingress.tls.enabled=true"], "needs a certificate"),
        (&[EXTERNAL, "sessions.defaultTtlSeconds=7200,sessions.maxTtlSeconds=3600"], "sessions.maxTtlSeconds"),
    ] {
        let said = tools.refusal(&cases::set(settings))?;
        ensure!(said.contains(words), "{settings:?}: {said}");
    }
    Ok(())
}

/// The schema with its references followed.
fn resolve<'a>(schema: &'a Value, mut part: &'a Value) -> Result<&'a Value> {
    while let Some(reference) = part["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').context("a reference to another file")?;
        part = schema.pointer(pointer).with_context(|| format!("the schema has no {reference}"))?;
    }
    Ok(part)
}

#[test]
fn every_key_of_values_yaml_is_in_the_schema_and_every_map_of_keys_is_closed() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("chart/values.schema.json"))?;
    let values = defaults()?;
    let mut open = vec![(String::new(), &values, resolve(&schema, &schema)?)];
    while let Some((path, value, part)) = open.pop() {
        let Some(members) = value.as_object().filter(|members| !members.is_empty()) else { continue };
        let named = part["properties"].as_object();
        if named.is_none() {
            // A map of the operator's own keys, with some by default.
            ensure!(
                part.get("additionalProperties").is_some_and(|more| more != &Value::Bool(true))
                    || part["type"] == "object",
                "{path}"
            );
            continue;
        }
        ensure!(part["additionalProperties"] == false, "{path} takes misspelt keys");
        for (name, member) in members {
            let path = format!("{path}/{name}");
            let inner = part["properties"].get(name).with_context(|| format!("{path} is not in the schema"))?;
            open.push((path, member, resolve(&schema, inner)?));
        }
        let unknown: Vec<&String> =
            named.into_iter().flatten().map(|(name, _)| name).filter(|name| !members.contains_key(*name)).collect();
        // `global` is Helm's own; `claims` is of Kubernetes' resources, which have no default.
        ensure!(
            unknown.iter().all(|name| ["global", "claims"].contains(&name.as_str())),
            "{path}: values.yaml lacks {unknown:?}"
        );
    }
    Ok(())
}
