//! Any other image for runners, with nothing of ours in it.

use anyhow::Result;
use serde_json::json;
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::archive_server::Reply;
use testkit::cluster::chart::Installation;
use testkit::cluster::code::tar_gz;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::text;

pub async fn archives_run(installation: &Installation, api: &Api) -> Result<()> {
    let say = b"echo \"$(id -u) in $(pwd) says $(cat word)\"; exit 3\n";
    let archive = tar_gz(&[("say.sh", say), ("word", b"hello")])?;
    let code_url = installation.code.archives.serve("/bare.tar.gz", Reply::Whole(archive)).to_string();
    let entry = api.create(json!({ "code_url": code_url, "command": "sh say.sh", "install_cmd": "" })).await?;
    let mut client = TerminalClient::connect(text(&entry, "webSocketUrl")?, &[], &[TTY_R1]).await?;
    client.wait_for("says hello", 3 * SOON).await?;
    assert!(client.has("10001 in /workspace"), "{}", client.text());
    assert_eq!(api.wait_ended(text(&entry, "sessionId")?).await?["exitCode"], 3);
    Ok(())
}

pub async fn repositories_name_git(installation: &Installation, api: &Api) -> Result<()> {
    let repo = installation.code.git.create_repo("owner/bare.git");
    repo.branch("main");
    repo.commit(&[("say.sh", "echo hello\n")]);
    let code_url = installation.code.git.url("/owner/bare.git").to_string();
    let entry = api.create(json!({ "code_url": code_url, "command": "sh say.sh", "install_cmd": "" })).await?;
    let view = api.wait_ended(text(&entry, "sessionId")?).await?;
    assert_eq!(view["endReason"], "fetch_failed", "{view}");
    assert!(text(&view, "endMessage")?.contains("git"), "{view}");
    Ok(())
}
