//! Flags and variables that documents name, against what the programs' `--help` says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use testkit::stack::binary;

use crate::pages::{self, Code, is_variable, root};
use crate::places::files_below;

/// The programs, with the commands whose help has flags of its own.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("cliscale-controller", &["", "migrate"]),
    ("cliscale-gateway", &[""]),
    ("cliscale-runner", &[""]),
    ("cliscale", &["", "up", "run", "attach", "open", "ls", "show", "rm", "doctor"]),
];

/// Flags of other programs that are named alone.
const OF_OTHERS: &[&str] = &[
    "--atomic",
    "--build-arg",
    "--build-context",
    "--cascade",
    "--database-encryption-key",
    "--no-hooks",
    "--reset-then-reuse-values",
    "--reuse-values",
    "--set",
    "--target",
    "--timeout",
    "--values",
    "--wait",
];

/// Where variables stand that no program's help has: those of the tests, of builds, and what a command finds set.
const ELSEWHERE: [&str; 8] =
    ["controller/src", "runner/src", "testkit/src", "e2e/cluster", "e2e/browser", "tools", "chart", "bench"];

/// All that the helps of one program say.
fn help(program: &str, commands: &[&str]) -> String {
    let asked = commands.iter().map(|command| {
        let words = command.split_whitespace().chain(["--help"]);
        let output = Command::new(binary(program)).args(words).output().expect("the program's help");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    asked.collect()
}

/// Words of flags and variables: letters, digits, `-` and `_`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
}

fn flags(text: &str) -> BTreeSet<&str> {
    words(text)
        .filter(|word| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic)))
        .collect()
}

/// The flag that a command's word is.
fn flag(word: &str) -> Option<&str> {
    flags(word.split('=').next()?).pop_first().filter(|flag| word.starts_with(flag))
}

#[test]
fn every_flag_that_is_named_is_one_of_the_program() {
    let helps: BTreeMap<&str, String> = PROGRAMS.map(|(program, commands)| (program, help(program, commands))).into();
    let all = helps.values().flat_map(|help| flags(help)).chain(OF_OTHERS.iter().copied()).collect::<BTreeSet<_>>();
    let mut unknown = Vec::new();
    for page in pages::all() {
        let spans = page.code.iter().filter_map(|code| match code {
            Code::Span(text) => shlex::split(text),
            Code::Block { .. } => None,
        });
        for words in spans.chain(page.commands()) {
            let Some(first) = words.first() else { continue };
            let own = helps.get(first.rsplit('/').next().unwrap_or_default()).map(|help| flags(help));
            let known = match own {
                Some(own) => own,
                None if first.starts_with("--") => all.clone(),
                None => continue,
            };
            // What follows `--` is somebody else's command.
            for word in words.iter().take_while(|word| *word != "--").filter_map(|word| flag(word)) {
                if !known.contains(word) {
                    unknown.push(format!("{}: {word} of {first}", page.name.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "no such flag:\n{}", unknown.join("\n"));
}

#[test]
fn every_variable_that_is_named_is_read_or_set_by_somebody() {
    let helps: String = PROGRAMS.iter().map(|(program, commands)| help(program, commands)).collect();
    let files = ELSEWHERE.iter().flat_map(|folder| files_below(&root().join(folder), &[]));
    let files = files.chain(["Dockerfile", "Makefile", "skaffold.yaml"].map(|name| root().join(name)));
    let sources: String = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let known: BTreeSet<&str> = words(&helps).chain(words(&sources)).filter(|word| is_variable(word)).collect();
    let mut unknown = Vec::new();
    for page in pages::all() {
        // A program of the reader's own may call its variables as it likes.
        let code = page.code.iter().filter(|code| !matches!(code, Code::Block { language, .. } if language == "js"));
        for word in code.flat_map(|code| words(code.text())) {
            if word.starts_with("CLISCALE_") && !word.ends_with('_') && !known.contains(word) {
                unknown.push(format!("{}: {word}", page.name.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "nobody knows:\n{}", unknown.join("\n"));
}
