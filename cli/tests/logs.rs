//! `cliscale logs`: every byte of a session's output, as scripts and CI read it.

mod harness;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use harness::gateway::Gateway;
use harness::{World, finished, stderr, stdout};
use serde_json::Value;
use testkit::stack::{SOON, Stack, wait_until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

fn id(session: &Value) -> String {
    session["sessionId"].as_str().unwrap().to_owned()
}

/// The id of a session whose command runs: its output is there, and there is nothing to say about waiting for it.
async fn running(stack: &Stack, command: &str) -> String {
    let session = id(&stack.run(command).await.unwrap());
    stack.wait_for(&session, "running", |view| view["state"] == "running").await.unwrap();
    session
}

/// `cliscale logs` against a stack, at its own address.
fn logs(world: &World, stack: &Stack, args: &[&str]) -> Command {
    let mut command = world.command(&[&["logs"], args].concat());
    command.env("CLISCALE_DATA_DIR", &stack.data_dir);
    command
}

async fn output(world: &World, stack: &Stack, args: &[&str]) -> Output {
    finished(logs(world, stack, args).spawn().unwrap()).await
}

async fn forgetful(world: &World, ring_bytes: u32) -> Stack {
    let runner = world.forgetful_runner(ring_bytes);
    Stack::options().arg("--runner-bin").arg(runner.display().to_string()).start().await.unwrap()
}

/// The output of a program's own, without what was said about fetching its code: its lines from `begin` on.
fn from_begin(text: &str) -> &str {
    let at = text.find("begin\r\n").unwrap_or_else(|| panic!("no beginning in {:?}", &text[..text.len().min(2000)]));
    &text[at + "begin\r\n".len()..]
}

/// What a terminal is sent of `seq FIRST LAST`.
fn seq(first: u32, last: u32) -> String {
    let mut text = String::new();
    (first..=last).for_each(|n| write!(text, "{n}\r\n").unwrap());
    text
}

/// The first place where two long texts differ, with what is around it.
fn assert_same(text: &str, expected: &str) {
    if text == expected {
        return;
    }
    let at = text.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let around =
        |text: &str| text.as_bytes()[at.saturating_sub(40)..(at + 40).min(text.len())].escape_ascii().to_string();
    panic!(
        "{} bytes instead of {}; at {at} {} instead of {}",
        text.len(),
        expected.len(),
        around(text),
        around(expected)
    );
}

async fn spawn(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

/// Reads on until a line.
async fn read_to(lines: &mut BufReader<ChildStdout>, text: &mut String, line: &str) {
    let line = format!("{line}\r\n");
    while !(text.ends_with(&line) && text[..text.len() - line.len()].ends_with('\n')) {
        let read = tokio::time::timeout(SOON, lines.read_line(text)).await;
        assert!(read.unwrap_or_else(|_| panic!("no {line:?}")).unwrap() > 0, "the output ended before {line:?}");
    }
}

#[tokio::test]
async fn no_byte_is_missing_or_doubled_when_the_gateway_is_killed_twice() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let gateway = Gateway::before(&stack).await;
    let (half, said, all) = (world.path("half"), world.path("said"), world.path("all"));
    let wait = |file: &Path| format!("until [ -e '{}' ]; do sleep 0.05; done", file.display());
    let command = format!(
        "echo be''gin; seq 1 50000; {}; seq 50001 150000; touch '{}'; {}; seq 150001 200000; exit 6",
        wait(&half),
        said.display(),
        wait(&all)
    );
    let session = id(&stack.run(&command).await.unwrap());
    let key = &stack.printed["api_key_file"];
    let args = ["logs", "--follow", &session, "--server", &gateway.url, "--api-key-file", key];
    let (child, mut lines) = spawn(world.command(&args)).await;
    let mut text = String::new();
    // Once while there is nothing to read, with output coming while nobody is there; once in the middle of it.
    read_to(&mut lines, &mut text, "50000").await;
    gateway.kill().await;
    std::fs::write(half, "").unwrap();
    wait_until("the next part is said", || said.exists()).await;
    gateway.restart().await;
    read_to(&mut lines, &mut text, "80000").await;
    gateway.kill().await;
    std::fs::write(all, "").unwrap();
    // The command ends while there is no way to its output.
    stack.wait_ended(&session).await.unwrap();
    gateway.restart().await;
    tokio::time::timeout(SOON, lines.read_to_string(&mut text)).await.expect("an end").unwrap();
    let output = finished(child).await;
    assert_same(from_begin(&text), &seq(1, 200_000));
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(!stderr(&output).contains("bytes of output"), "{}", stderr(&output));
}

#[tokio::test]
async fn without_following_it_is_what_is_there_and_with_it_the_command_s_exit_code() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let go = world.path("go");
    let command =
        format!("echo be''gin; seq 1 5000; until [ -e '{}' ]; do sleep 0.05; done; echo more; exit 7", go.display());
    let session = running(&stack, &command).await;
    let (child, mut lines) = spawn(logs(&world, &stack, &["-f", &session])).await;
    let mut text = String::new();
    read_to(&mut lines, &mut text, "5000").await;

    let now = output(&world, &stack, &[&session]).await;
    assert_eq!(now.status.code(), Some(0), "{}", stderr(&now));
    assert_same(from_begin(&stdout(&now)), &seq(1, 5000));
    assert_eq!(stderr(&now), "");

    std::fs::write(go, "").unwrap();
    tokio::time::timeout(SOON, lines.read_to_string(&mut text)).await.expect("an end").unwrap();
    let followed = finished(child).await;
    assert_eq!((followed.status.code(), stderr(&followed).as_str()), (Some(7), ""));
    assert!(text.ends_with("5000\r\nmore\r\n"), "{text:?}");

    // It has ended, and its runner is still there.
    stack.wait_ended(&session).await.unwrap();
    for (args, code) in [(&["-f", &session][..], 7), (&[session.as_str()][..], 0)] {
        let again = output(&world, &stack, args).await;
        assert_eq!(again.status.code(), Some(code), "{}", stderr(&again));
        assert_same(&stdout(&again), &text);
    }
}

