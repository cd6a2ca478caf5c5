//! The whole job as its users do it: code from anywhere, a terminal that is typed into, an exit code; once with a client of
//! ours and once in a browser.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use session::frames::TTY_R1;

use super::code::{Code, tar_gz, tar_gz_of, zip};
use crate::api::Api;
use crate::archive_server::Reply;
use crate::connector::Connector;
use crate::stack::SOON;
use crate::terminal_client::TerminalClient;

const SAY: &[u8] = b"printf 'name? '; read -r name; echo \"hello $name, $(cat mark)\"; exit 3\n";

/// Serves the same program in every way that code can be had, and answers the URLs; the last is an archive's.
pub fn every_code_url(code: &Code) -> Result<Vec<String>> {
    let say = String::from_utf8(SAY.to_vec())?;
    let repo = code.git.create_repo("owner/repo.git");
    repo.branch("feature/with/slashes");
    repo.commit(&[("app/say.sh", &say)]);
    repo.branch("main");
    repo.commit(&[("say.sh", &say)]);
    let files = [("top/say.sh", SAY), ("top/README", &b"text"[..])];
    Ok(vec![
        code.git.url("/owner/repo/tree/feature/with/slashes/app").to_string(),
        code.git.url("/owner/repo.git#main").to_string(),
        code.archives.serve("/code.zip", Reply::Whole(zip(&files)?)).to_string(),
        code.archives.serve("/code.tar.gz", Reply::Whole(tar_gz(&files)?)).to_string(),
    ])
}

/// One session from its creation to its end, with something typed in between; answers its entry and what it ended as.
pub async fn by_a_client(api: &Api, connector: &Connector, code_url: &str) -> Result<(Value, Value)> {
    let request =
        json!({ "code_url": code_url, "command": "sh say.sh", "install_cmd": "echo installed > mark; cat mark" });
    let entry = api.create(request).await?;
    let url = entry["webSocketUrl"].as_str().context("a URL")?;
    let mut client = TerminalClient::connect_by(connector, url, &[], &[TTY_R1]).await?;
    client.wait_for("name? ", 3 * SOON).await?;
    client.type_at_offset(b"world\r").await?;
    assert_eq!(client.wait_closed(SOON).await?, Some(1000));
    assert!(client.has("hello world, installed"), "{code_url}: {}", client.text());
    let view = api.wait_ended(entry["sessionId"].as_str().context("an id")?).await?;
    assert_eq!((view["endReason"].as_str(), view["exitCode"].as_i64()), (Some("exited"), Some(3)), "{view}");
    Ok((entry, view))
}

/// Whether there is a browser; where not, `test` is skipped by name, and fails under CI.
pub fn has_browser(test: &str) -> Result<bool> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let found = Path::new(&chromium).exists();
    ensure!(found || std::env::var("CI").as_deref() != Ok("true"), "no Chromium at {chromium} under CI");
    if !found {
        println!("skipped: {test}: no Chromium at {chromium}");
    }
    Ok(found)
}

/// The page in Chromium: types, sees, reloads, and leaves with an exit code. Any certificate will do. `evidence`: where a
/// failure leaves its picture.
pub async fn in_a_browser(api: &Api, code: &Code, evidence: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // With what was installed in it, so that no pod needs a registry.
    let program = tar_gz_of(&root.join("../sample-cli"))?;
    let code_url = code.archives.serve("/sample-cli.tar.gz", Reply::Whole(program)).to_string();
    let request = json!({ "code_url": code_url, "command": "node index.js run --pace 15", "install_cmd": "" });
    let entry = api.create(request).await?;
    let output = tokio::process::Command::new("node")
        .args(["stack/job.js", entry["terminalUrl"].as_str().context("a URL")?])
        .current_dir(root.join("../e2e/browser"))
        .env("CLISCALE_E2E_ANY_CERTIFICATE", "1")
        .env("CLISCALE_EVIDENCE_DIR", evidence)
        .kill_on_drop(true)
        .output()
        .await?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("ok"), "{said}\n{errors}");
    let view = api.wait_ended(entry["sessionId"].as_str().context("an id")?).await?;
    assert_eq!(view["exitCode"], 6, "{view}");
    Ok(())
}
