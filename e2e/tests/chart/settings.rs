//! What the chart tells the programs: variables that they know, with values that they take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::stack::binary;

use crate::cases;
use crate::objects::{containers, each, name, parse, pod};
use crate::tools::Tools;

/// The variables that a program names in its help.
fn known(program: &str, args: &[&str]) -> Result<BTreeSet<String>> {
    let output = Command::new(binary(program)).args(args).arg("--help").env_clear().output()?;
    ensure!(output.status.success(), "{program} {args:?} --help: {}", output.status);
    let help = String::from_utf8(output.stdout)?;
    // Long lines are folded, also behind `[env:`.
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    Ok(words.filter(|word| word.starts_with("CLISCALE_")).map(str::to_owned).collect())
}

/// The program and the arguments of a container that runs one of ours.
fn program(container: &Value) -> Option<(&'static str, Vec<&str>)> {
    let args: Vec<&str> = each(&container["args"]).filter_map(Value::as_str).collect();
    match container["name"].as_str()? {
        "controller" | "migrate" => Some(("cliscale-controller", args)),
        "gateway" => Some(("cliscale-gateway", args)),
        _ => None,
    }
}

#[test]
fn every_variable_and_argument_is_one_that_its_program_knows() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let mut helps: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in tools.cases()? {
        let objects = &case.objects;
        for pod in objects.all.iter().filter_map(pod) {
            for container in containers(pod) {
                let Some((program, args)) = program(container) else { continue };
                let key = format!("{program} {}", args.join(" "));
                if !helps.contains_key(&key) {
                    helps.insert(key.clone(), known(program, &args)?);
                }
                for variable in each(&container["env"]).filter_map(|variable| variable["name"].as_str()) {
                    let ours = variable.starts_with("CLISCALE_");
                    ensure!(!ours || helps[&key].contains(variable), "{}: {key} does not know {variable}", case.name);
                }
            }
        }
    }
    assert_eq!(helps.len(), 3, "{:?}", helps.keys());
    Ok(())
}

/// Starts a program as a container would be, but for what is of a cluster, and returns how that ended.
fn start(container: &Value, objects: &crate::objects::Objects, folder: &Path) -> Result<(Option<i32>, String)> {
    let (program, args) = program(container).context("one of our programs")?;
    let template =
        objects.of_kind("ConfigMap").find(|map| name(map).ends_with("-runner-pod")).context("a pod template")?;
    let files = folder.join("files");
    std::fs::create_dir_all(&files)?;
    std::fs::write(files.join("template"), template["data"]["template.yaml"].as_str().context("a template")?)?;
    if let Some(pools) = template["data"]["pools.yaml"].as_str() {
        std::fs::write(files.join("pools"), pools)?;
    }
    std::fs::write(files.join("key"), "0".repeat(64))?;
    std::fs::write(files.join("word"), "csk_0123456789abcdef")?;
    let mut command = Command::new(binary(program));
    command.args(args).env_clear().env("PATH", "").env("HOME", &files);
    for variable in each(&container["env"]) {
        let name = variable["name"].as_str().context("a name")?;
        let file = match name {
            "CLISCALE_RUNNER_POD_TEMPLATE" => Some("template"),
            "CLISCALE_POOLS" => Some("pools"),
            "CLISCALE_ENCRYPTION_KEY_FILE" => Some("key"),
            "CLISCALE_API_KEY_FILE" | "CLISCALE_DATABASE_PASSWORD_FILE" => Some("word"),
            "CLISCALE_KEYS_DIR" => Some("keys"),
            _ => None,
        };
        match (file, variable["value"].as_str()) {
            (Some(file), _) => command.env(name, files.join(file)),
            (None, Some(value)) => command.env(name, value),
            (None, None) => command.env(name, "postgres://cliscale:word@127.0.0.1:1/cliscale"),
        };
    }
    // Nobody answers at the first port, and nobody is waited for: a start whose settings are in order ends there.
    command.env("CLISCALE_DATABASE_URL", "postgres://cliscale@127.0.0.1:1/cliscale?sslmode=disable");
    for (name, value) in [("CLISCALE_DATABASE_WAIT_SECS", "0"), ("CLISCALE_WAIT_SECS", "1")] {
        command.env(name, value);
    }
    for listen in ["CLISCALE_LISTEN", "CLISCALE_INTERNAL_LISTEN", "CLISCALE_ADMIN_LISTEN", "CLISCALE_ADMIN"] {
        command.env(listen, "127.0.0.1:0");
    }
    let output = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), said))
}

