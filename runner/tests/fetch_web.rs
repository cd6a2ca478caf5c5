//! Servers that attack or fail: redirects, addresses, stalls, sizes.

mod fetch_support;

use std::time::{Duration, Instant};

use fetch_support::{Scene, file, listing, tar_gz};
use session::Secret;
use session::spec::CodeAuth;
use testkit::archive_server::{ArchiveServer, Reply};

fn archive() -> Vec<u8> {
    tar_gz(&[file("a", "content")])
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_limit() {
    let server = ArchiveServer::start().await;
    server.serve("/5", Reply::Whole(archive()));
    for at in 0..5 {
        server.serve(&format!("/{at}"), Reply::Redirect([301, 302, 303, 307, 308][at], format!("/{}", at + 1)));
    }
    let scene = Scene::new(server.url("/0"));
    assert_eq!(listing(&scene.fetched().await), ["a"]);
    let url = server.serve("/before", Reply::Redirect(302, "/0".into()));
    assert!(Scene::new(url).refusal().await.contains("redirects more than 5 times"));
    let url = server.serve("/loop", Reply::Redirect(302, "/loop".into()));
    assert!(Scene::new(url).refusal().await.contains("redirects more than 5 times"));
}

#[tokio::test]
async fn a_redirect_is_judged_like_the_first_url() {
    let server = ArchiveServer::start().await;
    for (to, words) in [
        ("ftp://files.example/x.zip", "only https and http"),
        ("file:///etc/passwd", "only https and http"),
        ("gopher://127.0.0.1:1/x", "only https and http"),
        ("http://me:pw@files.example/x.zip", "holds credentials"),
        ("http://", "names no URL"),
        ("http://elsewhere.example/x.zip", "not among the allowed ones (ALLOWED_CODE_DOMAINS)"),
    ] {
        let mut scene = Scene::new(server.serve("/x.zip", Reply::Redirect(302, to.to_owned())));
        scene.request.policy.allowed_hosts = "127.0.0.1".parse().unwrap();
        let refusal = scene.refusal().await;
        assert!(refusal.contains(words), "{to}: {refusal}");
        assert!(!refusal.contains("pw@"), "{refusal}");
    }
}

#[tokio::test]
async fn a_private_address_is_refused_however_it_is_written() {
    let server = ArchiveServer::start().await;
    server.serve("/x.tar.gz", Reply::Whole(archive()));
    let port = server.address().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "[::]",
    ] {
        let mut scene = Scene::new(format!("http://{host}:{port}/x.tar.gz"));
        scene.request.policy.allow_private = false;
        let refusal = scene.refusal().await;
        assert!(refusal.contains("private or reserved address"), "{host}: {refusal}");
        assert!(refusal.contains("--allow-private-code-hosts"), "{host}: {refusal}");
    }
    assert_eq!(server.seen(), [], "nothing was sent");
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_not_asked() {
    let server = ArchiveServer::start().await;
    let mut scene = Scene::new(server.serve("/x.tar.gz", Reply::Whole(archive())));
    scene.request.policy.allowed_hosts = "github.com, *.example.com".parse().unwrap();
    let refusal = scene.refusal().await;
    assert!(refusal.contains("127.0.0.1") && refusal.contains("ALLOWED_CODE_DOMAINS"), "{refusal}");
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    let server = ArchiveServer::start().await;
    for reply in [Reply::Silent, Reply::StallAfter(archive(), 2), Reply::StallAfter(archive(), 40)] {
        let mut scene = Scene::new(server.serve("/x.tar.gz", reply.clone()));
        scene.limits.stall = Duration::from_millis(200);
        scene.limits.connect = Duration::from_secs(1);
        let started = Instant::now();
        let refusal = scene.refusal().await;
        assert!(refusal.contains("sent nothing for 0.2 s"), "{reply:?}: {refusal}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_fetch_ends_at_its_total_limit_however_lively_the_server() {
    let server = ArchiveServer::start().await;
    let mut scene = Scene::new(server.serve("/x.tar.gz", Reply::Drip(archive(), 1, Duration::from_millis(20))));
    scene.limits.total = Duration::from_millis(300);
    assert_eq!(scene.refusal().await, "the code was not fetched within 0.3 s");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let server = ArchiveServer::start().await;
    let url = server.serve("/x.tar.gz", Reply::CutAfter(archive(), 50));
    assert!(Scene::new(url).refusal().await.contains("broke off"));
}

#[tokio::test]
async fn a_download_above_its_limit_is_refused_announced_or_not() {
    let server = ArchiveServer::start().await;
    let mut head = archive();
    head.resize(5000, 0);
    for reply in [Reply::Whole(head.clone()), Reply::Unannounced(head), Reply::Endless(archive())] {
        let mut scene = Scene::new(server.serve("/x.tar.gz", reply));
        scene.limits.download_bytes = 4096;
        let refusal = scene.refusal().await;
        assert!(refusal.contains("larger than 4 KiB") || refusal.contains("damaged"), "{refusal}");
    }
}

#[tokio::test]
async fn a_status_tells_what_to_do() {
    let server = ArchiveServer::start().await;
    for (code, with_auth, words) in [
        (401, false, "needs credentials, or does not exist; send them as code_auth"),
        (401, true, "refused the credentials of code_auth"),
        (403, true, "refused the credentials of code_auth (403)"),
        (403, false, "answered 403"),
        (404, false, "answered 404"),
        (500, false, "answered 500"),
        (206, false, "answered 206"),
    ] {
        let mut scene = Scene::new(server.serve("/x.zip", Reply::Status(code)));
        scene.request.auth = with_auth.then(|| CodeAuth { username: None, token: Secret::new("s3cret") });
        let refusal = scene.refusal().await;
        assert!(refusal.contains(words), "{code}: {refusal}");
        assert!(!refusal.contains("s3cret"));
    }
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let refusal = Scene::new(format!("http://{address}/x.zip?token=hidden")).refusal().await;
    assert_eq!(refusal, format!("no connection to {address}"));
}
