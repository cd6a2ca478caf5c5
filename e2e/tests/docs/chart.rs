//! Values of the chart that documents name, and the `helm` commands in them, which must render.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::pages::{self, Code, Page, root};

/// What a rendering asks for that no cluster keeps secrets for.
const SECRETS: &str = "apiKey.existingSecret=given,signingKeys.existingSecret=given,encryptionKey.existingSecret=given,\
                       postgresql.password=given";

fn parse(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn values() -> Value {
    parse(&std::fs::read_to_string(root().join("chart/values.yaml")).expect("the chart's values"))
}

/// Whether `a.b.c` is a value; below one that is empty by default, anything may be.
fn has(values: &Value, key: &str) -> bool {
    let key = key.replace("\\.", "\u{0}");
    let mut value = values;
    for part in key.split('.') {
        let part = part.split('[').next().unwrap_or_default();
        match value {
            Value::Object(members) if members.is_empty() => return true,
            Value::Object(members) => match members.get(part) {
                Some(member) => value = member,
                None => return false,
            },
            Value::Null | Value::Array(_) => return true,
            _ => return false,
        }
    }
    true
}

/// The paths of all that a values file sets.
fn leaves(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let name = name.replace('.', "\\.");
                leaves(member, if path.is_empty() { name } else { format!("{path}.{name}") }, found);
            }
        }
        _ => found.push(path),
    }
}

/// The values files that a page shows: blocks of YAML that begin with their name.
fn values_files(page: &Page) -> BTreeMap<String, String> {
    let blocks = page.code.iter().filter_map(|code| match code {
        Code::Block { language, text } if language == "yaml" => Some(text),
        _ => None,
    });
    let named = blocks.filter_map(|text| {
        let name = text.lines().next()?.strip_prefix("# ")?.split_whitespace().next()?;
        (name.starts_with("values") && name.ends_with(".yaml")).then(|| (name.to_owned(), text.clone()))
    });
    named.collect()
}

/// What a command gives to `--set` and its like.
fn set_keys(command: &[String]) -> Vec<String> {
    let pairs = command.windows(2).filter(|pair| pair[0].starts_with("--set"));
    let settings = pairs.flat_map(|pair| pair[1].split(',').map(str::to_owned).collect::<Vec<_>>());
    settings.filter_map(|setting| Some(setting.split_once('=')?.0.to_owned())).collect()
}

#[test]
fn every_value_that_is_named_is_one_of_the_chart() {
    let values = values();
    let mut unknown = Vec::new();
    for page in pages::all() {
        let commands = page.commands();
        let ours = commands.iter().filter(|command| command.iter().any(|word| word == "chart"));
        let mut keys: Vec<String> = ours.flat_map(|command| set_keys(command)).collect();
        for text in values_files(&page).values() {
            leaves(&parse(text), String::new(), &mut keys);
        }
        for code in &page.code {
            let Code::Span(text) = code else { continue };
            keys.extend(shlex::split(text).iter().flat_map(|words| set_keys(words)));
            let plain = text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
            let first = text.split('.').next().unwrap_or_default();
            if plain && values.get(first).is_some() {
                keys.push(text.clone());
            }
        }
        unknown
            .extend(keys.iter().filter(|key| !has(&values, key)).map(|key| format!("{}: {key}", page.name.display())));
    }
    assert!(unknown.is_empty(), "no such value:\n{}", unknown.join("\n"));
}

/// Variables that the page's own commands set, put in; what only a running cluster could tell becomes a word.
fn filled_in(word: &str, page: &Page) -> String {
    let blocks = page.code.iter().filter(|code| matches!(code, Code::Block { .. })).map(Code::text);
    let assignments =
        blocks.flat_map(str::lines).filter_map(|line| line.trim().trim_start_matches("export ").split_once('='));
    let known: BTreeMap<&str, &str> = assignments.filter(|(name, _)| pages::is_variable(name)).collect();
    let mut text = word.to_owned();
    // Longest first, so that $DB does not spoil $DBNAME. Twice, since one may be made of others.
    let mut names: Vec<_> = known.keys().copied().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names.iter().chain(&names) {
        let value = match known[name].starts_with("$(") {
            true => "example".to_owned(),
            false => shlex::split(known[name]).and_then(|words| words.into_iter().next()).unwrap_or_default(),
        };
        text = text.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
    }
    if text.contains('$') { "example".to_owned() } else { text }
}

/// The arguments of `helm template` for a command that installs or upgrades.
fn template_arguments(command: &[String], page: &Page, files: &Path) -> Option<Vec<String>> {
    let helm = command.first().is_some_and(|program| program == "helm");
    let verb = command.get(1).map(String::as_str);
    if !helm || !matches!(verb, Some("install" | "upgrade" | "template")) || !command.iter().any(|word| word == "chart")
    {
        return None;
    }
    let mut arguments = vec!["template".to_owned()];
    if verb != Some("template") {
        arguments.extend(["--set", SECRETS].map(str::to_owned));
    }
    if command.iter().any(|word| word.ends_with("reuse-values")) {
        // What the release has already.
        arguments.extend(["--set", "database.existingSecret=given"].map(str::to_owned));
    }
    let mut words = command[2..].iter().map(|word| filled_in(word, page));
    while let Some(word) = words.next() {
        match &*word {
            // What only makes sense with a cluster.
            "--install"
            | "--wait"
            | "--atomic"
            | "--create-namespace"
            | "--reuse-values"
            | "--reset-then-reuse-values" => {}
            "--timeout" => drop(words.next()),
            "-f" | "--values" => {
                let name = words.next()?;
                let shown = files.join(&name);
                let path = if shown.exists() { shown } else { root().join(&name) };
                arguments.extend(["--values".to_owned(), path.display().to_string()]);
            }
            "chart" => arguments.push(root().join("chart").display().to_string()),
            ">" => break,
            _ => arguments.push(word),
        }
    }
    Some(arguments)
}

#[test]
fn the_charts_alerts_are_those_that_are_explained() {
    let page = Page::read(Path::new("docs/operations.md"));
    let shown = page.code.iter().map(Code::text).find(|text| text.starts_with("groups:")).expect("the rules");
    let file = std::fs::read_to_string(root().join("chart/files/alerts.yaml")).expect("the chart's alerts");
    assert_eq!(parse(shown), parse(&file));
}

#[test]
fn every_helm_command_renders() {
    let Some(tools) = std::env::var_os("CLISCALE_E2E_TOOLS").map(PathBuf::from) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CLISCALE_E2E_TOOLS is unset under CI");
        println!("skipped: every_helm_command_renders: CLISCALE_E2E_TOOLS is unset");
        return;
    };
    let mut rendered = 0;
    for page in pages::all() {
        let files = tempfile::tempdir().expect("a folder");
        for (name, text) in values_files(&page) {
            std::fs::write(files.path().join(name), text).expect("a values file");
        }
        for command in page.commands() {
            let Some(arguments) = template_arguments(&command, &page, files.path()) else { continue };
            let output = Command::new(tools.join("helm"))
                .args(&arguments)
                .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, files.path())))
                .output()
                .expect("helm");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {command:?}\n{said}", page.name.display());
            rendered += 1;
        }
    }
    assert!(rendered > 0, "no document has a helm command");
}
