//! skaffold.yaml, which cannot be run here: every path, image, value, template, port and patch in it leads somewhere,
//! and what Skaffold would hand to Helm renders.
//!
//! How Skaffold turns the file into arguments of Helm is told by its documents (skaffold.dev/docs/deployers/helm) and
//! repeated here: profiles overlay and patch, templates see the built images and the environment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::cases;
use crate::objects::{Objects, containers, each, name, parse, pod};
use crate::tools::{NAMESPACE, RELEASE, Tools, read, root};

const REGISTRY: &str = "registry.example/project/cliscale";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const NAME: &str = "term.example";

fn config() -> Result<Value> {
    parse(&read("skaffold.yaml"))
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("no {field} in {value}"))
}

/// The place that a JSON pointer's last part names, in what the rest leads to.
fn patch(config: &mut Value, change: &Value) -> Result<()> {
    let (path, op) = (text(change, "path")?, change["op"].as_str().unwrap_or("replace"));
    let there = config.pointer(path).is_some();
    ensure!(op == "add" || op == "replace" && there, "nothing to {op} at {path}");
    let (parent, last) = path.rsplit_once('/').context("a pointer")?;
    let parent = config.pointer_mut(parent).with_context(|| format!("nothing at {parent}"))?;
    match parent {
        Value::Object(members) => _ = members.insert(last.to_owned(), change["value"].clone()),
        Value::Array(elements) if last == "-" => elements.push(change["value"].clone()),
        Value::Array(elements) if op == "replace" => elements[last.parse::<usize>()?] = change["value"].clone(),
        _ => bail!("{op} at {path} is not what this test knows"),
    }
    Ok(())
}

/// The configuration as a profile makes it.
fn with_profile(named: Option<&str>) -> Result<Value> {
    let mut config = config()?;
    let Some(named) = named else { return Ok(config) };
    let profile = each(&config["profiles"]).find(|profile| profile["name"] == named).cloned();
    let profile = profile.with_context(|| format!("no profile {named}"))?;
    // Of the ways to build there is one; a profile's takes the place of the other.
    for way in ["local", "googleCloudBuild"] {
        if let Some(own) = profile["build"].get(way) {
            let build = config["build"].as_object_mut().context("build")?;
            build.retain(|key, _| key != "local" && key != "googleCloudBuild");
            build.insert(way.to_owned(), own.clone());
        }
    }
    if let Some(forwarded) = profile.get("portForward") {
        config["portForward"] = forwarded.clone();
    }
    for change in each(&profile["patches"]) {
        patch(&mut config, change)?;
    }
    Ok(config)
}

/// What templates see: the images that were built, pushed or not, and the environment.
fn variables(config: &Value, hostname: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let pushed = config["build"].get("googleCloudBuild").is_some();
    for artifact in each(&config["build"]["artifacts"]) {
        let image = text(artifact, "image")?;
        let suffix = image.replace(['-', '/'], "_");
        let repository = if pushed { format!("{REGISTRY}/{image}") } else { image.to_owned() };
        // What is not pushed is tagged with its content.
        let (tag, digest) = if pushed { ("git-1234567", DIGEST) } else { (&DIGEST[7..], "") };
        for (variable, value) in [("REPO", &*repository), ("TAG", tag), ("DIGEST", digest)] {
            found.insert(format!("IMAGE_{variable}_{suffix}"), value.to_owned());
        }
    }
    if !hostname.is_empty() {
        found.insert("CLISCALE_HOSTNAME".to_owned(), hostname.to_owned());
    }
    Ok(found)
}

/// Evaluates templates. Helm's engine and Skaffold's are the same, with the same functions.
fn expand(tools: &Tools, templates: &Value, variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let chart = tools.work().join("expand");
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "{apiVersion: v2, name: expand, version: 0.0.0}")?;
    std::fs::write(chart.join("values.yaml"), serde_json::to_string(variables)?)?;
    let mut body = "{{ with .Values }}\n".to_owned();
    for (key, template) in templates.as_object().context("templates")? {
        let template = template.as_str().with_context(|| format!("{key} is no text"))?;
        body.push_str(&format!("{}: \"{template}\"\n", serde_json::to_string(key)?));
    }
    body.push_str("{{ end }}");
    std::fs::write(chart.join("templates/expanded.yaml"), body)?;
    let chart = chart.to_str().context("UTF-8")?;
    let ran = tools.run("helm", &["template", "expand", chart], "")?;
    ensure!(ran.success, "{}", ran.stderr);
    Ok(serde_json::from_value(parse(&ran.stdout)?)?)
}

