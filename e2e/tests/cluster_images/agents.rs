//! The runner's image in the hardened pod: what agents do to their surroundings works there, and so does an agent.

use std::time::Instant;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA512, digest};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::archive_server::Reply;
use testkit::cluster::code::{tar_gz, zip};
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;
use tokio::process::Command;

/// Runs a script that comes with files, and answers what the terminal showed of it.
async fn run(stack: &ClusterStack, script: &str, files: &[(&str, &[u8])]) -> Result<String> {
    let files = [files, &[("code/script.sh", script.as_bytes())]].concat();
    let code_url = stack.code.archives.serve("/agent.tar.gz", Reply::Whole(tar_gz(&files)?)).to_string();
    let request = json!({ "code_url": code_url, "command": "bash -e script.sh", "install_cmd": "" });
    let entry = stack.create(request).await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    // So that no line is broken.
    client.resize(400, 50).await?;
    client.wait_closed(4 * SOON).await?;
    let view = stack.wait_ended(entry["sessionId"].as_str().context("an id")?).await?;
    assert_eq!(view["exitCode"], 0, "{}", client.text());
    Ok(client.text())
}

/// A package of npm's with one command.
fn package() -> Result<Vec<u8>> {
    let description = r#"{"name": "greeter", "version": "1.0.0", "bin": {"greeter": "greeter.js"}}"#;
    let program = b"#!/usr/bin/env node\nconsole.log('greetings from npm');\n";
    tar_gz(&[("package/package.json", description.as_bytes()), ("package/greeter.js", program)])
}

/// A wheel with one module and one command.
fn wheel() -> Result<Vec<u8>> {
    let module = b"def main():\n    print('greetings from pip')\n";
    let metadata = b"Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n";
    let kind = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let commands = b"[console_scripts]\ngreeting = greeting:main\n";
    let names =
        ["METADATA", "WHEEL", "entry_points.txt", "RECORD"].map(|name| format!("greeting-1.0.dist-info/{name}"));
    let record: String = std::iter::once("greeting.py".to_owned()).chain(names.clone()).map(|n| n + ",,\n").collect();
    zip(&[
        ("greeting.py", module),
        (&names[0], metadata),
        (&names[1], kind),
        (&names[2], commands),
        (&names[3], record.as_bytes()),
    ])
}

const ORDINARY: &str = r#"
echo "user=$(whoami) $(id -u):$(id -g)"
npm install --global --offline ./greeter-1.0.0.tgz
echo "npm=$(greeter) at $(command -v greeter)"
pip install --user --no-index ./greeting-1.0-py3-none-any.whl
echo "pip=$(greeting) at $(command -v greeting)"
python3 -m venv venv && echo "venv=$(venv/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)')"
git init --quiet project && cd project && touch file && git add file && git commit --quiet --message first
echo "commit=$(git log -1 --format='%an: %s') on $(git branch --show-current)"
for tool in bash curl git jq less make nano node npm patch ps python3 rg ssh unzip xz zip; do
  command -v $tool >/dev/null || echo "missing=$tool"
done
"#;

#[tokio::test]
async fn packages_install_for_the_user_and_commits_have_an_author() -> Result<()> {
    ClusterOptions::default()
        .run(async |stack| {
            let (package, wheel) = (package()?, wheel()?);
            let files = [("code/greeter-1.0.0.tgz", &*package), ("code/greeting-1.0-py3-none-any.whl", &*wheel)];
            let shown = run(stack, ORDINARY, &files).await?;
            for line in [
                "user=runner 10001:10001",
                "npm=greetings from npm at /workspace/home/.local/bin/greeter",
                "pip=greetings from pip at /workspace/home/.local/bin/greeting",
                "venv=True",
                "commit=CLI Scale: first on main",
            ] {
                assert!(shown.contains(line), "no {line}: {shown}");
            }
            assert!(!shown.contains("missing="), "{shown}");
            Ok(())
        })
        .await
}

/// An agent as `e2e/agents` pins it: its version, and its tarball, which is fetched here since pods need no registry.
async fn agent(name: &str) -> Result<(String, Vec<u8>)> {
    let lock: Value = serde_json::from_str(include_str!("../../agents/package-lock.json"))?;
    let pinned = &lock["packages"][format!("node_modules/{name}")];
    let text = |field: &str| pinned[field].as_str().with_context(|| format!("no {field} of {name} is pinned"));
    let folder = tempfile::tempdir()?;
    let npm = Command::new("npm")
        .args(["pack", "--prefer-offline", &format!("{name}@{}", text("version")?)])
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await?;
    anyhow::ensure!(npm.status.success(), "npm pack: {}", String::from_utf8_lossy(&npm.stderr));
    let written = std::fs::read_dir(folder.path())?.next().context("a tarball")??;
    let tarball = std::fs::read(written.path())?;
    let found = BASE64_STANDARD.encode(digest(&SHA512, &tarball));
    assert_eq!(format!("sha512-{found}"), text("integrity")?);
    Ok((text("version")?.to_owned(), tarball))
}

#[tokio::test]
async fn a_real_agent_installs_with_npm_and_tells_its_version() -> Result<()> {
    ClusterOptions::default()
        .limit("memory", "1Gi", "64Mi")
        .limit("ephemeral-storage", "1Gi", "1Mi")
        .run(async |stack| {
            let name = "@google/gemini-cli";
            let (version, tarball) = agent(name).await?;
            let script = "npm install --global --offline --omit=optional --no-audit --no-fund ./agent.tgz\n\
                          echo \"version=$(gemini --version)\"\n";
            let begin = Instant::now();
            let shown = run(stack, script, &[("code/agent.tgz", &tarball)]).await?;
            assert!(shown.contains(&format!("version={version}")), "{shown}");
            println!(
                "{name} {version} tells its version {:.1} s after it was asked for",
                begin.elapsed().as_secs_f64()
            );
            Ok(())
        })
        .await
}
