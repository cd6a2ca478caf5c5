//! The whole job, by each kind of code URL and in a browser, through the Ingress.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use session::frames::TTY_R1;
use testkit::api::Api;
use testkit::archive_server::Reply;
use testkit::cluster::chart::Installation;
use testkit::cluster::code::{tar_gz, tar_gz_of, zip};
use testkit::connector::Connector;
use testkit::stack::SOON;
use testkit::terminal_client::TerminalClient;

use crate::text;

const SAY: &[u8] = b"printf 'name? '; read -r name; echo \"hello $name, $(cat mark)\"; exit 3\n";

/// Serves the same program in every way that code can be had, and answers the URLs.
pub fn every_code_url(installation: &Installation) -> Result<Vec<String>> {
    let say = String::from_utf8(SAY.to_vec())?;
    let repo = installation.code.git.create_repo("owner/repo.git");
    repo.branch("feature/with/slashes");
    repo.commit(&[("app/say.sh", &say)]);
    repo.branch("main");
    repo.commit(&[("say.sh", &say)]);
    let files = [("top/say.sh", SAY), ("top/README", &b"text"[..])];
    let archives = &installation.code.archives;
    Ok(vec![
        installation.code.git.url("/owner/repo/tree/feature/with/slashes/app").to_string(),
        installation.code.git.url("/owner/repo.git#main").to_string(),
        archives.serve("/code.zip", Reply::Whole(zip(&files)?)).to_string(),
        archives.serve("/code.tar.gz", Reply::Whole(tar_gz(&files)?)).to_string(),
    ])
}

/// One session from its creation to its end, with something typed in between.
pub async fn whole_job(api: &Api, connector: &Connector, code_url: &str) -> Result<()> {
    let request =
        json!({ "code_url": code_url, "command": "sh say.sh", "install_cmd": "echo installed > mark; cat mark" });
    let entry = api.create(request).await?;
    let url = text(&entry, "webSocketUrl")?;
    let mut client = TerminalClient::connect_by(connector, url, &[], &[TTY_R1]).await?;
    client.wait_for("name? ", 3 * SOON).await?;
    client.type_at_offset(b"world\r").await?;
    assert_eq!(client.wait_closed(SOON).await?, Some(1000));
    assert!(client.has("hello world, installed"), "{code_url}: {}", client.text());
    let view = api.wait_ended(text(&entry, "sessionId")?).await?;
    assert_eq!((view["endReason"].as_str(), view["exitCode"].as_i64()), (Some("exited"), Some(3)), "{view}");
    Ok(())
}

/// The page in Chromium: types, sees, reloads, and leaves with an exit code.
pub async fn whole_job_in_a_browser(installation: &Installation, api: &Api) -> Result<()> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !Path::new(&chromium).exists() && std::env::var("CI").as_deref() != Ok("true") {
        println!("not in a browser: no Chromium at {chromium}");
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // With what was installed in it, so that no pod needs a registry.
    let program = tar_gz_of(&root.join("../sample-cli"))?;
    let code_url = installation.code.archives.serve("/sample-cli.tar.gz", Reply::Whole(program)).to_string();
    let request = json!({ "code_url": code_url, "command": "node index.js run --pace 15", "install_cmd": "" });
    let entry = api.create(request).await?;
    let output = tokio::process::Command::new("node")
        .args(["stack/job.js", text(&entry, "terminalUrl")?])
        .current_dir(root.join("browser"))
        .env("CLISCALE_E2E_ANY_CERTIFICATE", "1")
        .env("CLISCALE_EVIDENCE_DIR", installation.logs_dir())
        .kill_on_drop(true)
        .output()
        .await?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("ok"), "{said}\n{errors}");
    let view = api.wait_ended(text(&entry, "sessionId")?).await?;
    assert_eq!(view["exitCode"], 6, "{view}");
    Ok(())
}
