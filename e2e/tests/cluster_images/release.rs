//! What `make dist` writes: a tarball that is the same every time, with programs that run.

use std::path::Path;

use anyhow::{Context, Result};
use testkit::stack::binary;
use tokio::process::Command;

const PROGRAMS: [&str; 4] = ["cliscale", "cliscale-controller", "cliscale-gateway", "cliscale-runner"];

/// Writes a release of the programs that are tested here; answers the tarball's name.
async fn write_release(out: &Path, made: u64) -> Result<String> {
    let folder = binary("cliscale").parent().context("target/PROFILE")?.to_owned();
    let profile = folder.file_name().context("a profile")?.to_str().context("UTF-8")?.replace("debug", "dev");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/dist");
    let output = Command::new(program)
        .args(["--profile", &profile, "--no-build", "--no-image", "--out"])
        .arg(out)
        .env("SOURCE_DATE_EPOCH", made.to_string())
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

/// What must not differ the next time: the order, and when and by whom its files were made.
fn assert_reproducible(tarball: &Path, made: u64) -> Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(tarball)?));
    let mut names = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let header = entry.header();
        assert_eq!((header.mtime()?, header.uid()?, header.gid()?), (made, 0, 0), "{:?}", entry.path()?);
        names.push(entry.path()?.into_owned());
    }
    assert!(names.is_sorted(), "{names:?}");
    Ok(())
}

#[tokio::test]
async fn a_release_holds_programs_that_run_and_nothing_that_changes_by_itself() -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!(
            "skipped: a_release_holds_programs_that_run_and_nothing_that_changes_by_itself: releases are made on Linux"
        );
        return Ok(());
    }
    let out = tempfile::tempdir()?;
    let made = 1_700_000_000;
    let name = write_release(out.path(), made).await?;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(name, format!("cliscale-{version}-{}-linux-gnu.tar.gz", std::env::consts::ARCH));
    assert_reproducible(&out.path().join(&name), made)?;

    let checked = output("sha256sum", &["--check", "--strict", "SHA256SUMS"], out.path()).await?;
    assert!(checked.contains(&format!("{name}: OK")), "{checked}");
    output("tar", &["-xzf", &name], out.path()).await?;
    let folder = out.path().join(name.trim_end_matches(".tar.gz"));
    let entries = std::fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    assert_eq!(files, [&["LICENSE", "README.md"][..], &PROGRAMS].concat());
    for program in PROGRAMS {
        let said = output(folder.join(program).to_str().context("UTF-8")?, &["--version"], &folder).await?;
        assert_eq!(said.trim(), format!("{program} {version}"));
    }
    if std::env::var_os("CLISCALE_E2E_TOOLS").is_some() {
        assert!(checked.contains(&format!("cliscale-{version}.tgz: OK")), "no chart: {checked}");
    }
    assert!(checked.contains(&format!("cliscale-terminal-{version}.tgz: OK")), "no npm package: {checked}");
    Ok(())
}
