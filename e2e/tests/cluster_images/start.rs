//! How the images start: the command, the user and the ports that are documented, nothing to write on, nobody to become.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::image;
use crate::pods::{hardened, in_namespace, run};

/// Each image, its entry point and its ports.
const IMAGES: [(&str, &[&str], &[&str]); 4] = [
    ("cliscale-controller", &["/usr/local/bin/cliscale-controller"], &["8080/tcp", "8081/tcp", "9090/tcp"]),
    ("cliscale-gateway", &["/usr/local/bin/cliscale-gateway"], &["8080/tcp", "9090/tcp"]),
    ("cliscale-runner", &["/usr/local/bin/cliscale-runner"], &["7681/tcp"]),
    ("cliscale", &["/usr/bin/tini", "--", "/usr/local/bin/cliscale"], &["8080/tcp"]),
];

/// What an image says of itself, from where it was built; on clusters of others it is not known.
async fn configuration(name: &str) -> Result<Option<Value>> {
    if std::env::var_os("CLISCALE_E2E_REGISTRY").is_some() {
        return Ok(None);
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/images");
    let output = Command::new(program).args(["config", &image(name)]).kill_on_drop(true).output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(serde_json::from_slice::<Value>(&output.stdout)?["config"].take()))
}

#[tokio::test]
async fn every_image_tells_its_version_as_a_nobody_with_nothing_to_write_on() -> Result<()> {
    in_namespace(async |kubernetes| {
        let versions = IMAGES.map(async |(name, ..)| {
            let container = json!({ "image": image(name), "args": ["--version"], "securityContext": hardened() });
            let (end, said) = run(kubernetes, name, container).await?;
            assert_eq!((end.exit_code, said.trim()), (0, &*format!("{name} {}", env!("CARGO_PKG_VERSION"))));
            anyhow::Ok(())
        });
        futures_util::future::try_join_all(versions).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn users_commands_and_ports_are_as_documented() -> Result<()> {
    in_namespace(async |_| {
        for (name, entry, ports) in IMAGES {
            let Some(config) = configuration(name).await? else { return Ok(()) };
            assert_eq!(config["User"], "10001:10001", "{name}");
            assert_eq!(config["Entrypoint"], json!(entry), "{name}");
            let exposed: Vec<&String> = config["ExposedPorts"].as_object().context("ports")?.keys().collect();
            assert_eq!(exposed, ports, "{name}");
            for label in ["title", "description", "version", "revision", "licenses", "vendor"] {
                let value = config["Labels"][format!("org.opencontainers.image.{label}")].as_str();
                assert!(value.is_some_and(|value| !value.is_empty()), "{name}: no {label}");
            }
        }
        let config = configuration("cliscale").await?.context("it was there")?;
        assert_eq!(config["Cmd"], json!(["up", "--demo"]));
        assert!(config["Volumes"]["/data"].is_object(), "{config}");
        let variables = config["Env"].as_array().context("variables")?;
        assert!(variables.contains(&json!("CLISCALE_PUBLIC_URL=http://127.0.0.1:8080")), "{config}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn services_have_no_shell_and_the_others_nothing_to_become_root_with() -> Result<()> {
    in_namespace(async |kubernetes| {
        for name in ["cliscale-controller", "cliscale-gateway"] {
            let container = json!({ "image": image(name), "command": ["/bin/sh", "-c", "true"] });
            let (end, _) = run(kubernetes, name, container).await?;
            assert_eq!(end.reason.as_deref(), Some("StartError"), "{name}: {end:?}");
        }
        for (name, user) in [("cliscale-runner", "runner"), ("cliscale", "cliscale")] {
            let look = "id -un; find / -xdev -type f -perm /6000";
            let container = json!({ "image": image(name), "command": ["bash", "-c", look] });
            let (_, said) = run(kubernetes, name, container).await?;
            let files: Vec<&str> = said.lines().filter(|line| !line.contains("Permission denied")).collect();
            assert_eq!(files, [user], "{name}");
        }
        Ok(())
    })
    .await
}
