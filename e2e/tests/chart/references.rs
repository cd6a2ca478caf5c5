//! What the rendered objects say about each other: no name leads nowhere.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::GIVEN;
use crate::objects::{Objects, containers, each, kind, name, pod};
use crate::tools::{NAMESPACE, Tools};

/// The names of Secrets or ConfigMaps that a pod asks for.
fn asked_for(pod: &Value, what: &str) -> BTreeSet<String> {
    let (volume, volume_name, variable) = if what == "Secret" {
        ("secret", "secretName", "secretKeyRef")
    } else {
        ("configMap", "name", "configMapKeyRef")
    };
    let mut names = BTreeSet::new();
    let mut note = |value: &Value| {
        names.extend(value.as_str().map(str::to_owned));
    };
    for entry in each(&pod["spec"]["volumes"]) {
        note(&entry[volume][volume_name]);
    }
    for container in containers(pod) {
        for entry in each(&container["env"]) {
            note(&entry["valueFrom"][variable]["name"]);
        }
        if what == "Secret" {
            for entry in each(&container["envFrom"]) {
                note(&entry["secretRef"]["name"]);
            }
        }
    }
    if what == "Secret" {
        for entry in each(&pod["spec"]["imagePullSecrets"]) {
            note(&entry["name"]);
        }
    }
    names
}

/// Whether a selector's labels are among a pod's.
fn selects(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| &labels[key] == value))
}

fn check_pods(objects: &Objects, case: &str) -> Result<()> {
    for object in &objects.all {
        let Some(pod) = pod(object) else { continue };
        let at = format!("{case}: {} {}", kind(object), name(object));
        for what in ["Secret", "ConfigMap"] {
            for wanted in asked_for(pod, what) {
                let made = objects.get(what, &wanted).is_ok();
                ensure!(made || GIVEN.contains(&&*wanted), "{at} asks for the {what} {wanted}");
            }
        }
        if let Some(account) = pod["spec"]["serviceAccountName"].as_str() {
            objects.get("ServiceAccount", account).with_context(|| at.clone())?;
        }
        let volumes: BTreeSet<&str> =
            each(&pod["spec"]["volumes"]).filter_map(|volume| volume["name"].as_str()).collect();
        let templates: BTreeSet<&str> = each(&object["spec"]["volumeClaimTemplates"])
            .filter_map(|claim| claim["metadata"]["name"].as_str())
            .collect();
        let mut mounted = BTreeSet::new();
        for container in containers(pod) {
            let mut variables = BTreeSet::new();
            for variable in each(&container["env"]) {
                let variable = variable["name"].as_str().context("a variable without a name")?;
                ensure!(variables.insert(variable), "{at} sets {variable} twice");
            }
            for mount in each(&container["volumeMounts"]) {
                let volume = mount["name"].as_str().context("a mount without a name")?;
                ensure!(volumes.contains(volume) || templates.contains(volume), "{at} mounts {volume}");
                mounted.insert(volume);
            }
            let ports: BTreeSet<&str> = each(&container["ports"]).filter_map(|port| port["name"].as_str()).collect();
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                if let Some(port) = container[probe]["httpGet"]["port"].as_str() {
                    ensure!(ports.contains(port), "{at} is probed at {port}");
                }
            }
        }
        let unused: Vec<&&str> = volumes.iter().filter(|volume| !mounted.contains(**volume)).collect();
        ensure!(unused.is_empty(), "{at} has volumes that nothing mounts: {unused:?}");
    }
    Ok(())
}

/// Every Service selects pods of one object of the release, and names ports that these have.
fn check_services(objects: &Objects, case: &str) -> Result<()> {
    for service in objects.of_kind("Service") {
        let at = format!("{case}: Service {}", name(service));
        let behind: Vec<&Value> = objects
            .all
            .iter()
            .filter(|object| pod(object).is_some_and(|pod| selects(&service["spec"]["selector"], pod)))
            .collect();
        let [only] = behind.as_slice() else { anyhow::bail!("{at} selects {} objects' pods", behind.len()) };
        let pod = pod(only).context("a pod")?;
        let named: BTreeSet<&str> = containers(pod)
            .flat_map(|container| each(&container["ports"]))
            .filter_map(|port| port["name"].as_str())
            .collect();
        for port in each(&service["spec"]["ports"]) {
            let target = port["targetPort"].as_str().with_context(|| format!("{at} without a named target"))?;
            ensure!(named.contains(target), "{at} leads to {target}");
        }
    }
    Ok(())
}

