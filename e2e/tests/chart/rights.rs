//! What the chart lets its programs do in the cluster, against what the documents promise.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::objects::{each, kind, name, parse, pod};
use crate::tools::{NAMESPACE, Tools, read};

/// The rules as (group, resource, verb).
fn rights(rules: &Value) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for rule in each(rules) {
        for group in each(&rule["apiGroups"]) {
            for resource in each(&rule["resources"]) {
                for verb in each(&rule["verbs"]) {
                    found.insert((word(group), word(resource), word(verb)));
                }
            }
        }
    }
    found
}

/// The Role that docs/kubernetes.md shows.
fn documented() -> Result<BTreeSet<(String, String, String)>> {
    let page = read("docs/kubernetes.md");
    let section = page.split("## Rights").nth(1).context("a section on rights")?;
    let block = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).context("a block")?;
    Ok(rights(&parse(block)?["rules"]))
}

#[test]
fn the_controllers_role_is_the_documented_one_and_there_is_no_other() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let documented = documented()?;
    ensure!(documented.len() > 5, "the documents show too few rights: {documented:?}");
    for case in tools.cases()? {
        let objects = &case.objects;
        for wide in ["ClusterRole", "ClusterRoleBinding"] {
            ensure!(objects.of_kind(wide).next().is_none(), "{}: a {wide}", case.name);
        }
        let roles: Vec<&Value> = objects.of_kind("Role").collect();
        let [role] = roles.as_slice() else { anyhow::bail!("{}: {} roles", case.name, roles.len()) };
        assert_eq!(rights(&role["rules"]), documented, "{}", case.name);
        ensure!(
            each(&role["rules"])
                .all(|rule| rule.get("resourceNames").is_none() && rule.get("nonResourceURLs").is_none())
        );
        let bindings: Vec<&Value> = objects.of_kind("RoleBinding").collect();
        let [binding] = bindings.as_slice() else { anyhow::bail!("{}: {} bindings", case.name, bindings.len()) };
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["roleRef"]["kind"], "Role");
        let subjects: Vec<&Value> = each(&binding["subjects"]).collect();
        let [subject] = subjects.as_slice() else { anyhow::bail!("{}: {subjects:?}", case.name) };
        assert_eq!((&subject["kind"], &subject["namespace"]), (&"ServiceAccount".into(), &NAMESPACE.into()));
        let account = subject["name"].as_str().context("an account")?;
        objects.get("ServiceAccount", account)?;
        // Nobody else has that account, or any token at all.
        for object in &objects.all {
            let Some(pod) = pod(object) else { continue };
            let controller = kind(object) == "Deployment" && name(object).ends_with("-controller");
            let token = pod["spec"]["automountServiceAccountToken"].as_bool();
            ensure!(token == Some(controller), "{}: {} {} and its token", case.name, kind(object), name(object));
            ensure!((pod["spec"]["serviceAccountName"] == account) == controller, "{}: {}", case.name, name(object));
        }
    }
    Ok(())
}