#[test]
fn every_value_that_the_chart_passes_is_taken() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let mut tried = BTreeSet::new();
    for case in tools.cases()? {
        let objects = &case.objects;
        for pod in objects.all.iter().filter_map(pod) {
            for container in containers(pod).filter(|container| program(container).is_some()) {
                // Cases that pass the same are one.
                if !tried.insert(format!("{}{}", container["env"], container["args"])) {
                    continue;
                }
                let (code, said) = start(container, objects, tools.work())?;
                let at = format!("{}: {}", case.name, container["name"]);
                ensure!(code != Some(0) && !said.contains("the settings cannot be used"), "{at}: {said}");
                // Where it did end is beyond the settings: no cluster, or no database.
                let beyond = ["database", "Database", "kube", "Kubernetes", "cluster"];
                ensure!(code != Some(2) && beyond.iter().any(|word| said.contains(word)), "{at}: {code:?} {said}");
            }
        }
    }
    ensure!(tried.len() > 10, "only {} were tried", tried.len());
    Ok(())
}

/// Kubernetes kills after the grace period; by then everything must be over.
#[test]
fn pods_have_longer_to_stop_than_their_programs_take() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for case in tools.cases()? {
        let objects = &case.objects;
        for deployment in objects.of_kind("Deployment") {
            let pod = &deployment["spec"]["template"]["spec"];
            let grace = pod["terminationGracePeriodSeconds"].as_u64().context("a grace period")?;
            let seconds = |named: &str| {
                let variables = each(&pod["containers"][0]["env"]);
                let mut values =
                    variables.filter(|variable| variable["name"] == named).filter_map(|one| one["value"].as_str());
                values.next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
            };
            // A controller's requests under way have 8 s.
            let drain = if name(deployment).ends_with("-controller") { 8 } else { seconds("CLISCALE_DRAIN_SECS") };
            let needed = seconds("CLISCALE_SHUTDOWN_DELAY_SECS") + drain;
            ensure!(grace > needed, "{}: {}: {grace} s of grace for {needed} s", case.name, name(deployment));
        }
    }
    Ok(())
}

#[test]
fn the_runners_pod_template_is_yaml_with_what_the_values_say() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let settings = "runner.runtimeClassName=gvisor,images.pullSecrets[0]=a,images.pullPolicy=Always,\
                    runner.podTemplate.spec.containers[0].name=runner,runner.podTemplate.spec.containers[0].env[0].name=A,\
                    runner.podTemplate.spec.containers[0].env[0].value=b,runner.podTemplate.spec.imagePullSecrets[0].name=c,\
                    runner.installCaches.hostPath.path=/var/caches";
    let objects = tools.render(&cases::set(&[cases::EXTERNAL, settings]))?;
    let map = objects.get("ConfigMap", "cliscale-runner-pod")?;
    let template = parse(map["data"]["template.yaml"].as_str().context("a template")?)?;
    let expected = serde_json::json!({ "spec": {
        "runtimeClassName": "gvisor",
        "imagePullSecrets": [{ "name": "c" }, { "name": "a" }],
        "containers": [{
            "name": "runner",
            "imagePullPolicy": "Always",
            "env": [{ "name": "A", "value": "b" }, { "name": "CLISCALE_INSTALL_CACHES", "value": "/caches" }],
            "volumeMounts": [{ "name": "install-caches", "mountPath": "/caches", "readOnly": true }],
        }],
        "volumes": [{ "name": "install-caches", "hostPath": { "path": "/var/caches" } }],
    }});
    assert_eq!(template, expected);
    Ok(())
}
