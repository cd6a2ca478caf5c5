//! The keys of values.yaml: each documented, named rightly by templates, and used by some.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::objects::parse;
use crate::tools::{read, root};

pub fn defaults() -> Result<Value> {
    parse(&read("chart/values.yaml"))
}

/// Every key with a value that is no map of further keys, as its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                leaves(member, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// A key of values.yaml as it is written.
struct Line {
    path: String,
    /// A comment of its own: above it, or behind.
    commented: bool,
    /// Directly below another key of the same depth.
    follows: Option<String>,
}

/// The keys of values.yaml, top to bottom.
fn lines(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut stack: Vec<(usize, String)> = Vec::new();
    let (mut comment, mut previous): (bool, Option<(usize, String)>) = (false, None);
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if content.is_empty() {
            (comment, previous) = (false, None);
            continue;
        }
        if content.starts_with('#') {
            (comment, previous) = (true, None);
            continue;
        }
        let Some((key, rest)) =
            content.split_once(':').filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric()))
        else {
            continue;
        };
        stack.retain(|(depth, _)| *depth < indent);
        stack.push((indent, key.to_owned()));
        let path = stack.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        let follows = previous.take().filter(|(depth, _)| *depth == indent).map(|(_, path)| path);
        found.push(Line { path: path.clone(), commented: comment || rest.contains(" #"), follows });
        (comment, previous) = (false, Some((indent, path)));
    }
    found
}

/// A key is documented by a comment above or behind it, by one above the group of lines that it is in, by one of its
/// parent's, or at the same place of the controller's, which comes first.
fn documented(path: &str, lines: &BTreeMap<String, Line>) -> bool {
    let Some(line) = lines.get(path) else { return false };
    if line.commented || line.follows.as_ref().is_some_and(|before| documented(before, lines)) {
        return true;
    }
    let Some((parent, _)) = path.rsplit_once('.') else { return false };
    if documented(parent, lines) {
        return true;
    }
    let (part, rest) = path.split_once('.').unwrap_or((path, ""));
    part != "controller" && documented(&format!("controller.{rest}"), lines)
}

#[test]
fn every_key_of_values_yaml_is_documented() -> Result<()> {
    let text = read("chart/values.yaml");
    let lines: BTreeMap<String, Line> = lines(&text).into_iter().map(|line| (line.path.clone(), line)).collect();
    let mut all = Vec::new();
    leaves(&defaults()?, "", &mut all);
    ensure!(all.len() > 100, "only {} keys were found", all.len());
    // Maps of the operator's own keys count as one.
    let bare: Vec<&String> = all.iter().filter(|path| lines.contains_key(*path) && !documented(path, &lines)).collect();
    ensure!(bare.is_empty(), "without a word: {bare:#?}");
    Ok(())
}

/// The templates' text, by file.
fn templates() -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("chart/templates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), std::fs::read_to_string(&path)?);
            }
        }
    }
    Ok(found)
}

/// The chain of names behind a dot: `a.b.c` of `.a.b.c)`.
fn chain(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(text.len());
    text[..end].trim_matches('.').to_owned()
}

/// The values that a template names: `.Values.a.b`, and `$part.b` where `$part := .Values.a`.
fn named_values(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut aliases = BTreeMap::new();
    for (at, _) in text.match_indices(".Values.") {
        let path = chain(&text[at + ".Values.".len()..]);
        let before = text[..at].trim_end_matches("$root").trim_end_matches('$').trim_end();
        let whole = text[at + ".Values.".len() + path.len()..].trim_start_matches([' ', '-']).starts_with("}}");
        if let (Some(name), true) =
            (before.strip_suffix(":=").and_then(|text| text.trim_end().rsplit(['{', ' ', '-']).next()), whole)
        {
            aliases.insert(name.to_owned(), path.clone());
        }
        found.insert(path);
    }
    for (alias, path) in aliases.iter().filter(|(alias, _)| alias.starts_with('$')) {
        for (at, _) in text.match_indices(&format!("{alias}.")) {
            found.insert(format!("{path}.{}", chain(&text[at + alias.len() + 1..])));
        }
    }
    found
}

#[test]
fn every_value_that_templates_name_exists_and_every_value_is_used() -> Result<()> {
    let values = defaults()?;
    let templates = templates()?;
    let mut known = 0;
    for (file, text) in &templates {
        for path in named_values(text) {
            let mut value = &values;
            for part in path.split('.') {
                // Below an empty map the operator's own keys begin.
                match value.as_object() {
                    Some(members) if !members.is_empty() => {
                        value = members.get(part).with_context(|| format!("{file} names {path}, which is no value"))?;
                    }
                    _ => break,
                }
            }
            known += 1;
        }
    }
    ensure!(known > 80, "only {known} names were found");
    let all: String = templates.into_values().collect();
    let mut keys = Vec::new();
    leaves(&values, "", &mut keys);
    // What is handed on as a whole.
    let whole = ["resources", "image", "podLabels", "labels", "monitoringFrom", "podDisruptionBudget"];
    for path in keys {
        let parts: Vec<&str> = path.split('.').collect();
        let last = parts.last().context("a name")?;
        let handed_on = parts.iter().any(|part| whole.contains(part));
        let used = all.match_indices(last).any(|(at, _)| {
            let behind = all[at + last.len()..].chars().next().is_none_or(|c| !c.is_ascii_alphanumeric());
            behind && (all[..at].ends_with('.') || all[..at].ends_with('"'))
        });
        ensure!(used || handed_on, "{path} is used by no template");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_of_comments_tells_documented_keys_from_bare_ones() {
        let text = "# All.\na: 1\nb: 2\n\nc: 3\nd:\n  # This.\n  e: 1\n\n  f: 2\ng: 1 # that\n";
        let lines: BTreeMap<String, Line> = lines(text).into_iter().map(|line| (line.path.clone(), line)).collect();
        for (path, expected) in [("a", true), ("b", true), ("c", false), ("d.e", true), ("d.f", false), ("g", true)] {
            assert_eq!(documented(path, &lines), expected, "{path}");
        }
    }

    #[test]
    fn the_reader_of_templates_follows_aliases() {
        let text =
            "{{- $part := .Values.a.b -}}{{ $part.c.d }}{{ $root.Values.e }}{{ with .Values.f.g }}{{ .h }}{{ end }}";
        let expected = ["a.b", "a.b.c.d", "e", "f.g"].map(str::to_owned);
        assert_eq!(named_values(text), BTreeSet::from(expected));
    }
}
