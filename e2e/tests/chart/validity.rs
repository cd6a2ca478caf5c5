//! Every case is a chart that Helm accepts and a set of objects that Kubernetes would.

use std::collections::HashSet;

use anyhow::{Result, ensure};

use crate::cases::{self, EXTERNAL};
use crate::objects::{kind, name};
use crate::tools::Tools;

#[test]
fn helm_lint_finds_nothing_even_strictly() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let mut cases: Vec<Vec<String>> = cases::PROFILES.iter().map(|(profile, _)| cases::profile(profile)).collect();
    cases.push(cases::set(&[EXTERNAL]));
    for case in cases {
        let args: Vec<String> = ["lint", "--strict", "chart"].into_iter().map(str::to_owned).chain(case).collect();
        let ran = tools.run("helm", &args, "")?;
        ensure!(ran.success, "{args:?}\n{}{}", ran.stdout, ran.stderr);
        for word in ["[WARNING]", "[ERROR]"] {
            ensure!(!ran.stdout.contains(word), "{args:?}\n{}", ran.stdout);
        }
    }
    Ok(())
}

#[test]
fn every_profile_of_the_chart_is_a_case() {
    let files = std::fs::read_dir(crate::tools::root().join("chart")).expect("the chart").filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        Some(name.strip_prefix("values-")?.strip_suffix(".yaml")?.to_owned())
    });
    let mut there: Vec<String> = files.collect();
    there.sort();
    let mut known: Vec<&str> = cases::PROFILES.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(there, known);
}

#[test]
fn everything_that_the_chart_can_make_fits_the_strict_schemas_of_kubernetes() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let schemas = tools.schemas()?;
    let folder = tools.work().join("rendered");
    std::fs::create_dir(&folder)?;
    for case in tools.cases()? {
        let objects = &case.objects;
        let mut known = HashSet::new();
        for object in &objects.all {
            // A hook may replace another of its name at another time.
            let hook = object["metadata"]["annotations"]["helm.sh/hook"].as_str();
            ensure!(
                known.insert((kind(object), name(object), hook)),
                "{}: two {} {}",
                case.name,
                kind(object),
                name(object)
            );
        }
        std::fs::write(folder.join(format!("{}.yaml", case.name)), &objects.text)?;
    }
    let folder = folder.to_str().expect("UTF-8");
    let ran = tools.run("kubeconform", &["-strict", "-summary", "-schema-location", &schemas, folder], "")?;
    ensure!(ran.success && ran.stdout.contains("Skipped: 0"), "{}{}", ran.stdout, ran.stderr);
    println!("{}", ran.stdout.trim());
    Ok(())
}

#[test]
fn kubeconform_refuses_what_is_misspelt_missing_empty_or_of_an_unknown_kind() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let schemas = tools.schemas()?;
    let wrong = [
        ("selectr", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selectr: {}, ports: [{port: 80}]}}"),
        ("selector", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {}}}"),
        ("null", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: null}}"),
        ("string", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: 1}}"),
        ("could not find schema", "{apiVersion: v1, kind: Sevice, metadata: {name: a}}"),
        (
            "timeout",
            "{apiVersion: cloud.google.com/v1, kind: BackendConfig, metadata: {name: a}, spec: {timeout: 86400}}",
        ),
    ];
    for (named, object) in wrong {
        let ran = tools.run("kubeconform", &["-strict", "-schema-location", &schemas], object)?;
        ensure!(!ran.success && ran.stdout.contains(named), "{object} gives {}{}", ran.stdout, ran.stderr);
    }
    Ok(())
}
