//! Repositories over the real `git http-backend`: what is fetched, what is refused, and where credentials go.

mod fetch_support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fetch_support::{Scene, listing, text, until};
use session::Secret;
use session::spec::CodeAuth;
use testkit::git_server::{GitServer, Repo};

const TOKEN: &str = "t0ken-of-the-test";
const BASIC: &str = "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4tb2YtdGhlLXRlc3Q=";

fn auth() -> Option<CodeAuth> {
    Some(CodeAuth { username: None, token: Secret::new(TOKEN) })
}

/// `o/r`: main with two folders, a branch with slashes, a tag, a hidden commit.
fn sample(server: &GitServer) -> (Repo, String) {
    let repo = server.create_repo("o/r.git");
    let first = repo.commit(&[
        ("README", "main"),
        ("app/index.js", "one"),
        ("other/secret", "not for you"),
        ("a b/ü.txt", "odd"),
    ]);
    repo.tag("v1");
    repo.branch("feature/x/y");
    repo.commit(&[("app/index.js", "feature")]);
    repo.switch("main");
    repo.commit(&[("app/index.js", "two")]);
    (repo, first)
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git").args(args).current_dir(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The listing without `.git`.
fn files(folder: &Path) -> Vec<String> {
    listing(folder).into_iter().filter(|name| !name.starts_with(".git/")).collect()
}

#[tokio::test]
async fn a_folder_of_a_branch_tag_or_commit_arrives_alone() {
    let server = GitServer::start().await;
    let (_repo, first) = sample(&server);
    let short = &first[..8];
    for (tail, content) in [
        ("main/app".to_owned(), "two"),
        ("feature/x/y/app/".to_owned(), "feature"),
        ("v1/app".to_owned(), "one"),
        (format!("{first}/app"), "one"),
        (format!("{short}/app"), "one"),
        ("HEAD/app".to_owned(), "two"),
    ] {
        let scene = Scene::new(server.url(&format!("/o/r/tree/{tail}")));
        let folder = scene.fetched().await;
        assert_eq!(text(folder.join("index.js")), content, "{tail}");
        assert_eq!(listing(scene.workspace()), ["code/", "code/index.js"], "{tail}: no other folder, no .git");
    }
}

#[tokio::test]
async fn only_the_blobs_of_the_folder_are_transferred() {
    let server = GitServer::start().await;
    let (repo, _) = sample(&server);
    let noise: String =
        (0..200_000_u32).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    repo.commit(&[("other/big", &noise)]);
    let mut scene = Scene::new(server.url("/o/r/tree/main/app"));
    scene.limits.extracted_bytes = 1000;
    assert_eq!(listing(&scene.fetched().await), ["index.js"]);
}

#[tokio::test]
async fn a_folder_with_an_odd_name_is_found() {
    let server = GitServer::start().await;
    sample(&server);
    let scene = Scene::new(server.url("/o/r/tree/main/a%20b"));
    assert_eq!(text(scene.fetched().await.join("ü.txt")), "odd");
}

#[tokio::test]
async fn a_whole_repository_is_a_work_tree_on_its_branch() {
    let server = GitServer::start().await;
    let (repo, first) = sample(&server);
    repo.git(&["push", "-q", "origin", &format!("{first}:refs/pull/7/head")]);
    for (url, content, branch) in [
        ("/o/r.git".to_owned(), "two", "main"),
        ("/o/r.git#feature/x/y".to_owned(), "feature", "feature/x/y"),
        ("/o/r.git#v1".to_owned(), "one", ""),
        (format!("/o/r.git#{first}"), "one", ""),
        (format!("/o/r.git#{}", &first[..7]), "one", ""),
        ("/o/r.git#refs/pull/7/head".to_owned(), "one", ""),
        ("/o/r/tree/feature/x/y".to_owned(), "feature", "feature/x/y"),
    ] {
        let scene = Scene::new(server.url(&url));
        let folder = scene.fetched().await;
        assert_eq!(text(folder.join("app/index.js")), content, "{url}");
        assert_eq!(git(&folder, &["branch", "--show-current"]), branch, "{url}");
        assert_eq!(git(&folder, &["rev-list", "--count", "HEAD"]), "1", "{url}: shallow");
        assert_eq!(git(&folder, &["status", "--porcelain"]), "", "{url}");
    }
}

#[tokio::test]
async fn a_repository_is_found_with_or_without_its_ending_and_behind_its_own_hosts_redirect() {
    let server = GitServer::start().await;
    sample(&server);
    server.create_repo("bare/name").commit(&[("f", "1")]);
    server.redirect("/old/name", "/o/r");
    server.redirect("/gone/abs", server.url("/o/r").as_str());
    for url in ["/o/r/tree/main/app", "/bare/name.git", "/old/name.git", "/gone/abs.git", "/old/name/tree/main/app"] {
        let scene = Scene::new(server.url(url));
        assert!(!listing(&scene.fetched().await).is_empty(), "{url}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let server = GitServer::start().await;
    sample(&server);
    server.create_repo("o/empty.git");
    for (url, words) in [
        ("/o/r/tree/main/no/such", vec!["no folder", "\"no/such\"", "\"main\""]),
        ("/o/r/tree/main/README", vec!["\"README\" is not a folder"]),
        ("/o/r/tree/nope/app", vec!["no branch, tag or commit", "\"nope/app\""]),
        ("/o/r.git#nope", vec!["no branch, tag or commit", "\"nope\""]),
        ("/o/r/tree/0123456789abcdef0123456789abcdef01234567/app", vec!["0123456789abcdef"]),
        ("/o/r.git#abcdef1", vec!["abcdef1"]),
        ("/o/empty.git", vec!["is empty"]),
        ("/o/nothing.git", vec!["404"]),
    ] {
        let refusal = Scene::new(server.url(url)).refusal().await;
        for word in words {
            assert!(refusal.contains(word), "{url}: {refusal}");
        }
    }
}

#[tokio::test]
async fn a_branch_called_like_a_folder_is_the_longer_match() {
    let server = GitServer::start().await;
    let (repo, _) = sample(&server);
    repo.git(&["tag", "main/app"]);
    repo.commit(&[("app/new", "later")]);
    // The tag is older than the folder's newest file, and it is the whole repository.
    let scene = Scene::new(server.url("/o/r/tree/main/app"));
    assert!(files(&scene.fetched().await).contains(&"README".to_owned()));
    let scene = Scene::new(server.url("/o/r/tree/main/app/app"));
    assert_eq!(listing(&scene.fetched().await), ["index.js"]);
}

#[tokio::test]
async fn references_with_hostile_names_are_not_obeyed() {
    let server = GitServer::start().await;
    let (repo, first) = sample(&server);
    // Names that git would refuse to create, written as a hostile server would.
    let packed: String =
        ["refs/heads/x:refs/heads/main", "refs/heads/--upload-pack=touch", "refs/heads/\u{1b}[31mred", "refs/heads/a*"]
            .iter()
            .map(|name| format!("{first} {name}\n"))
            .collect();
    fs::write(repo.bare.join("packed-refs"), format!("# pack-refs with: peeled fully-peeled sorted\n{packed}"))
        .unwrap();
    let scene = Scene::new(server.url("/o/r/tree/main/app"));
    let fetched = scene.fetched().await;
    assert_eq!(listing(&fetched), ["index.js"]);
    for tail in ["x:refs/heads/main/app", "a*/app", "%1B[31mred/app", "-c/app"] {
        let scene = Scene::new(server.url(&format!("/o/r/tree/{tail}")));
        let refusal = scene.refusal().await;
        assert!(refusal.contains("no branch, tag or commit"), "{refusal}");
        assert!(!refusal.contains('\u{1b}') && !scene.terminal().contains("\u{1b}[31m"), "{refusal:?}");
    }
    // A name that begins like an option is a name, for it is only ever used in full.
    Scene::new(server.url("/o/r.git#--upload-pack=touch")).fetched().await;
}

#[tokio::test]
async fn credentials_reach_the_server_and_stay_nowhere() {
    let server = GitServer::start().await;
    sample(&server);
    server.require(BASIC);
    let refusal = Scene::new(server.url("/o/r.git")).refusal().await;
    assert!(refusal.contains("401") && refusal.contains("code_auth"), "{refusal}");
    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.request.auth = Some(CodeAuth { username: Some("me".into()), token: Secret::new("wrong") });
    let refusal = scene.refusal().await;
    assert!(refusal.contains("refused the credentials"), "{refusal}");

    // The folder's blobs come in a request of their own, which needs the credentials too.
    let mut scene = Scene::new(server.url("/o/r/tree/main/app"));
    scene.request.auth = auth();
    assert_eq!(text(scene.fetched().await.join("index.js")), "two");

    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.request.auth = auth();
    let folder = scene.fetched().await;
    let secret = |text: &str| text.contains(TOKEN) || text.contains(&BASIC[6..]);
    for name in listing(&folder) {
        let path = folder.join(&name);
        if path.is_file() {
            assert!(!secret(&String::from_utf8_lossy(&fs::read(path).unwrap())), "{name}");
        }
    }
    assert!(!text(folder.join(".git/config")).to_lowercase().contains("header"));
    assert!(!secret(&scene.terminal()));
}

/// The arguments of every process, one string each.
fn command_lines() -> Vec<String> {
    let read = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| read(entry.ok()?));
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn credentials_are_in_no_argument_and_cancelling_ends_all_processes() {
    let server = GitServer::start().await;
    sample(&server);
    server.stall("/o/r.git/git-upload-pack");
    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.request.auth = auth();
    let ours = server.url("/o/r.git").to_string();
    let running = || command_lines().into_iter().filter(|line| line.contains(&ours)).collect::<Vec<_>>();
    let watching = async {
        until("git asks the server", || running().iter().any(|line| line.contains("remote-http"))).await;
        for line in command_lines() {
            assert!(!line.contains(TOKEN) && !line.contains(&BASIC[6..]), "{line}");
        }
        scene.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(scene.run(), watching);
    assert!(outcome.unwrap_err().is_cancelled());
    assert_eq!(running(), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dropping_the_fetch_ends_all_processes() {
    let server = GitServer::start().await;
    sample(&server);
    server.stall("/o/r.git/git-upload-pack");
    let scene = Scene::new(server.url("/o/r.git"));
    let ours = server.url("/o/r.git").to_string();
    let running = || command_lines().iter().any(|line| line.contains(&ours));
    tokio::select! {
        outcome = scene.run() => panic!("{outcome:?}"),
        () = until("git asks the server", running) => {}
    }
    until("git is gone", || !running()).await;
}

#[tokio::test]
async fn a_server_that_stalls_in_a_transfer_is_given_up() {
    let server = GitServer::start().await;
    sample(&server);
    server.stall("/o/r.git/git-upload-pack");
    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.limits.stall = Duration::from_secs(1);
    let refusal = scene.refusal().await;
    assert!(refusal.contains("sent nothing for 1 s"), "{refusal}");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused_and_gets_no_credentials() {
    let (server, other) = (GitServer::start().await, GitServer::start().await);
    sample(&other);
    server.redirect("/o/r", other.url("/o/r").as_str());
    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.request.auth = auth();
    let refusal = scene.refusal().await;
    assert!(refusal.contains("a repository stays at its host"), "{refusal}");
    assert_eq!(other.seen(), []);

    // A server that redirects only git itself, after the checked client was served.
    let server = GitServer::start().await;
    sample(&server);
    server.redirect("/o/r.git/git-upload-pack", other.url("/o/r.git/git-upload-pack").as_str());
    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.request.auth = auth();
    scene.refusal().await;
    assert_eq!(other.seen(), []);
}

#[tokio::test]
async fn a_repository_at_a_private_address_is_refused() {
    let server = GitServer::start().await;
    sample(&server);
    let port = server.address().port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1"] {
        let mut scene = Scene::new(format!("http://{host}:{port}/o/r.git"));
        scene.request.policy.allow_private = false;
        let refusal = scene.refusal().await;
        assert!(refusal.contains("private or reserved address"), "{host}: {refusal}");
    }
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn a_name_is_pinned_to_its_checked_address() {
    let server = GitServer::start().await;
    sample(&server);
    let scene = Scene::new(format!("http://localhost:{}/o/r/tree/main/app", server.address().port()));
    assert_eq!(listing(&scene.fetched().await), ["index.js"]);
}

#[tokio::test]
async fn hooks_submodules_filters_and_configuration_of_others_are_not_run() {
    let server = GitServer::start().await;
    let (repo, first) = sample(&server);
    let hostile = [
        (
            ".gitmodules",
            "[submodule \"sub\"]\n\tpath = sub\n\turl = http://127.0.0.1:1/x.git\n\tupdate = !touch owned\n",
        ),
        (".gitattributes", "* filter=evil\n*.bin filter=lfs\n"),
        ("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    ];
    for (name, content) in hostile {
        fs::write(repo.work.join(name), content).unwrap();
    }
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},sub")]);
    fs::create_dir_all(repo.work.join("sub")).unwrap();
    repo.git(&["add", ".gitmodules", ".gitattributes", "big.bin"]);
    repo.git(&["commit", "-q", "-m", "hostile"]);
    repo.publish();
    let scene = Scene::new(server.url("/o/r.git"));
    let folder = scene.fetched().await;
    assert!(text(folder.join("big.bin")).starts_with("version https://git-lfs"));
    assert_eq!(fs::read_dir(folder.join("sub")).unwrap().count(), 0);
    assert!(!folder.join(".git/hooks").exists() && !folder.join("owned").exists());
}

#[tokio::test]
async fn links_in_a_repository_are_data() {
    let server = GitServer::start().await;
    let repo = server.create_repo("o/links.git");
    std::os::unix::fs::symlink("../../../../etc/passwd", repo.work.join("out")).unwrap();
    repo.commit(&[("f", "1")]);
    let scene = Scene::new(server.url("/o/links.git"));
    assert_eq!(files(&scene.fetched().await), ["f", "out -> ../../../../etc/passwd"].map(String::from));
}

#[tokio::test]
async fn a_repository_above_the_limits_is_refused_by_name() {
    let server = GitServer::start().await;
    let (repo, _) = sample(&server);
    let noise: String =
        (0..400_000_u32).map(|at| char::from(b' ' + (at.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
    repo.commit(&[("app/noise", &noise)]);

    let mut scene = Scene::new(server.url("/o/r.git"));
    scene.limits.extracted_bytes = 300_000;
    let refusal = scene.refusal().await;
    assert!(refusal.contains("larger than 293 KiB together"), "{refusal}");

    for url in ["/o/r.git", "/o/r/tree/main/app"] {
        let mut scene = Scene::new(server.url(url));
        scene.limits.entries = 1;
        let refusal = scene.refusal().await;
        assert!(refusal.contains("more than 1 files"), "{refusal}");
    }
}

#[tokio::test]
async fn a_tree_bomb_is_counted_before_it_is_checked_out() {
    let server = GitServer::start().await;
    let repo = server.create_repo("o/bomb.git");
    // Ten trees, each holding the next ten times: 10^10 files from a few hundred bytes.
    let mut id = repo.git(&["hash-object", "-w", "--stdin", "--path=x"]);
    let mut kind = "100644 blob";
    for _ in 0..10 {
        let tree: String = (0..10).map(|at| format!("{kind} {id}\t{at}\n")).collect();
        fs::write(repo.work.join("tree"), tree).unwrap();
        let output = Command::new("git")
            .arg("mktree")
            .current_dir(&repo.work)
            .stdin(fs::File::open(repo.work.join("tree")).unwrap())
            .output();
        id = String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned();
        kind = "040000 tree";
    }
    let commit = repo.git(&["-c", "user.name=t", "commit-tree", &id, "-m", "bomb"]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    repo.publish();
    for url in ["/o/bomb.git", "/o/bomb/tree/main/3"] {
        let refusal = Scene::new(server.url(url)).refusal().await;
        assert!(refusal.contains("more than 100000 files"), "{url}: {refusal}");
    }
}
