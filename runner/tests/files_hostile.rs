//! Files as somebody wants them who is after others: no path, link, pipe, device or race leads out of the folder.

mod rig;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use http_body_util::BodyExt;
use nix::sys::stat::{Mode, SFlag};
use rig::asking::{ask, get, names_of, put, request, send, waiting};

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_upwards() {
    let (rig, folder) = waiting().await;
    fs::write(rig.folder.path().join("workspace/secret"), "outside").unwrap();
    fs::create_dir(folder.join("d")).unwrap();
    let absolute = rig.folder.path().join("workspace/secret");
    for path in [
        "../secret",
        "d/../../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "%2e%2e%2Fsecret",
        "d/%2E%2e/%2e./secret",
        "./../secret",
        "d//../../secret",
        "..",
        "%2e%2e",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "%2Fetc/passwd",
        absolute.to_str().unwrap(),
        "..%5csecret",
        "..%00/secret",
        "../code/../secret",
        "d/",
    ] {
        for answer in [get(&rig, &format!("/files/{path}")).await, put(&rig, &format!("/files/{path}"), b"x").await] {
            let no_such_name = path.contains("%5c") && answer.status.is_success();
            assert!(answer.status.is_client_error() || no_such_name, "{path}: {}", answer.status);
            assert!(!answer.body.windows(7).any(|bytes| bytes == b"outside" || bytes == b"root:x:"), "{path}");
        }
    }
    assert_eq!(fs::read(rig.folder.path().join("workspace/secret")).unwrap(), b"outside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_pipes_sockets_and_devices_are_no_files() {
    let (rig, folder) = waiting().await;
    symlink("/etc/passwd", folder.join("passwd")).unwrap();
    symlink("/etc", folder.join("etc")).unwrap();
    symlink("/proc/self/environ", folder.join("environ")).unwrap();
    symlink("real", folder.join("inside")).unwrap();
    fs::write(folder.join("real"), "x").unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    let mut names = vec!["passwd", "etc", "etc/passwd", "environ", "inside", "pipe", "socket"];
    // As root alone.
    if nix::sys::stat::mknod(&folder.join("zero"), SFlag::S_IFCHR, Mode::S_IRWXU, nix::sys::stat::makedev(1, 5)).is_ok()
    {
        names.push("zero");
    }
    for name in names {
        let refused = (409, "not_a_file".to_owned());
        assert_eq!(get(&rig, &format!("/files/{name}")).await.refusal(), refused, "{name}");
        assert_eq!(put(&rig, &format!("/files/{name}"), b"x").await.refusal(), refused, "{name}");
    }
    let archive = get(&rig, "/files.tar.gz").await;
    assert_eq!(names_of(&archive.body), ["environ", "etc", "inside", "passwd", "real"]);
}

/// Exchanges two names over and over until told to stop.
fn exchange(one: &Path, other: &Path) -> (Arc<AtomicBool>, std::thread::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, one, other) = (Arc::clone(&stop), one.to_owned(), other.to_owned());
    let thread = std::thread::spawn(move || {
        let mut times = 0;
        while !told.load(Ordering::Relaxed) {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &other, flags).unwrap();
            times += 1;
        }
        times
    });
    (stop, thread)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_becomes_a_link_meanwhile_is_never_followed() {
    let (rig, folder) = waiting().await;
    let outside = rig.folder.path().join("outside");
    for (at, text) in [(&outside, "outside"), (&folder.join("d"), "inside")] {
        fs::create_dir(at).unwrap();
        fs::write(at.join("file"), text).unwrap();
    }
    symlink(&outside, folder.join("l")).unwrap();
    let (stop, thread) = exchange(&folder.join("d"), &folder.join("l"));
    let (mut sent, mut refused) = (0, 0);
    for round in 0..400 {
        let answer = get(&rig, "/files/d/file").await;
        match answer.status {
            StatusCode::OK => {
                assert_eq!(answer.body, "inside");
                sent += 1;
            }
            _ => refused += 1,
        }
        put(&rig, &format!("/files/d/new{}", round % 10), b"x").await;
        if round % 50 == 0 {
            let archive = get(&rig, "/files.tar.gz").await;
            assert_eq!(archive.status, StatusCode::OK);
            assert!(!asked_for(&archive.body).contains(&"outside".to_owned()));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let times = thread.join().unwrap();
    assert!(sent > 0 && refused > 0, "{sent} sent, {refused} refused, exchanged {times} times");
    let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["file"]);
}

/// The contents of an archive's files.
fn asked_for(archive: &[u8]) -> Vec<String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let entries = tar.entries().unwrap();
    entries.map(|entry| std::io::read_to_string(entry.unwrap()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_holds_what_can_be_packed_as_it_is() {
    let (rig, folder) = waiting().await;
    let long = "n".repeat(200);
    fs::create_dir_all(folder.join(&long).join("empty")).unwrap();
    fs::write(folder.join(&long).join("tool"), "#!/bin/sh\n").unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(folder.join(&long).join("tool"), mode).unwrap();
    symlink("../nowhere", folder.join(&long).join("link")).unwrap();
    let answer = get(&rig, "/files.tar.gz").await;
    assert_eq!(answer.status, StatusCode::OK);
    let target = tempfile::tempdir().unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(&answer.body[..])).unpack(target.path()).unwrap();
    let unpacked = target.path().join(&long);
    assert!(unpacked.join("empty").is_dir());
    assert_eq!(fs::read(unpacked.join("tool")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&unpacked.join("tool").metadata().unwrap().permissions()) & 0o777,
        0o755
    );
    assert_eq!(fs::read_link(unpacked.join("link")).unwrap(), Path::new("../nowhere"));
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_it_is_read_breaks_no_archive_and_cuts_no_answer_silently() {
    let (rig, folder) = waiting().await;
    // Not to be packed small: the answer must not fit into what is on its way.
    let noise: Vec<u8> = (0..32 * MIB).map(|_| fastrand::u8(..)).collect();
    fs::write(folder.join("noise"), &noise).unwrap();
    fs::write(folder.join("other"), "x").unwrap();
    let mut packed = send(&rig, request(&rig, "GET", "/files.tar.gz", String::new())).await.unwrap().into_body();
    let mut archive = packed.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    let mut plain = send(&rig, request(&rig, "GET", "/files/noise", String::new())).await.unwrap().into_body();
    plain.frame().await.unwrap().unwrap();
    fs::File::options().write(true).open(folder.join("noise")).unwrap().set_len(MIB).unwrap();
    archive.extend_from_slice(&packed.collect().await.unwrap().to_bytes());
    assert_eq!(names_of(&archive), ["noise", "other"]);
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
    let sizes: Vec<u64> = tar.entries().unwrap().map(|entry| entry.unwrap().size()).collect();
    assert!(sizes.contains(&(32 * MIB)), "{sizes:?}");
    assert!(plain.collect().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_to_send_is_refused_and_sent_in_part() {
    let (rig, folder) = waiting().await;
    let size = 2048 * MIB + 1;
    fs::File::create(folder.join("huge")).unwrap().set_len(size).unwrap();
    assert_eq!(get(&rig, "/files/huge").await.refusal(), (413, "payload_too_large".to_owned()));
    let range = format!("bytes=0-{}", size - 1);
    let all = ask(&rig, "GET", "/files/huge", &[("range", &range)], b"").await;
    assert_eq!(all.status, StatusCode::PAYLOAD_TOO_LARGE);
    let part = ask(&rig, "GET", "/files/huge", &[("range", "bytes=-5")], b"").await;
    assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 5));
    assert_eq!(get(&rig, "/files.tar.gz").await.refusal(), (413, "payload_too_large".to_owned()));
    fs::remove_file(folder.join("huge")).unwrap();
    let mut deep = folder.clone();
    for _ in 0..102 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    assert_eq!(get(&rig, "/files.tar.gz").await.refusal(), (413, "payload_too_large".to_owned()));
}
