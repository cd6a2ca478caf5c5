//! xterm.js as the reference that screens are compared with cell by cell: one node process renders all cases of a test.
//! Its side is in screen/tests/xterm.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// What happens to a terminal.
#[derive(Clone)]
pub enum Step {
    Bytes(Vec<u8>),
    Resize(u16, u16),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => write!(to, "{text:?}"),
                Err(_) => write!(to, "b\"{}\"", bytes.escape_ascii()),
            },
            Self::Resize(cols, rows) => write!(to, "{cols}x{rows}"),
        }
    }
}

/// The same with as few writes as possible: in a corner or two xterm.js minds where a write ends.
pub fn joined(steps: impl Iterator<Item = Step>) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::new();
    for step in steps {
        match (joined.last_mut(), step) {
            (Some(Step::Bytes(last)), Step::Bytes(bytes)) => last.extend(bytes),
            (_, step) => joined.push(step),
        }
    }
    joined
}

pub struct Reference {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../screen/tests/xterm")
}

/// Whether node and its packages are here; where not, the test is skipped by name, and fails under `CI=true`.
pub fn available(test: &str) -> bool {
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let here = node && folder().join("node_modules/@xterm/headless").exists();
    if !here {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs node and `npm ci` in screen/tests/xterm");
        eprintln!("SKIPPED {test}: it needs node and `npm ci` in screen/tests/xterm");
    }
    here
}

impl Reference {
    /// xterm.js with those faults mended that the folder `fixtures/reference` is about.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_as_shipped() -> Self {
        Self::start_with(&["--as-shipped"])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut process = Command::new("node")
            .arg("render.mjs")
            .args(arguments)
            .current_dir(folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let input = process.stdin.take().expect("its input is piped");
        let output = BufReader::new(process.stdout.take().expect("its output is piped"));
        Self { process, input, output }
    }

    /// Renders `steps`; returns the terminal's state and what it answered, or what xterm.js threw.
    pub fn render(
        &mut self,
        cols: u16,
        rows: u16,
        scrollback: usize,
        steps: &[Step],
    ) -> Result<(Value, String), String> {
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| match step {
                Step::Bytes(bytes) => json!(BASE64_STANDARD.encode(bytes)),
                Step::Resize(cols, rows) => json!([cols, rows]),
            })
            .collect();
        let case = json!({ "cols": cols, "rows": rows, "scrollback": scrollback, "steps": steps });
        writeln!(self.input, "{case}").expect("node reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("node answers");
        let mut rendered: Value = serde_json::from_str(&line).expect("node answers in JSON");
        match rendered["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok((rendered["state"].take(), rendered["answers"].as_str().unwrap_or_default().to_owned())),
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It ends by itself with its input; it is not waited for in case it does not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where two states differ, one line each.
pub fn differences(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differences(&format!("{path}.{key}"), &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (at, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}[{at}]"), left, right, found);
            }
        }
        _ if left == right => {}
        _ => found.push(format!("{path}: {left} is shown as {right}")),
    }
}
