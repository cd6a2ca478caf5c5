//! A folder on this machine: copied or used in place, in local mode only.

mod fetch_support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use fetch_support::{Scene, listing, text};

fn sample(folder: &Path) {
    fs::create_dir_all(folder.join("node_modules/x")).unwrap();
    fs::create_dir_all(folder.join(".git")).unwrap();
    fs::write(folder.join("node_modules/x/index.js"), "x").unwrap();
    fs::write(folder.join(".git/HEAD"), "ref").unwrap();
    fs::write(folder.join("run.sh"), "#!/bin/sh").unwrap();
    fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o4555)).unwrap();
    symlink("/etc/hostname", folder.join("link")).unwrap();
}

#[tokio::test]
async fn a_folder_is_copied_with_everything_but_sockets() {
    let from = tempfile::tempdir().unwrap();
    sample(from.path());
    let _socket = UnixListener::bind(from.path().join("socket")).unwrap();
    let scene = Scene::new(from.path().to_str().unwrap());
    let code = scene.fetched().await;
    assert_eq!(code, scene.workspace().join("code"));
    let expected = [
        ".git/",
        ".git/HEAD",
        "link -> /etc/hostname",
        "node_modules/",
        "node_modules/x/",
        "node_modules/x/index.js",
        "run.sh",
    ];
    assert_eq!(listing(&code), expected);
    assert_eq!(fs::metadata(code.join("run.sh")).unwrap().permissions().mode() & 0o7777, 0o755);
    fs::write(code.join("node_modules/x/index.js"), "changed").unwrap();
    assert_eq!(text(from.path().join("node_modules/x/index.js")), "x", "the original is another file");
    assert!(scene.terminal().contains("left out 1 sockets"), "{}", scene.terminal());
}

#[tokio::test]
async fn a_workspace_inside_the_folder_is_not_copied_into_itself() {
    let from = tempfile::tempdir().unwrap();
    sample(from.path());
    let mut scene = Scene::new(from.path().to_str().unwrap());
    scene.request.workspace = from.path().join("data/session");
    fs::create_dir_all(scene.workspace()).unwrap();
    let code = scene.fetched().await;
    assert!(code.join("run.sh").exists() && code.join("data").exists());
    assert!(!code.join("data/session").exists());
}

#[tokio::test]
async fn in_place_is_the_folder_itself() {
    let from = tempfile::tempdir().unwrap();
    sample(from.path());
    let mut scene = Scene::new(format!("file://{}", from.path().display()));
    scene.request.in_place = true;
    assert_eq!(scene.fetched().await, from.path().canonicalize().unwrap());
    assert_eq!(listing(scene.workspace()), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_copied_is_named() {
    let from = tempfile::tempdir().unwrap();
    sample(from.path());
    let missing = from.path().join("missing");
    assert_eq!(Scene::new(missing.to_str().unwrap()).refusal().await, format!("there is no folder {missing:?}"));
    let plain = from.path().join("run.sh");
    assert_eq!(Scene::new(plain.to_str().unwrap()).refusal().await, format!("{plain:?} is not a folder"));
    let mut scene = Scene::new(from.path().to_str().unwrap());
    scene.limits.entries = 3;
    assert!(scene.refusal().await.contains("more than 3 files"));
    scene.limits.entries = 100;
    scene.limits.extracted_bytes = 5;
    assert!(scene.refusal().await.contains("larger than 5 bytes"));
    scene.request.policy.allow_local = false;
    assert!(scene.refusal().await.contains("local mode only"));
}
