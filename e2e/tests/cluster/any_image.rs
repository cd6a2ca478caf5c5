//! Sessions in an image that was not made for runners: a bare Debian without git, Node.js, CA certificates or an entry for
//! the user. The runner program is brought into it.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use testkit::archive_server::Reply;
use testkit::cluster::code::zip;
use testkit::cluster::{ClusterOptions, ClusterStack};
use testkit::stack::SOON;

use crate::{open, text};

const BARE: &str = "debian:e2e";
const RUNNER: &str = "cliscale-runner:e2e";
const BARE_PATH: &str = "/opt/language/bin:/usr/local/bin:/usr/bin:/bin";

fn image(name: &str) -> String {
    let registry = std::env::var("CLISCALE_E2E_REGISTRY").unwrap_or_else(|_| "localhost".to_owned());
    format!("{registry}/{name}")
}

/// Runners in the bare image, brought there by `installer`.
fn brought_by(installer: &str) -> ClusterOptions {
    ClusterOptions::default()
        .set("CLISCALE_RUNNER_IMAGE", &image(BARE))
        .set("CLISCALE_RUNNER_INSTALLER_IMAGE", &image(installer))
}

/// What a command finds there.
const LOOK_AROUND: &str = r#"
echo "user=$(id) $(whoami) $USER $LOGNAME"
echo "home=$HOME $(cd && touch x && pwd)"
echo "shell=$SHELL $0"
echo "path=$PATH"
echo "language=$LANGUAGE_ROOT"
echo "program=$( (echo x > /cliscale/cliscale-runner) 2>&1 | tr '\n' ' '; ls /cliscale | tr '\n' ' ')"
echo "tools=$(command -v git node npm)"
echo "variables=$(env | grep -cE 'BOOT_TOKEN|KUBERNETES_SERVICE|CONTROLLER_URL')"
echo "code=$(cat mark)"
exit 3
"#;

#[tokio::test]
async fn a_bare_image_runs_the_whole_job() -> Result<()> {
    // What an image sets in its own environment arrives in the same way.
    let variables = json!([
        { "name": "PATH", "value": BARE_PATH },
        { "name": "LANGUAGE_ROOT", "value": "/opt/language" },
    ]);
    let resources =
        json!({ "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "cpu": "2", "memory": "256Mi" } });
    let container = json!({ "name": "runner", "env": variables, "resources": resources });
    brought_by(RUNNER)
        .pod("containers", json!([container]))
        .run(async |stack| {
            let files = [("top/look.sh", LOOK_AROUND.as_bytes()), ("top/README", &b"text"[..])];
            let code_url = stack.code.archives.serve("/code.zip", Reply::Whole(zip(&files)?)).to_string();
            let request =
                json!({ "code_url": code_url, "command": "sh look.sh", "install_cmd": "echo brought > mark" });
            let entry = stack.create(request).await?;
            let mut client = open(&entry).await?;
            assert_eq!(client.wait_closed(2 * SOON).await?, Some(1000));
            let found = client.text();
            let line = |name: &str| {
                let line = found.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}=")));
                line.unwrap_or_else(|| panic!("no {name} in {found}")).to_owned()
            };
            let user = "uid=10001(runner) gid=10001(runner) groups=10001(runner) runner runner runner";
            assert_eq!(line("user"), user);
            assert_eq!(line("home"), "/workspace/home /workspace/home");
            assert_eq!(line("shell"), "/usr/bin/bash look.sh");
            // Debian's login shells set it anew.
            assert!(line("path").starts_with("/workspace/home/.local/bin:/opt/language/bin:"), "{found}");
            assert_eq!(line("language"), "/opt/language");
            assert!(line("program").contains("Read-only file system"), "{found}");
            assert!(line("program").contains("cliscale-runner group passwd"), "{found}");
            assert_eq!((&*line("tools"), &*line("variables"), &*line("code")), ("", "0", "brought"));
            let view = stack.wait_ended(text(&entry, "sessionId")?).await?;
            assert_eq!((view["endReason"].as_str(), view["exitCode"].as_i64()), (Some("exited"), Some(3)), "{view}");
            is_hardened(stack, text(&view, "runnerId")?).await
        })
        .await
}

/// The container that brings the program is held as tight as the one that runs it.
async fn is_hardened(stack: &ClusterStack, runner: &str) -> Result<()> {
    let pod: Value = serde_json::to_value::<Pod>(stack.kubernetes.pod(runner).await?.context("a pod")?)?;
    let (installer, runner) = (&pod["spec"]["initContainers"][0], &pod["spec"]["containers"][0]);
    assert_eq!(installer["securityContext"], runner["securityContext"]);
    assert_eq!(installer["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(installer["resources"], runner["resources"]);
    Ok(())
}

#[tokio::test]
async fn a_repository_without_git_fails_and_names_it() -> Result<()> {
    brought_by(RUNNER)
        .gateways(0)
        .run(async |stack| {
            let repo = stack.code.git.create_repo("owner/repo.git");
            repo.commit(&[("README", "text")]);
            let code_url = stack.code.git.url("/owner/repo.git").to_string();
            let entry = stack.create(json!({ "code_url": code_url, "command": "true" })).await?;
            let view = stack.wait_ended(text(&entry, "sessionId")?).await?;
            assert_eq!(view["endReason"], "fetch_failed", "{view}");
            assert_eq!(view["endMessage"], "git is not installed here, so repositories cannot be fetched", "{view}");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_session_whose_installer_cannot_be_pulled_or_brings_nothing_names_it() -> Result<()> {
    for (installer, said) in [("no-such-installer:e2e", "cannot be run"), (BARE, "did not bring the runner program")] {
        brought_by(installer)
            .gateways(0)
            .run(async |stack| {
                let entry = stack.run("true").await?;
                let view = stack.wait_ended(text(&entry, "sessionId")?).await?;
                assert_eq!(view["endReason"], "start_failed", "{view}");
                let message = text(&view, "endMessage")?;
                let expected = format!("the image {} {said}: ", image(installer));
                assert!(message.starts_with(&expected), "{message}");
                Ok(())
            })
            .await?;
    }
    Ok(())
}
