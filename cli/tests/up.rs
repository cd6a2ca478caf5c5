//! `cliscale up` as its user meets it: refusals, the two starts that collide, whom it answers, and how it stops.

mod harness;

use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{World, pids_in, stderr, stdout, stubborn};
use reqwest::Method;
use serde_json::json;
use testkit::stack::{Stack, is_running, signal, wait_until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn everything_that_is_wrong_with_the_settings_is_said_at_once() {
    let world = World::new();
    let mut command = world.command(&["up", "--create-rate", "5/h", "--launcher", "docker", "--public-url", "x"]);
    command.env("CLISCALE_LISTEN", "nowhere").env("CLISCALE_MAX_SESSIONS", "0");
    let output = harness::finished(command.spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let text = stderr(&output);
    for flag in ["--listen (CLISCALE_LISTEN)", "--create-rate", "--launcher", "--public-url", "--max-sessions"] {
        assert_eq!(text.matches(flag).count(), 1, "{flag} in {text}");
    }
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused_with_the_reason() {
    let output = World::new().output(&["up", "--listen", "0.0.0.0:0", "--data-dir", "data"]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("--expose") && text.contains("commands run as you"), "{text}");
}

#[tokio::test]
async fn the_second_start_on_a_data_directory_is_told_who_holds_it() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let data = stack.data_dir.to_str().unwrap();
    let output = world.output(&["up", "--listen", "127.0.0.1:0", "--data-dir", data]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("process {}", stack.pid())), "{}", stderr(&output));
    let (status, _) = stack.call(Method::GET, "/healthz", None).await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_busy_port_is_named_with_the_flag_that_chooses_another() {
    let (world, taken) = (World::new(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let output = world.output(&["up", "--listen", &address, "--data-dir", "data"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(&address) && text.contains("busy") && text.contains("--listen (CLISCALE_LISTEN)"), "{text}");
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_answered_on_no_route() {
    let stack = Stack::start().await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let session = stack.run("true").await.unwrap();
    let terminal = format!("/ws/{}", session["sessionId"].as_str().unwrap());
    let admin = stack.printed["admin_url"].clone();
    for url in ["/", "/api/sessions", "/healthz", "/.well-known/jwks.json", &terminal, "/nowhere"]
        .map(|path| format!("{}{path}", stack.api_url))
        .into_iter()
        .chain([format!("{admin}/metrics")])
    {
        let request = || http.get(&url).bearer_auth(&stack.key);
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
        let upgrading = upgrade.iter().fold(request(), |request, (name, value)| request.header(*name, *value));
        for request in [request(), upgrading.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")] {
            let answer = request.header("host", "rebound.example").send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 421, "{url}");
            assert!(answer.text().await.unwrap().contains("unknown_host"));
        }
        let ours = request().header("host", "localhost:1").send().await.unwrap();
        assert_ne!(ours.status().as_u16(), 421, "{url}");
    }
}

#[tokio::test]
async fn the_printed_command_creates_a_session_when_pasted() {
    let world = World::new();
    // A path with all that a shell could trip over.
    let data = world.path("it's a $HOME");
    let mut command = world.command(&["up", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    while printed.len() < 2 || !printed.last().is_some_and(|line: &String| line.starts_with("curl ")) {
        printed.push(lines.next_line().await.unwrap().expect("the command line"));
    }
    for key in ["api_url", "api_key_file", "data_dir", "admin_url", "launcher", "isolation", "version"] {
        assert!(printed.iter().any(|line| line.starts_with(&format!("{key}="))), "{key} in {printed:?}");
    }
    assert!(printed.contains(&"isolation=none".to_owned()));
    let pasted =
        Command::new("bash").args(["-c", printed.last().unwrap()]).stdin(Stdio::null()).output().await.unwrap();
    let answer: serde_json::Value =
        serde_json::from_slice(&pasted.stdout).unwrap_or_else(|_| panic!("{}", stdout(&pasted)));
    let id = answer["sessionId"].as_str().expect("a session").to_owned();
    // It gets as far as running the greeting.
    let deadline = Instant::now() + testkit::stack::SOON;
    loop {
        let shown = world.output(&["show", &id, "--data-dir", data.to_str().unwrap()]).await;
        let view: serde_json::Value =
            serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{}", stderr(&shown)));
        if view["state"] == "running" {
            break;
        }
        assert!(Instant::now() < deadline && view["state"] != "ended", "{view}");
    }
    signal(child.id().unwrap(), "INT").await.unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{log}");
    assert!(!log.contains(answer["sessionJWT"].as_str().unwrap()));
}

#[tokio::test]
async fn stopping_ends_every_session_in_time_and_leaves_no_process() {
    let parent = tempfile::tempdir().unwrap();
    let options = Stack::options().data_dir(&parent.path().join("data"));
    let stack = options.start().await.unwrap();
    let file = parent.path().join("pids");
    let session = stack.run(&stubborn(&file)).await.unwrap();
    // One that has ended, and whose runner still shows it.
    let over = stack.run("true").await.unwrap();
    stack.wait_ended(over["sessionId"].as_str().unwrap()).await.unwrap();
    let pids = pids_in(&file, 3).await;
    let begun = Instant::now();
    let status = stack.stop().await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(!pids.iter().any(|&pid| is_running(pid)), "{pids:?}");
    assert!(!parent.path().join("data/server.json").exists());

    let again = Stack::options().data_dir(&parent.path().join("data")).start().await.unwrap();
    let view = again.show(session["sessionId"].as_str().unwrap()).await.unwrap();
    assert_eq!((&view["state"], &view["endReason"]), (&json!("ended"), &json!("cancelled")));
}

#[tokio::test]
async fn after_a_kill_the_next_start_finds_nothing_running_and_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    let stack = Stack::options().data_dir(&data).start().await.unwrap();
    let file = parent.path().join("pids");
    let session = stack.run(&stubborn(&file)).await.unwrap();
    let pids = pids_in(&file, 3).await;
    stack.kill().await.unwrap();

    let again = Stack::options().data_dir(&data).start().await.unwrap();
    let view = again.show(session["sessionId"].as_str().unwrap()).await.unwrap();
    assert_eq!(view["state"], "ended", "{view}");
    wait_until("the killed server's processes are gone", || !pids.iter().any(|&pid| is_running(pid))).await;
    // The directory is as good as new.
    let session = again.run("exit 3").await.unwrap();
    let view = again.wait_ended(session["sessionId"].as_str().unwrap()).await.unwrap();
    assert_eq!(view["exitCode"], 3, "{view}");
}