#[tokio::test]
async fn output_that_is_not_kept_any_more_is_said_to_be_so() {
    let world = World::new();
    let options = Stack::options().arg("--linger-secs").arg("0").arg("--recordings").arg("");
    let stack = options.start().await.unwrap();
    let session = id(&stack.run("echo gone; exit 7").await.unwrap());
    stack.wait_ended(&session).await.unwrap();
    let deadline = Instant::now() + SOON;
    let gone = loop {
        let output = output(&world, &stack, &[&session]).await;
        if output.status.code() == Some(1) || Instant::now() > deadline {
            break output;
        }
    };
    assert!(stderr(&gone).contains("is not kept any more") && stdout(&gone).is_empty(), "{}", stderr(&gone));
    let gone = output(&world, &stack, &["--follow", &session]).await;
    assert_eq!(gone.status.code(), Some(7), "{}", stderr(&gone));
    assert!(stderr(&gone).contains("is not kept any more"), "{}", stderr(&gone));
}

#[tokio::test]
async fn what_was_recorded_is_there_when_the_runner_is_gone() {
    let world = World::new();
    let stack = Stack::options().arg("--linger-secs").arg("0").start().await.unwrap();
    let session = id(&stack.run("echo be''gin; seq 1 3000; exit 7").await.unwrap());
    let view = stack.wait_ended(&session).await.unwrap();
    let runner = view["runnerId"].as_str().unwrap();
    // Its workspace goes with it.
    let gone = || !stack.data_dir.join("workspaces").join(runner).exists();
    wait_until("the runner is gone", gone).await;
    for (args, code) in [(&[session.as_str()][..], 0), (&["-f", &session][..], 7)] {
        let recorded = output(&world, &stack, args).await;
        assert_eq!(recorded.status.code(), Some(code), "{}", stderr(&recorded));
        assert_same(from_begin(&stdout(&recorded)), &seq(1, 3000));
    }
}

#[tokio::test]
async fn a_session_that_nobody_knows_is_an_error() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let unknown = "00000000-0000-7000-8000-000000000000";
    let answer = output(&world, &stack, &[unknown]).await;
    assert_eq!(answer.status.code(), Some(1));
    assert!(stderr(&answer).starts_with("cliscale: ") && stdout(&answer).is_empty(), "{}", stderr(&answer));
    assert_eq!(output(&world, &stack, &["-f", unknown]).await.status.code(), Some(125));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly_and_not_the_session() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let session = running(&stack, "echo be''gin; while :; do echo on; done").await;
    let (child, mut lines) = spawn(logs(&world, &stack, &["-f", &session])).await;
    read_to(&mut lines, &mut String::new(), "on").await;
    drop(lines);
    let output = finished(child).await;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(141), ""));
    assert_eq!(stack.show(&session).await.unwrap()["state"], "running");
}

/// How long the reader below reads nothing: far less than a program is held up for.
const STALL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_slow_reader_holds_the_program_up_and_misses_nothing() {
    const LAST: u32 = 1_000_000;
    let world = World::new();
    let stack = forgetful(&world, 256 * 1024).await;
    let (go, done) = (world.path("go"), world.path("done"));
    let command = format!(
        "echo be''gin; until [ -e '{}' ]; do sleep 0.05; done; seq 1 {LAST}; touch '{}'",
        go.display(),
        done.display()
    );
    let session = running(&stack, &command).await;
    let (child, mut lines) = spawn(logs(&world, &stack, &["-f", &session])).await;
    let mut text = String::new();
    read_to(&mut lines, &mut text, "begin").await;
    std::fs::write(go, "").unwrap();
    // Time itself is what is tested: without being held up the program would be done long before this is over.
    tokio::time::sleep(STALL).await;
    assert!(!done.exists(), "the program was not held up");
    tokio::time::timeout(SOON, lines.read_to_string(&mut text)).await.expect("an end").unwrap();
    let output = finished(child).await;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_same(from_begin(&text), &seq(1, LAST));
}

#[tokio::test]
async fn output_from_before_what_is_kept_is_counted_and_the_rest_is_exact() {
    let world = World::new();
    let stack = forgetful(&world, 64 * 1024).await;
    let done = world.path("done");
    let command = format!("seq 1 100000; touch '{}'; read -r x", done.display());
    let session = running(&stack, &command).await;
    wait_until("all is written", || done.exists()).await;
    let output = output(&world, &stack, &[&session]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = stderr(&output);
    let lost: usize = told.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(told, format!("[cliscale] {lost} bytes of output are not kept any more and are left out here\n"));
    let (text, all) = (stdout(&output), seq(1, 100_000));
    assert!(text.len() > 1024, "{text:?}");
    assert_same(&text, &all[all.len() - text.len()..]);
    // What the session said before its command is lost, too.
    assert!(lost >= all.len() - text.len(), "{lost} lost, {} read", text.len());
}