/// The release, and what Helm makes of it.
fn deploy(tools: &Tools, profile: Option<&str>, hostname: &str) -> Result<(Value, Objects)> {
    let config = with_profile(profile)?;
    let releases: Vec<&Value> = each(&config["deploy"]["helm"]["releases"]).collect();
    let [release] = releases.as_slice() else { bail!("{} releases", releases.len()) };
    assert_eq!(text(release, "name")?, RELEASE);
    assert_eq!(text(release, "namespace")?, NAMESPACE);
    assert_eq!(text(release, "chartPath")?, "chart");
    ensure!(release["wait"] == true && release["createNamespace"] == true);
    let mut args = Vec::new();
    for file in each(&release["valuesFiles"]) {
        let file = file.as_str().context("a path")?;
        ensure!(root().join(file).is_file(), "{file} is no file");
        args.extend(["--values".to_owned(), file.to_owned()]);
    }
    let values = parse(&read("chart/values.yaml"))?;
    for (key, value) in expand(tools, &release["setValueTemplates"], &variables(&config, hostname)?)? {
        let known = values.pointer(&format!("/{}", key.replace('.', "/")));
        ensure!(known.is_some_and(|known| !known.is_object()), "{key} is no value of the chart");
        args.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    // Keys that the chart draws itself where it sees a cluster.
    let drawn = "signingKeys.existingSecret=given-signing-keys,encryptionKey.existingSecret=given-encryption-key";
    args.extend(["--set".to_owned(), drawn.to_owned()]);
    if values_files_of(&config).iter().any(|file| file.contains("dev")) {
        args.extend(["--set".to_owned(), format!("apiKey.existingSecret=given-api-key,{}", cases::BUNDLED)]);
    }
    let objects = tools.render(&args)?;
    Ok((config, objects))
}

fn values_files_of(config: &Value) -> Vec<String> {
    each(&config["deploy"]["helm"]["releases"][0]["valuesFiles"]).filter_map(Value::as_str).map(str::to_owned).collect()
}

const PROFILES: [Option<&str>; 4] = [None, Some("dev"), Some("staging"), Some("prod")];

#[test]
fn the_file_has_the_fields_of_skaffolds_schema_and_a_misspelt_one_would_be_found() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let location = "e2e/chart/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json";
    let file = read("skaffold.yaml");
    let ran = tools.run("kubeconform", &["-strict", "-summary", "-schema-location", location], &file)?;
    ensure!(ran.success && ran.stdout.contains("Valid: 1"), "{}{}", ran.stdout, ran.stderr);
    for (right, wrong) in
        [("wait:", "waits:"), ("target:", "stage:"), ("push: false", "push: maybe"), ("op: add", "op: put")]
    {
        ensure!(file.contains(right), "no {right}");
        let ran = tools.run("kubeconform", &["-strict", "-schema-location", location], &file.replace(right, wrong))?;
        ensure!(!ran.success, "{wrong} is accepted");
    }
    Ok(())
}

#[test]
fn every_artifact_is_a_target_of_the_dockerfile_with_arguments_that_it_has() -> Result<()> {
    for profile in PROFILES {
        let config = with_profile(profile)?;
        let mut images = BTreeSet::new();
        for artifact in each(&config["build"]["artifacts"]) {
            let docker = &artifact["docker"];
            let dockerfile = read(text(docker, "dockerfile")?);
            let lines: Vec<Vec<&str>> = dockerfile.lines().map(|line| line.split_whitespace().collect()).collect();
            let target = text(docker, "target")?;
            let stage =
                lines.iter().any(|words| matches!(words.as_slice(), ["FROM", .., "AS", name] if *name == target));
            ensure!(stage, "the Dockerfile has no stage {target}");
            for argument in docker["buildArgs"].as_object().into_iter().flatten().map(|(name, _)| name) {
                let declared = |words: &Vec<&str>| {
                    words.first() == Some(&"ARG")
                        && words.get(1).is_some_and(|word| word.split('=').next() == Some(argument))
                };
                ensure!(lines.iter().any(declared), "the Dockerfile has no argument {argument}");
            }
            images.insert(text(artifact, "image")?.to_owned());
        }
        assert_eq!(images, BTreeSet::from(["controller", "gateway", "runner"].map(|part| format!("cliscale-{part}"))));
        let profile_argument = config.pointer("/build/artifacts/0/docker/buildArgs/PROFILE");
        let cargo = read("Cargo.toml");
        if let Some(named) = profile_argument.and_then(Value::as_str) {
            ensure!(["dev", "release"].contains(&named) || cargo.contains(&format!("[profile.{named}]")), "{named}");
        }
    }
    Ok(())
}

#[test]
fn every_profile_renders_with_the_images_that_were_built() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    for profile in PROFILES {
        for hostname in ["", NAME] {
            let (config, objects) = deploy(&tools, profile, hostname)?;
            let cloud = config["build"].get("googleCloudBuild").is_some();
            ensure!(cloud == matches!(profile, Some("staging" | "prod")), "{profile:?}");
            let built = |part: &str| match cloud {
                true => format!("{REGISTRY}/cliscale-{part}:git-1234567@{DIGEST}"),
                false => format!("cliscale-{part}:{}", &DIGEST[7..]),
            };
            let mut seen = BTreeSet::new();
            for pod in objects.all.iter().filter_map(pod) {
                for container in containers(pod) {
                    let image = text(container, "image")?.to_owned();
                    let runner = each(&container["env"]).find(|variable| variable["name"] == "CLISCALE_RUNNER_IMAGE");
                    seen.extend(runner.and_then(|variable| variable["value"].as_str()).map(str::to_owned));
                    seen.insert(image);
                }
            }
            let ours: BTreeSet<String> = ["controller", "gateway", "runner"].map(built).into();
            let others: Vec<&String> = seen.difference(&ours).collect();
            ensure!(ours.is_subset(&seen), "{profile:?}: {seen:?} lacks some of {ours:?}");
            ensure!(others.iter().all(|image| image.contains("postgres:")), "{profile:?}: {others:?}");
            check_ingress(&objects, cloud, hostname)?;
        }
    }
    Ok(())
}

