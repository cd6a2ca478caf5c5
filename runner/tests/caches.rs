//! Install caches that runners share, with npm itself.

mod rig;

use std::path::Path;
use std::process::Command;

use rig::{Rig, SOON, Setup};
use session::SessionSpec;
use testkit::archive_server::{ArchiveServer, Reply};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every file of it, and when each was changed.
fn state(folder: &Path) -> String {
    let mut lines: Vec<_> =
        run(Command::new("find").arg(folder).args(["-printf", "%p %s %T@\n"])).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_installs_from_a_shared_cache_what_it_cannot_fetch_and_leaves_the_cache_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (caches, source) = (folder.path().join("caches"), folder.path().join("source"));
    std::fs::create_dir_all(caches.join("pip")).unwrap();
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("package.json"), r#"{"name": "dep", "version": "1.0.0"}"#).unwrap();
    std::fs::write(source.join("index.js"), "module.exports = 6 * 7;").unwrap();
    let server = ArchiveServer::start().await;
    let url = tokio::task::block_in_place(|| {
        run(Command::new("npm").args(["pack", "--pack-destination"]).args([folder.path(), &source]));
        let packed = std::fs::read(folder.path().join("dep-1.0.0.tgz")).unwrap();
        let url = server.serve("/dep-1.0.0.tgz", Reply::Whole(packed));
        run(Command::new("npm").args(["cache", "add", url.as_str(), "--cache"]).arg(caches.join("npm")));
        url
    });
    drop(server);
    let filled = state(&caches);

    let flags = ["--install-caches", caches.to_str().unwrap()].map(str::to_owned).to_vec();
    let rig = Rig::with(Setup { flags, ..Setup::default() }).await;
    let package = format!(r#"{{"name": "x", "version": "1.0.0", "dependencies": {{"dep": "{url}"}}}}"#);
    std::fs::write(rig.code().join("package.json"), package).unwrap();
    let install = Some("npm install --offline --no-audit --no-fund --no-update-notifier".to_owned());
    let command = "node -e 'console.log(`${require(\"dep\")}!`)'; echo \"<$PIP_FIND_LINKS>\"";
    rig.assign(SessionSpec { install_cmd: install, ..rig.spec(command) }).await;
    let ended = rig.ended().await;
    let mut late = rig.operator("a").await;
    late.wait_closed(SOON).await.unwrap();
    assert_eq!(ended.exit_code, Some(0), "{}", late.text());
    assert!(late.has("42!\r\n"), "{}", late.text());
    assert!(late.has(&format!("<{}>", caches.join("pip").display())), "{}", late.text());
    assert_eq!(state(&caches), filled);
}
