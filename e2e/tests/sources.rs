//! Every kind of code URL, from `POST /api/sessions` to the command's output and exit code.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};
use session::frames::TTY_R1;
use testkit::archive_server::{ArchiveServer, Reply};
use testkit::git_server::GitServer;
use testkit::stack::{SOON, Stack};
use testkit::terminal_client::TerminalClient;

async fn start() -> Result<Stack> {
    Stack::options().arg("--allow-private-code-hosts").start().await
}

/// Runs a command on a code URL; answers the session's end and everything the terminal showed.
async fn run(stack: &Stack, code_url: &str, command: &str) -> Result<(Value, String)> {
    run_with(stack, json!({ "code_url": code_url, "command": command })).await
}

async fn run_with(stack: &Stack, request: Value) -> Result<(Value, String)> {
    let entry = stack.create(request).await?;
    let url = entry["webSocketUrl"].as_str().expect("a WebSocket URL");
    let mut client = TerminalClient::connect(url, &[], &[TTY_R1]).await?;
    client.wait_closed(SOON).await?;
    let view = stack.wait_ended(entry["sessionId"].as_str().expect("an id")).await?;
    Ok((view, client.text()))
}

fn tar_gz(files: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, name, content.as_bytes())?;
    }
    Ok(archive.into_inner()?.finish()?)
}

fn zip(files: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default())?;
        archive.write_all(content.as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}

#[tokio::test]
async fn git_trees_and_repositories_run_at_the_ref_that_was_asked_for() -> Result<()> {
    let (stack, git) = (start().await?, GitServer::start().await);
    let repo = git.create_repo("owner/repo.git");
    repo.branch("first");
    let first = repo.commit(&[("app/say.sh", "echo first\n"), ("other/x", "x")]);
    repo.tag("v1");
    repo.branch("feature/with/slashes");
    repo.commit(&[("app/say.sh", "echo slashes\n")]);
    repo.branch("main");
    repo.commit(&[("app/say.sh", "echo main\n")]);

    for (path, expected) in [
        ("/owner/repo/tree/main/app", "main"),
        ("/owner/repo/tree/feature/with/slashes/app", "slashes"),
        ("/owner/repo/tree/v1/app", "first"),
        (&*format!("/owner/repo/tree/{first}/app"), "first"),
    ] {
        let (view, text) = run(&stack, git.url(path).as_str(), "sh say.sh && ls .. | wc -l && exit 3").await?;
        assert_eq!(
            (view["endReason"].as_str(), view["exitCode"].as_i64()),
            (Some("exited"), Some(3)),
            "{path}: {text}"
        );
        assert!(text.contains(expected), "{path}: {text}");
    }
    for (path, expected) in [
        ("/owner/repo.git#v1", "first"),
        ("/owner/repo.git#feature/with/slashes", "slashes"),
        ("/owner/repo.git#main", "main"),
    ] {
        let (view, text) = run(&stack, git.url(path).as_str(), "sh app/say.sh").await?;
        assert!(view["exitCode"] == 0 && text.contains(expected), "{path}: {view} {text}");
    }
    let (view, text) = run(&stack, git.url("/owner/repo/tree/main/missing").as_str(), "true").await?;
    assert_eq!(view["endReason"], "fetch_failed", "{view}");
    assert!(text.contains("missing"), "{text}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_private_repository_opens_with_code_auth_that_nobody_else_sees() -> Result<()> {
    let (stack, git) = (start().await?, GitServer::start().await);
    let repo = git.create_repo("o/private.git");
    repo.branch("main");
    repo.commit(&[("say.sh", "echo inside\n")]);
    // user:s3cr3t-token in Base64.
    git.require("Basic dXNlcjpzM2NyM3QtdG9rZW4=");
    let code_url = git.url("/o/private.git").to_string();
    let (view, _) = run(&stack, &code_url, "true").await?;
    assert_eq!(view["endReason"], "fetch_failed", "{view}");

    let auth = json!({ "username": "user", "token": "s3cr3t-token" });
    let command = "sh say.sh; cat .git/config 2>/dev/null; env";
    let (view, text) = run_with(&stack, json!({ "code_url": code_url, "command": command, "code_auth": auth })).await?;
    assert!(view["exitCode"] == 0 && text.contains("inside"), "{view} {text}");
    for secret in ["s3cr3t-token", "dXNlcjpzM2NyM3QtdG9rZW4="] {
        assert!(!text.contains(secret) && !view.to_string().contains(secret) && !stack.log().contains(secret));
    }
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn archives_run_and_a_wrong_checksum_or_a_private_host_does_not() -> Result<()> {
    let (stack, web) = (start().await?, ArchiveServer::start().await);
    let files = [("top/say.sh", "echo from the archive\n"), ("top/package.json", "{}")];
    let tgz = web.serve("/a.tar.gz", Reply::Whole(tar_gz(&files)?));
    let zipped = web.serve("/a.zip", Reply::Whole(zip(&files)?));
    let unnamed = web.serve("/download", Reply::Unannounced(tar_gz(&files)?));
    for url in [&tgz, &zipped, &unnamed] {
        let request = json!({ "code_url": url.as_str(), "command": "sh say.sh; exit 4", "install_cmd": "echo installed > mark; cat mark" });
        let (view, text) = run_with(&stack, request).await?;
        assert_eq!(view["exitCode"], 4, "{url}: {view} {text}");
        assert!(text.contains("installed") && text.contains("from the archive"), "{url}: {text}");
    }
    let wrong = json!({ "code_url": tgz.as_str(), "command": "true", "code_checksum_sha256": "0".repeat(64) });
    let (view, text) = run_with(&stack, wrong).await?;
    assert_eq!(view["endReason"], "fetch_failed", "{view}");
    assert!(text.to_lowercase().contains("checksum") || text.contains("SHA-256"), "{text}");
    stack.stop().await?;

    let strict = Stack::start().await?;
    let (view, _) = run(&strict, tgz.as_str(), "true").await?;
    assert_eq!(view["endReason"], "fetch_failed", "{view}");
    strict.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_failed_install_ends_the_session_with_its_code() -> Result<()> {
    let stack = Stack::start().await?;
    let folder = tempfile::tempdir()?;
    let request = json!({ "code_url": folder.path(), "command": "echo never", "install_cmd": "echo broken; exit 9" });
    let (view, text) = run_with(&stack, request).await?;
    assert_eq!((view["endReason"].as_str(), view["exitCode"].as_i64()), (Some("install_failed"), Some(9)), "{view}");
    assert!(text.contains("broken") && !text.contains("never"), "{text}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_folder_runs_as_a_copy_unless_told_in_place() -> Result<()> {
    let stack = Stack::start().await?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a"), "1")?;
    let (view, _) = run(&stack, folder.path().to_str().expect("a UTF-8 path"), "echo 2 > a").await?;
    assert_eq!(view["exitCode"], 0, "{view}");
    assert_eq!(std::fs::read_to_string(folder.path().join("a"))?, "1");
    let request = json!({ "code_url": folder.path(), "command": "echo 2 > a", "in_place": true });
    run_with(&stack, request).await?;
    assert_eq!(std::fs::read_to_string(folder.path().join("a"))?, "2\n");
    stack.stop().await?;
    Ok(())
}
