//! Archives over real HTTP: what a good one becomes, and what the user sees of it.

mod fetch_support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use fetch_support::{Scene, TarEntry, file, folder, gzip, hard_link, link, listing, tar, tar_gz, text, zip};
use session::Secret;
use session::spec::CodeAuth;
use testkit::archive_server::{ArchiveServer, Reply};

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[tokio::test]
async fn a_tar_gz_is_unpacked_and_its_single_top_folder_entered() {
    let server = ArchiveServer::start().await;
    let bytes = tar_gz(&[
        TarEntry { kind: b'g', content: b"19 comment=whatever\n", ..file("pax_global_header", "") },
        folder("app-1.0/"),
        file("app-1.0/index.js", "console.log(1)"),
        TarEntry { mode: 0o4755, ..file("app-1.0/bin/run", "#!/bin/sh") },
        TarEntry { mode: 0o000, ..file("app-1.0/locked", "x") },
        link("app-1.0/current", "bin/run"),
        link("app-1.0/bin/up", "../index.js"),
        hard_link("app-1.0/again", "app-1.0/index.js"),
    ]);
    let scene = Scene::new(server.serve("/app.tar.gz", Reply::Whole(bytes)));
    let folder = scene.fetched().await;
    assert_eq!(folder, scene.workspace().join("code/app-1.0"));
    let expected = ["again", "bin/", "bin/run", "bin/up -> ../index.js", "current -> bin/run", "index.js", "locked"];
    assert_eq!(listing(&folder), expected);
    assert_eq!(text(folder.join("again")), "console.log(1)");
    let mode = |name: &str| folder.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("bin/run"), 0o755, "setuid is dropped, the rest is kept");
    assert_eq!(mode("locked"), 0o600, "always readable by its owner");
    assert_eq!(folder.join("again").metadata().unwrap().nlink(), 2);
    let top: Vec<_> = std::fs::read_dir(scene.workspace()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(top, ["code"], "nothing of the fetch itself stays");
}

#[tokio::test]
async fn a_zip_is_unpacked_with_modes_and_links() {
    let server = ArchiveServer::start().await;
    let bytes = zip(&[
        ("a.txt", 0o100_644, b"first"),
        ("d/", 0o040_755, b""),
        ("d/run", 0o100_755, b"#!/bin/sh"),
        ("d/link", 0o120_777, b"../a.txt"),
        ("a.txt", 0o100_644, b"second"),
    ]);
    let scene = Scene::new(server.serve("/x.zip", Reply::Unannounced(bytes)));
    let folder = scene.fetched().await;
    assert_eq!(folder, scene.workspace().join("code"));
    assert_eq!(listing(&folder), ["a.txt", "d/", "d/link -> ../a.txt", "d/run"]);
    assert_eq!(text(folder.join("d/link")), "second", "a later entry replaces an earlier one");
    assert_eq!(folder.join("d/run").metadata().unwrap().permissions().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn long_names_of_both_tar_dialects_are_kept() {
    let server = ArchiveServer::start().await;
    let long = format!("top/{}/{}.txt", "d".repeat(180), "n".repeat(180));
    let mut gnu = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    gnu.append_data(&mut header, &long, &b"gnu"[..]).unwrap();
    let record = format!(" path={long}\n");
    let record = format!("{}{record}", record.len() + 3);
    let pax = tar(&[TarEntry { kind: b'x', content: record.as_bytes(), ..file("pax", "") }, file("short", "pax")]);
    for (path, bytes, content) in [("/gnu.tgz", gnu.into_inner().unwrap(), "gnu"), ("/pax.tgz", pax, "pax")] {
        let scene = Scene::new(server.serve(path, Reply::Whole(gzip(&bytes))));
        scene.fetched().await;
        assert_eq!(text(scene.workspace().join("code").join(&long)), content);
    }
}

#[tokio::test]
async fn an_unknown_ending_is_judged_by_the_first_bytes() {
    let server = ArchiveServer::start().await;
    for (path, bytes) in [("/one", tar_gz(&[file("a", "1")])), ("/two", zip(&[("a", 0, b"1")]))] {
        // Three bytes at a time: the kind is not known from the first piece.
        let scene = Scene::new(server.serve(path, Reply::Drip(bytes, 3, Duration::ZERO)));
        assert_eq!(listing(&scene.fetched().await), ["a"]);
    }
}

#[tokio::test]
async fn a_checksum_is_compared_over_the_bytes_of_the_archive() {
    let server = ArchiveServer::start().await;
    for (path, bytes) in [("/x.tar.gz", tar_gz(&[file("a", "1")])), ("/x.zip", zip(&[("a", 0, b"1")]))] {
        let sum = sha256(&bytes);
        let mut scene = Scene::new(server.serve(path, Reply::Whole(bytes)));
        scene.request.checksum_sha256 = Some(sum.to_uppercase());
        assert_eq!(listing(&scene.fetched().await), ["a"]);

        let mut scene = Scene::new(server.url(path));
        scene.request.checksum_sha256 = Some("0".repeat(64));
        let refusal = scene.refusal().await;
        assert!(refusal.contains(&sum) && refusal.contains("code_checksum_sha256"), "{refusal}");
    }
}

#[tokio::test]
async fn the_terminal_shows_host_size_percent_and_no_query() {
    let server = ArchiveServer::start().await;
    let noise: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bytes = tar_gz(&[TarEntry { content: &noise, ..file("noise", "") }]);
    let url = server.serve("/noise.tar.gz", Reply::Drip(bytes, 60_000, Duration::from_millis(60)));
    let scene = Scene::new(format!("{url}?signature=hidden"));
    scene.fetched().await;
    let terminal = scene.terminal();
    assert!(terminal.starts_with(&format!("Downloading noise.tar.gz from {}\r\n", server.address())), "{terminal:?}");
    assert!(terminal.contains("%\x1b[K") && terminal.contains("KiB of "), "{terminal:?}");
    assert!(terminal.contains("\r\x1b[KDownloaded ") && terminal.ends_with(" s\r\n"), "{terminal:?}");
    assert!(!terminal.contains("hidden"), "{terminal:?}");
}

#[tokio::test]
async fn credentials_go_to_the_first_host_only() {
    let (first, second) = (ArchiveServer::start().await, ArchiveServer::start().await);
    let target = second.serve("/real.zip", Reply::Whole(zip(&[("a", 0, b"1")])));
    first.serve("/moved.zip", Reply::Redirect(302, target.to_string()));
    first.serve("/start.zip", Reply::Redirect(307, "/moved.zip".into()));
    for (username, header) in [(None, "Bearer s3cret"), (Some("me".to_owned()), "Basic bWU6czNjcmV0")] {
        let mut scene = Scene::new(first.url("/start.zip"));
        scene.request.auth = Some(CodeAuth { username, token: Secret::new("s3cret") });
        scene.fetched().await;
        let seen = first.seen();
        let sent: Vec<_> = seen.iter().rev().take(2).map(|request| request.authorization.as_deref()).collect();
        assert_eq!(sent, [Some(header); 2]);
        assert!(second.seen().iter().all(|request| request.authorization.is_none()));
    }
}

#[tokio::test]
async fn a_slow_server_within_the_limits_succeeds() {
    let server = ArchiveServer::start().await;
    let bytes = tar_gz(&[file("a", "slow but whole")]);
    let mut scene = Scene::new(server.serve("/x.tar.gz", Reply::Drip(bytes, 8, Duration::from_millis(100))));
    // The whole takes longer than one stall would be allowed to.
    scene.limits.stall = Duration::from_secs(1);
    assert_eq!(text(scene.fetched().await.join("a")), "slow but whole");
}