fn check_ingress(objects: &Objects, case: &str) -> Result<()> {
    for ingress in objects.of_kind("Ingress") {
        let mut routes = Vec::new();
        for rule in each(&ingress["spec"]["rules"]) {
            for path in each(&rule["http"]["paths"]) {
                let backend = &path["backend"]["service"];
                let service = objects.get("Service", backend["name"].as_str().context("a backend")?)?;
                let port = each(&service["spec"]["ports"]).find(|port| port["name"] == backend["port"]["name"]);
                ensure!(port.is_some(), "{case}: the Ingress leads to a port that {} has not", name(service));
                ensure!(path["pathType"] == "Prefix", "{case}: {path}");
                let to = name(service).rsplit('-').next().unwrap_or_default().to_owned();
                routes.push((path["path"].as_str().unwrap_or_default().to_owned(), to));
            }
        }
        let expected = [
            ("/api", "controller"),
            ("/.well-known", "controller"),
            ("/openapi.json", "controller"),
            ("/docs", "controller"),
            ("/ws", "gateway"),
        ];
        let expected = expected.map(|(path, to)| (path.to_owned(), to.to_owned()));
        ensure!(routes == expected, "{case}: {routes:?}");
    }
    Ok(())
}

/// Budgets and autoscalers, and what the balancer and monitoring are told.
fn check_others(objects: &Objects, case: &str) -> Result<()> {
    for scaler in objects.of_kind("HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        let deployment = objects.get("Deployment", target["name"].as_str().context("a target")?)?;
        ensure!(deployment["spec"].get("replicas").is_none(), "{case}: {} has two masters", name(deployment));
    }
    for budget in objects.of_kind("PodDisruptionBudget") {
        let selector = &budget["spec"]["selector"]["matchLabels"];
        let covered = objects.all.iter().filter_map(pod).filter(|pod| selects(selector, pod)).count();
        ensure!(covered == 1, "{case}: the budget {} covers {covered}", name(budget));
    }
    for monitor in objects.of_kind("ServiceMonitor") {
        let wanted = &monitor["spec"]["selector"]["matchLabels"];
        let services: Vec<&Value> = objects.of_kind("Service").filter(|service| selects(wanted, service)).collect();
        ensure!(services.len() == 2, "{case}: {} Services are monitored", services.len());
        for endpoint in each(&monitor["spec"]["endpoints"]) {
            let has = |service: &&&Value| each(&service["spec"]["ports"]).any(|port| port["name"] == endpoint["port"]);
            ensure!(services.iter().filter(has).count() == 2, "{case}: no port {}", endpoint["port"]);
        }
    }
    for service in objects.of_kind("Service") {
        if let Some(config) = service["metadata"]["annotations"]["cloud.google.com/backend-config"].as_str() {
            let config: Value = serde_json::from_str(config).with_context(|| config.to_owned())?;
            objects.get("BackendConfig", config["default"].as_str().context("a default")?)?;
        }
    }
    Ok(())
}

#[test]
fn every_name_in_an_object_is_that_of_another_or_of_a_given_one() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for case in tools.cases()? {
        let objects = &case.objects;
        for object in &objects.all {
            ensure!(object["metadata"]["namespace"] == NAMESPACE, "{}: {} {}", case.name, kind(object), name(object));
            ensure!(name(object).len() <= 63, "{}: the name {} is too long", case.name, name(object));
        }
        check_pods(objects, &case.name)?;
        check_services(objects, &case.name)?;
        check_ingress(objects, &case.name)?;
        check_others(objects, &case.name)?;
    }
    Ok(())
}

/// design.md's hardening, for whatever the chart runs itself.
#[test]
fn no_container_is_root_may_become_it_or_writes_to_its_image() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for case in tools.cases()? {
        let objects = &case.objects;
        for object in &objects.all {
            let Some(pod) = pod(object) else { continue };
            let at = format!("{}: {} {}", case.name, kind(object), name(object));
            for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
                ensure!(pod["spec"].get(forbidden).is_none(), "{at} has {forbidden}");
            }
            ensure!(
                each(&pod["spec"]["volumes"]).all(|volume| volume.get("hostPath").is_none()),
                "{at} has a hostPath"
            );
            for container in containers(pod) {
                let context = &container["securityContext"];
                for (field, wanted) in [
                    ("runAsNonRoot", true),
                    ("readOnlyRootFilesystem", true),
                    ("allowPrivilegeEscalation", false),
                    ("privileged", false),
                ] {
                    ensure!(context[field] == wanted, "{at}: {field} is {}", context[field]);
                }
                ensure!(context["capabilities"] == serde_json::json!({ "drop": ["ALL"] }), "{at}: {context}");
                ensure!(context["seccompProfile"]["type"] == "RuntimeDefault", "{at}: {context}");
                for amount in ["cpu", "memory", "ephemeral-storage"] {
                    for bound in ["requests", "limits"] {
                        ensure!(!container["resources"][bound][amount].is_null(), "{at}: no {bound} of {amount}");
                    }
                }
            }
        }
    }
    Ok(())
}