/// The promises of the documents: the Ingress by its name, on one address, and HTTPS with a name.
fn check_ingress(objects: &Objects, cloud: bool, hostname: &str) -> Result<()> {
    let Ok(ingress) = objects.get("Ingress", "cliscale-ingress") else {
        ensure!(!cloud, "no Ingress");
        return Ok(());
    };
    let host = ingress["spec"]["rules"][0]["host"].as_str();
    ensure!(host == (!hostname.is_empty()).then_some(hostname), "{host:?}");
    let certificate = objects.of_kind("ManagedCertificate").next();
    ensure!(certificate.is_some() == (cloud && !hostname.is_empty()));
    let controller = objects.get("Deployment", "cliscale-controller")?;
    let key = each(&controller["spec"]["template"]["spec"]["volumes"]).find(|volume| volume["name"] == "api-key");
    let secret = &key.context("the API key's volume")?["secret"];
    ensure!(secret["secretName"] == "cliscale-api-key" && secret["items"][0]["key"] == "API_KEY", "{secret}");
    Ok(())
}

#[test]
fn templates_name_images_that_are_built_and_variables_that_are_documented() -> Result<()> {
    let documents = read("docs/deployment.md");
    for profile in PROFILES {
        let config = with_profile(profile)?;
        let known = variables(&config, NAME)?;
        let templates =
            config["deploy"]["helm"]["releases"][0]["setValueTemplates"].as_object().context("templates")?;
        for (key, template) in templates {
            let template = template.as_str().context("a text")?;
            let mut named = 0;
            for part in template.split(['{', '}', ' ']).filter_map(|word| word.strip_prefix('.')) {
                ensure!(known.contains_key(part), "{key} names {part}");
                ensure!(part.starts_with("IMAGE_") || documents.contains(part), "{part} is documented nowhere");
                named += 1;
            }
            ensure!(named > 0, "{key} is no template");
        }
        // An image that is built and handed to nobody would be built for nothing.
        for variable in known.keys() {
            let used = templates
                .values()
                .any(|template| template.as_str().is_some_and(|text| text.contains(&format!(".{variable}"))));
            ensure!(used, "{profile:?}: {variable} is handed to nobody");
        }
    }
    Ok(())
}

#[test]
fn forwarded_ports_are_those_of_services_and_where_the_profile_says_that_terminals_are() -> Result<()> {
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    let (config, objects) = deploy(&tools, Some("dev"), "")?;
    let mut local = BTreeMap::new();
    for forward in each(&config["portForward"]) {
        ensure!(forward["resourceType"] == "service" && forward["namespace"] == NAMESPACE, "{forward}");
        let service = objects.get("Service", text(forward, "resourceName")?)?;
        let port = each(&service["spec"]["ports"]).find(|port| port["port"] == forward["port"]);
        ensure!(port.is_some(), "{} has no port {}", name(service), forward["port"]);
        local.insert(name(service).to_owned(), forward["localPort"].as_u64().context("a local port")?);
    }
    assert_eq!(local.len(), 2, "{local:?}");
    let values = parse(&read("chart/values-dev.yaml"))?;
    assert_eq!(values["publicUrl"], format!("http://localhost:{}", local["cliscale-gateway"]));
    Ok(())
}

#[test]
fn the_commands_in_the_documents_name_profiles_that_exist() -> Result<()> {
    let config = config()?;
    let profiles: BTreeSet<&str> = each(&config["profiles"]).filter_map(|profile| profile["name"].as_str()).collect();
    let mut files = vec!["README.md".to_owned(), "skaffold.yaml".to_owned()];
    files.extend(std::fs::read_dir(root().join("docs"))?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.ends_with(".md").then(|| format!("docs/{name}"))
    }));
    let mut named = BTreeSet::new();
    for file in files {
        let text = read(&file);
        for line in text.lines().filter(|line| line.contains("skaffold ")) {
            for profile in line.split("--profile=").skip(1) {
                let end = profile.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(profile.len());
                ensure!(profiles.contains(&profile[..end]), "{file}: {line}");
                named.insert(profile[..end].to_owned());
            }
        }
    }
    ensure!(profiles.iter().all(|profile| named.contains(*profile)), "undocumented: {profiles:?} but {named:?}");
    Ok(())
}
