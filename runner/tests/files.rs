//! The session's files: what is sent and taken, for whom, and what becomes of it when something breaks.

mod rig;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rig::asking::{ask, get, names_of, put, read, request, send, waiting};
use rig::{Rig, SOON, Setup, eventually};
use session::EndReason;
use session::runner_api::ROLE_HEADER;

const MIB: u64 = 1024 * 1024;

/// A file of nothing, as large as it is said to be.
fn large(path: PathBuf, size: u64) {
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_sent_whole_or_in_part() {
    let (rig, folder) = waiting().await;
    fs::create_dir(folder.join("out")).unwrap();
    fs::write(folder.join("out/a b.txt"), "0123456789").unwrap();
    let whole = get(&rig, "/files/out/a%20b.txt").await;
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &b"0123456789"[..]));
    assert_eq!(whole.headers["content-length"], "10");
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    let head = ask(&rig, "HEAD", "/files/out/a%20b.txt", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.headers["content-length"], "10");
    for (range, body, said) in
        [("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=7-", "789", "bytes 7-9/10"), ("bytes=-1", "9", "bytes 9-9/10")]
    {
        let part = ask(&rig, "GET", "/files/out/a%20b.txt", &[("range", range)], b"").await;
        assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, body.as_bytes()));
        assert_eq!(part.headers["content-range"], said);
    }
    let beyond = ask(&rig, "GET", "/files/out/a%20b.txt", &[("range", "bytes=10-")], b"").await;
    assert_eq!(beyond.refusal(), (416, "range_not_satisfiable".to_owned()));
    assert_eq!(beyond.headers["content-range"], "bytes */10");
    // Nothing tells whether it is still the file that the first part is of.
    let unsure = [("range", "bytes=2-4"), ("if-range", "\"x\"")];
    assert_eq!(ask(&rig, "GET", "/files/out/a%20b.txt", &unsure, b"").await.body.len(), 10);
    fs::write(folder.join("empty"), "").unwrap();
    assert_eq!(get(&rig, "/files/empty").await.headers["content-length"], "0");
    assert_eq!(get(&rig, "/files/out/none").await.refusal(), (404, "file_not_found".to_owned()));
    assert_eq!(get(&rig, "/files/none/none").await.refusal(), (404, "file_not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_new_or_replaces_a_file_and_never_what_a_name_leads_to() {
    let (rig, folder) = waiting().await;
    let made = put(&rig, "/files/new/deep/x%ff", b"one").await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(get(&rig, "/files/new/deep/x%ff").await.body, "one");
    put(&rig, "/files/plain", b"").await;
    assert_eq!(fs::metadata(folder.join("plain")).unwrap().permissions().mode() & 0o7777, 0o644);

    fs::write(folder.join("tool"), "#!/bin/sh").unwrap();
    fs::set_permissions(folder.join("tool"), fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(put(&rig, "/files/tool", b"other").await.status, StatusCode::NO_CONTENT);
    assert_eq!(fs::read(folder.join("tool")).unwrap(), b"other");
    assert_eq!(fs::metadata(folder.join("tool")).unwrap().permissions().mode() & 0o7777, 0o750);

    let outside = rig.folder.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    fs::hard_link(&outside, folder.join("hard")).unwrap();
    assert_eq!(put(&rig, "/files/hard", b"changed").await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&rig, "/files/hard").await.body, "changed");
    std::os::unix::fs::symlink(&outside, folder.join("soft")).unwrap();
    for taken in ["soft", "new", "tool/below"] {
        assert_eq!(put(&rig, &format!("/files/{taken}"), b"changed").await.refusal(), (409, "not_a_file".to_owned()));
    }
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_for_operators_and_for_who_knows_the_secret_once_they_are_there() {
    let rig = Rig::start().await;
    assert_eq!(get(&rig, "/files/x").await.refusal(), (409, "conflict".to_owned()));
    rig.assign(rig.spec("exec sleep 600")).await;
    rig.controller.wait_stage(session::Stage::Running).await.unwrap();
    for target in ["/files/x", "/files.tar.gz"] {
        let viewer = ask(&rig, "GET", target, &[(ROLE_HEADER, "viewer")], b"").await;
        assert_eq!(viewer.refusal(), (403, "forbidden".to_owned()));
        assert_eq!(ask(&rig, "GET", target, &[(ROLE_HEADER, "")], b"").await.status, StatusCode::FORBIDDEN);
        let stranger = ask(&rig, "GET", target, &[("authorization", "Bearer x")], b"").await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    }
    let viewer = ask(&rig, "PUT", "/files/x", &[(ROLE_HEADER, "viewer")], b"y").await;
    assert_eq!(viewer.status, StatusCode::FORBIDDEN);
    assert_eq!(get(&rig, "/files/x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&rig, "DELETE", "/files/x", &[], b"").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_leaves_nothing_and_one_too_large_is_not_begun() {
    let (rig, folder) = waiting().await;
    let (pieces, sent) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let pieces_of = futures_util::stream::unfold(sent, |mut sent| async { Some((sent.recv().await?, sent)) });
    let mut begun = request(&rig, "PUT", "/files/half", StreamBody::new(Box::pin(pieces_of)));
    begun.headers_mut().insert("content-length", (2 * MIB).into());
    let asked = tokio::spawn({
        let stream = tokio::net::TcpStream::connect(&rig.address).await.unwrap();
        async move {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
            // Dropped with this task, and with it the connection.
            tokio::select! {
                _ = connection => {}
                _ = sender.send_request(begun) => {}
            }
        }
    });
    pieces.send(Ok(Frame::data(vec![7; MIB as usize].into()))).await.unwrap();
    let names = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    eventually("the upload's beginning", || (!names().is_empty()).then_some(())).await;
    assert_eq!(get(&rig, "/files/half").await.status, StatusCode::NOT_FOUND);
    asked.abort();
    eventually("nothing left", || names().is_empty().then_some(())).await;

    // Its head is refused. Nothing follows, for whoever sends on into a closed connection may not hear why.
    let endless = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
    let mut endless = request(&rig, "PUT", "/files/endless", StreamBody::new(endless));
    endless.headers_mut().insert("content-length", (1u64 << 40).into());
    let refused = read(send(&rig, endless).await.unwrap()).await.unwrap();
    assert_eq!(refused.refusal(), (413, "payload_too_large".to_owned()));
    assert!(names().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_nothing_of_the_upload_is_left() {
    let unshare = ["unshare", "--mount"];
    if !std::process::Command::new(unshare[0]).args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespace can be made here");
        return;
    }
    let setup = Setup { through: unshare.map(str::to_owned).to_vec(), ..Setup::default() };
    let rig = Rig::with(setup).await;
    let command =
        "mkdir small && mount -t tmpfs -o size=1m tmpfs small && echo mounted; while read name; do ls -A small; done";
    rig.assign(rig.spec(command)).await;
    let mut operator = rig.operator("a").await;
    operator.hello(Default::default()).await.unwrap();
    operator.wait_for("mounted", SOON).await.unwrap();
    let refused = put(&rig, "/files/small/x", &vec![1; 3 * MIB as usize]).await;
    assert_eq!(refused.refusal(), (507, "insufficient_storage".to_owned()));
    assert_eq!(put(&rig, "/files/small/y", b"fits").await.status, StatusCode::CREATED);
    let archive = get(&rig, "/files.tar.gz").await;
    assert_eq!(names_of(&archive.body), ["small", "small/y"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_however_large_the_file_and_slow_the_reader() {
    let (rig, folder) = waiting().await;
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", rig.runner.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    large(folder.join("large"), 200 * MIB);
    let before = peak();
    // Nobody reads it.
    let unread = send(&rig, request(&rig, "GET", "/files/large", String::new())).await.unwrap();
    let mut body = send(&rig, request(&rig, "GET", "/files/large", String::new())).await.unwrap().into_body();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        total += frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert_eq!(total, 200 * MIB);
    let block = Bytes::from(vec![9; MIB as usize]);
    let stream = futures_util::stream::iter((0..100).map(move |_| Ok::<_, std::io::Error>(Frame::data(block.clone()))));
    let upload = request(&rig, "PUT", "/files/taken", StreamBody::new(stream));
    assert_eq!(send(&rig, upload).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(fs::metadata(folder.join("taken")).unwrap().size(), 100 * MIB);
    let packed = get(&rig, "/files.tar.gz").await;
    assert_eq!(packed.status, StatusCode::OK);
    let after = peak();
    assert!(after < before + 24, "from {before} to {after} MiB");
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_are_served_at_once_and_then_the_next() {
    let (rig, folder) = waiting().await;
    large(folder.join("large"), 64 * MIB);
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(send(&rig, request(&rig, "GET", "/files/large", String::new())).await.unwrap());
    }
    assert_eq!(get(&rig, "/files/large").await.refusal(), (429, "too_many_transfers".to_owned()));
    open.pop();
    let deadline = std::time::Instant::now() + SOON;
    while put(&rig, "/files/next", b"x").await.status != StatusCode::CREATED {
        assert!(std::time::Instant::now() < deadline, "a place that was left is not given on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_can_be_had_after_the_end_and_a_runner_does_not_leave_in_the_middle_of_one() {
    let mut rig = Rig::running("echo done > result; truncate -s 64M large; exit 3").await;
    assert_eq!(rig.ended().await.exit_code, Some(3));
    assert_eq!(get(&rig, "/files/result").await.body, "done\n");
    let mut body = send(&rig, request(&rig, "GET", "/files/large", String::new())).await.unwrap().into_body();
    let mut total = body.frame().await.unwrap().unwrap().into_data().unwrap().len() as u64;
    rig.controller.end(rig.session, EndReason::Cancelled).await.unwrap();
    // It is told, and waits: a second file is not begun any more.
    let deadline = std::time::Instant::now() + Duration::from_secs(4);
    while get(&rig, "/files/result").await.status == StatusCode::OK {
        assert!(std::time::Instant::now() < deadline, "it does not prepare to leave");
    }
    while let Some(frame) = body.frame().await {
        total += frame.unwrap().into_data().unwrap().len() as u64;
    }
    assert_eq!(total, 64 * MIB);
    assert_eq!(rig.exit_status().await.code(), Some(3));
}
