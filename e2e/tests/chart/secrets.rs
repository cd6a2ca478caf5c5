//! Secrets: demanded where none can be drawn, and never anywhere but in a Secret.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cases::{self, BUNDLED, EXTERNAL};
use crate::objects::{containers, each, kind, name, pod};
use crate::tools::Tools;

#[test]
fn without_a_cluster_each_missing_secret_is_named_with_the_command_that_makes_it() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let own = ["apiKey", "signingKeys", "encryptionKey"];
    for missing in own {
        let given: Vec<String> =
            own.iter().filter(|key| **key != missing).map(|key| format!("{key}.existingSecret=a")).collect();
        let said = tools.refusal(&["--set", &given.join(","), "--set", EXTERNAL])?;
        for part in
            [&*format!("{missing}.existingSecret"), "kubectl -n ws-cli create secret generic", "no cluster is seen"]
        {
            ensure!(said.contains(part), "{missing} is missing, and it says: {said}");
        }
    }
    let said = tools.refusal(&cases::set(&[]))?;
    ensure!(said.contains("database.existingSecret") && said.contains("postgresql.enabled"), "{said}");
    let said = tools.refusal(&cases::set(&["postgresql.enabled=true"]))?;
    ensure!(said.contains("postgresql.password"), "{said}");
    Ok(())
}

#[test]
fn with_existing_secrets_the_chart_makes_none() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let objects = tools.render(&cases::set(&[EXTERNAL]))?;
    let made: Vec<&str> = objects.of_kind("Secret").map(name).collect();
    ensure!(made.is_empty(), "{made:?}");
    // Rendered twice, it is the same: nothing is drawn, so a GitOps tool sees no change.
    ensure!(objects.text == tools.render(&cases::set(&[EXTERNAL]))?.text);
    let objects = tools.render(&cases::set(&[BUNDLED]))?;
    let made: Vec<&str> = objects.of_kind("Secret").map(name).collect();
    ensure!(made == ["cliscale-postgresql"], "{made:?}");
    ensure!(objects.text == tools.render(&cases::set(&[BUNDLED]))?.text);
    Ok(())
}

/// Everything of an object that is no Secret's data.
fn visible(object: &Value) -> String {
    let mut object = object.clone();
    if kind(&object) == "Secret" {
        for field in ["data", "stringData"] {
            object[field] = Value::Null;
        }
    }
    object.to_string()
}

#[test]
fn secret_values_are_in_secrets_alone() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    // What cases.rs gives as values; in Secrets it is base64.
    let words = ["given-key-0123456789", "given-word", "given-password"];
    let encoded = ["Z2l2ZW4ta2V5LTAxMjM0NTY3ODk", "Z2l2ZW4tcGFzc3dvcmQ"];
    let mut kept = 0;
    for case in tools.cases()? {
        let objects = &case.objects;
        for object in &objects.all {
            let visible = visible(object);
            for word in words.iter().chain(&encoded) {
                ensure!(!visible.contains(word), "{}: {word} is in {} {}", case.name, kind(object), name(object));
            }
            kept += usize::from(kind(object) == "Secret");
        }
        for pod in objects.all.iter().filter_map(pod) {
            for container in containers(pod) {
                check_variables(container, &case.name)?;
            }
        }
    }
    ensure!(kept > 3, "only {kept} Secrets were looked at");
    Ok(())
}

/// A secret reaches a program as a file, or as a variable out of a Secret.
fn check_variables(container: &Value, case: &str) -> Result<()> {
    for variable in each(&container["env"]) {
        let (name, value) = (variable["name"].as_str().unwrap_or_default(), variable["value"].as_str());
        let secret = ["KEY", "PASSWORD", "SECRET", "TOKEN"].iter().any(|word| name.contains(word));
        let path = name.ends_with("_FILE") || name.ends_with("_DIR");
        ensure!(!secret || path || value.is_none(), "{case}: {name} is in the open");
        ensure!(!path || value.is_some_and(|value| value.starts_with('/')), "{case}: {name} is no path");
        if name == "CLISCALE_DATABASE_URL" {
            let password = value.and_then(|value| value.split_once("://")?.1.split_once('@')?.0.split_once(':'));
            ensure!(password.is_none(), "{case}: a password is in the open");
        }
    }
    Ok(())
}
