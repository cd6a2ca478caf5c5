//! What `make dist` writes: the same tarball every time, with programs that run.

use std::path::Path;

use anyhow::{Context, Result};
use testkit::stack::binary;
use tokio::process::Command;

const PROGRAMS: [&str; 4] = ["cliscale", "cliscale-controller", "cliscale-gateway", "cliscale-runner"];

/// Writes a release of the programs that are tested here; answers the tarball's name.
async fn write_release(out: &Path) -> Result<String> {
    let folder = binary("cliscale").parent().context("target/PROFILE")?.to_owned();
    let profile = folder.file_name().context("a profile")?.to_str().context("UTF-8")?.replace("debug", "dev");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/dist");
    let output = Command::new(program)
        .args(["--profile", &profile, "--no-build", "--no-image", "--out"])
        .arg(out)
        .env("CARGO_TARGET_DIR", folder.parent().context("target")?)
        .kill_on_drop(true)
        .output()
        .await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_dir(out)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    written.into_iter().find(|name| name.ends_with(".tar.gz")).context("a tarball")
}

async fn output(program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).kill_on_drop(true).output().await?;
    anyhow::ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn a_release_holds_programs_that_run_and_is_the_same_again() -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("skipped: a_release_holds_programs_that_run_and_is_the_same_again: releases are made on Linux");
        return Ok(());
    }
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (name, again) = tokio::try_join!(write_release(first.path()), write_release(second.path()))?;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(name, format!("cliscale-{version}-{}-linux-gnu.tar.gz", std::env::consts::ARCH));
    assert_eq!(name, again);
    assert!(std::fs::read(first.path().join(&name))? == std::fs::read(second.path().join(&name))?, "they differ");

    output("sha256sum", &["--check", "--strict", "SHA256SUMS"], first.path()).await?;
    output("tar", &["-xzf", &name], first.path()).await?;
    let folder = first.path().join(name.trim_end_matches(".tar.gz"));
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    files.sort();
    assert_eq!(files, [&["LICENSE", "README.md"][..], &PROGRAMS].concat());
    for program in PROGRAMS {
        let said = output(folder.join(program).to_str().context("UTF-8")?, &["--version"], &folder).await?;
        assert_eq!(said.trim(), format!("{program} {version}"));
    }
    Ok(())
}
