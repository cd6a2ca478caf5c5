//! What kube-score says: no critical finding but those that are named here, with the reason.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::objects::each;
use crate::tools::Tools;

/// Checks whose critical findings are accepted, the kind that they are found at, and why. The chart says the same where
/// the cause is.
const ACCEPTED: &[(&str, &str, &str)] = &[
    // Tags of releases never move, and a node that has an image must not need the registry to start a session
    // (values.yaml, images.pullPolicy).
    ("container-image-pull-policy", "DaemonSet", "images.pullPolicy"),
    ("container-image-pull-policy", "Deployment", "images.pullPolicy"),
    ("container-image-pull-policy", "Job", "images.pullPolicy"),
    ("container-image-pull-policy", "Pod", "images.pullPolicy"),
    ("container-image-pull-policy", "StatefulSet", "images.pullPolicy"),
    // Runners are made by the controllers, so no pod of theirs is in the chart (templates/network/runner.yaml).
    ("networkpolicy-targets-pod", "NetworkPolicy", "runner"),
    // The bundled database's Service has an address, which clients find before the pod is there
    // (templates/postgresql/statefulset.yaml).
    ("statefulset-has-servicename", "StatefulSet", "postgresql"),
];

/// What profiles for one machine have one of by intention (values-dev.yaml, values-single-node.yaml).
const ALONE: [&str; 2] = ["deployment-replicas", "deployment-has-poddisruptionbudget"];

/// kube-score's grade for what it calls critical.
const CRITICAL: u64 = 1;

/// Critical findings as (check, kind, object and words).
fn criticals(report: &str) -> Result<Vec<(String, String, String)>> {
    let report: Value = serde_json::from_str(report).with_context(|| report.to_owned())?;
    let mut found = Vec::new();
    for object in each(&report) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for check in each(&object["checks"]) {
            if check["skipped"] == false && check["grade"].as_u64().is_some_and(|grade| grade <= CRITICAL) {
                let words: Vec<String> = each(&check["comments"]).map(|comment| word(&comment["summary"])).collect();
                let text = format!("{}: {}", word(&object["object_name"]), words.join("; "));
                found.push((word(&check["check"]["id"]), word(&object["type_meta"]["kind"]), text));
            }
        }
    }
    Ok(found)
}

#[test]
fn kube_score_has_no_critical_finding_that_is_not_explained() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let mut met = BTreeSet::new();
    for case in tools.cases()? {
        // Cases that turn a protection off are told so, and rightly.
        if ["no-policies", "no-disruption-budgets", "one-of-each"].iter().any(|off| case.name.ends_with(off)) {
            continue;
        }
        let objects = &case.objects;
        let args = ["score", "--kubernetes-version", "v1.34", "--disable-ignore-checks-annotations", "-o", "json", "-"];
        let ran = tools.run("kube-score", &args, &objects.text)?;
        for (check, kind, text) in criticals(&ran.stdout).with_context(|| ran.stderr.clone())? {
            let accepted = ACCEPTED.iter().position(|(id, of, _)| *id == check && *of == kind);
            let profile = case.name.starts_with("profile-dev") || case.name.starts_with("profile-single-node");
            let alone = ALONE.contains(&&*check) && profile;
            ensure!(accepted.is_some() || alone, "{}: {check}: {text}", case.name);
            met.extend(accepted);
        }
    }
    let stale: Vec<_> = ACCEPTED.iter().enumerate().filter(|(index, _)| !met.contains(index)).collect();
    ensure!(stale.is_empty(), "accepted, and not found any more: {stale:?}");
    Ok(())
}

#[test]
fn kube_score_sees_what_it_should() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: 'a:latest'}]}\n";
    let ran = tools.run("kube-score", &["score", "-o", "json", "-"], bad)?;
    let found: BTreeSet<String> = criticals(&ran.stdout)?.into_iter().map(|(check, _, _)| check).collect();
    for check in ["container-image-tag", "container-resources", "container-security-context-readonlyrootfilesystem"] {
        ensure!(found.contains(check), "{found:?}");
    }
    Ok(())
}
