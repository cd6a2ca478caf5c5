//! `cliscale run` and its companions without a terminal, as scripts use them.

mod harness;

use harness::{World, finished, line_value, pids_in, stderr, stdout, stubborn};
use testkit::stack::{Stack, is_running, signal, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn output_is_streamed_and_the_exit_code_is_the_command_s() {
    let world = World::new();
    world.folder("code");
    let output = world.output(&["run", "code", "--", "cat file; echo to stderr >&2; exit 7"]).await;
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.ends_with("from the folder\nto stderr\n"), "{text:?}");
    assert!(line_value(&output, "browser").unwrap().contains("/ws/"), "{}", stderr(&output));
}

#[tokio::test]
async fn every_byte_of_a_long_output_arrives() {
    let world = World::new();
    world.folder("code");
    let output = world.output(&["run", "code", "--", "seq 1 20000"]).await;
    let expected: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert!(stdout(&output).ends_with(&expected));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn several_words_reach_the_command_as_they_are_and_env_and_prompt_too() {
    let world = World::new();
    world.folder("code");
    let mut command = world.command(&[
        "run",
        "code",
        "--prompt",
        "say \"hi\"",
        "-e",
        "A=1 2",
        "-e",
        "HERE",
        "--",
        "printf",
        "%s|",
        "a b",
        "$X",
        "",
        "*",
    ]);
    let output = finished(command.env("HERE", "x").spawn().unwrap()).await;
    assert!(stdout(&output).ends_with("a b|$X||*|"), "{:?}", stdout(&output));
    let mut command = world.command(&[
        "run",
        "code",
        "--prompt",
        "say \"hi\"",
        "-e",
        "A=1 2",
        "-e",
        "HERE",
        "--",
        "echo \"$A,$HERE,$PROMPT\"",
    ]);
    let output = finished(command.env("HERE", "x").spawn().unwrap()).await;
    assert!(stdout(&output).ends_with("1 2,x,say \"hi\"\n"), "{:?}", stdout(&output));
}

#[tokio::test]
async fn a_folder_is_run_as_a_copy_whose_path_is_printed_and_kept() {
    let world = World::new();
    let folder = world.folder("code");
    let output = world.output(&["run", "code", "--", "echo changed > file; echo new > other"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(folder.join("file")).unwrap(), "from the folder\n");
    assert!(!folder.join("other").exists());
    let copy = std::path::PathBuf::from(line_value(&output, "workspace").expect("a workspace line"));
    assert_eq!(std::fs::read_to_string(copy.join("file")).unwrap(), "changed\n");
    // Nothing else of the server that ran it is left.
    let left = world.left_over();
    assert!(left.len() == 1 && copy.starts_with(&left[0]), "{left:?}");
}

#[tokio::test]
async fn in_place_runs_in_the_folder_itself_and_leaves_nothing_else() {
    let world = World::new();
    let folder = world.folder("code");
    let output = world.output(&["run", "code", "--in-place", "--", "echo changed > file"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(folder.join("file")).unwrap(), "changed\n");
    assert_eq!(line_value(&output, "workspace"), None);
    assert_eq!(world.left_over(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn ctrl_c_ends_the_session_with_everything_in_it() {
    let world = World::new();
    world.folder("code");
    let file = world.path("pids");
    let child = world.command(&["run", "code", "--in-place", "--", &stubborn(&file)]).spawn().unwrap();
    let pids = pids_in(&file, 3).await;
    signal(child.id().unwrap(), "INT").await.unwrap();
    let output = finished(child).await;
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    wait_until("the session's processes are gone", || !pids.iter().any(|&pid| is_running(pid))).await;
    assert_eq!(world.left_over(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn output_that_nobody_reads_any_more_ends_the_session() {
    let world = World::new();
    world.folder("code");
    let mut child = world.command(&["run", "code", "--in-place", "--", "yes"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next_line().await.unwrap().expect("output") != "y" {}
    drop(lines);
    let output = finished(child).await;
    assert_eq!(output.status.code(), Some(141), "{}", stderr(&output));
}

#[tokio::test]
async fn what_was_never_run_is_told_apart_from_what_failed() {
    let world = World::new();
    world.folder("code");
    let output = world.output(&["run", "code", "--install", "exit 3", "--", "true"]).await;
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("install command failed with exit code 3"), "{}", stderr(&output));
    let output = world.output(&["run", "code", "--", "no-such-command-anywhere"]).await;
    assert_eq!(output.status.code(), Some(127));
    let output = world.output(&["run", "nowhere", "--", "true"]).await;
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
    let output = world.output(&["run", "code", "--ttl", "1", "--", "sleep 60"]).await;
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    let output = world.output(&["run", "code"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_folder_is_not_sent_to_another_machine() {
    let world = World::new();
    world.folder("code");
    let mut command = world.command(&["run", "code", "--server", "https://terminals.example", "--", "true"]);
    let output = finished(command.env("CLISCALE_API_KEY", "csk_x").spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("cannot read"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_running_server_is_found_and_every_command_works_on_it() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    world.folder("code");
    let data = stack.data_dir.to_str().unwrap().to_owned();
    let cliscale = async |args: &[&str]| {
        let mut command = world.command(args);
        finished(command.env("CLISCALE_DATA_DIR", &data).spawn().unwrap()).await
    };
    let started = cliscale(&["run", "code", "--detach", "--label", "a=b", "--", "echo here; read x; exit 5"]).await;
    assert_eq!(started.status.code(), Some(0), "{}", stderr(&started));
    let text = stdout(&started);
    let id = text.lines().find_map(|line| line.strip_prefix("session_id=")).unwrap().to_owned();
    assert!(text.contains("url=http://"), "{text}");

    let listed = cliscale(&["ls", "--label", "a=b"]).await;
    assert!(stdout(&listed).contains(&id), "{}", stderr(&listed));
    assert_eq!(stdout(&cliscale(&["ls", "--label", "a=c"]).await).lines().count(), 1);
    let shown = cliscale(&["show", &id[id.len() - 8..]]).await;
    assert!(stdout(&shown).contains(&id), "{}", stderr(&shown));
    let link = cliscale(&["open", &id, "--print"]).await;
    assert!(stdout(&link).contains(&format!("/ws/{id}?token=")), "{}", stderr(&link));

    // Attached without a terminal: it only listens. Then the session is ended from elsewhere.
    let mut attach = world.command(&["attach", &id]);
    let mut attached = attach.env("CLISCALE_DATA_DIR", &data).spawn().unwrap();
    let mut lines = BufReader::new(attached.stdout.take().unwrap()).lines();
    while lines.next_line().await.unwrap().expect("output") != "here" {}
    let removed = cliscale(&["rm", &id]).await;
    assert_eq!((removed.status.code(), stdout(&removed)), (Some(0), format!("{id}\n")), "{}", stderr(&removed));
    let output = finished(attached).await;
    assert_ne!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("the session was ended"), "{}", stderr(&output));
    assert_eq!(cliscale(&["rm", "00000000-0000-7000-8000-000000000000"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn without_a_server_the_other_commands_say_how_to_get_one() {
    let output = World::new().output(&["ls"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cliscale up") && stderr(&output).contains("--server"), "{}", stderr(&output));
}

#[tokio::test]
async fn the_doctor_names_what_is_missing_with_its_remedy() {
    let world = World::new();
    let output = world.output(&["doctor", "--listen", "127.0.0.1:0", "--runner-bin", "/nowhere"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("missing  cliscale-runner: ") && text.contains("--runner-bin"), "{text}");
    assert!(text.contains("ok       git: git version"), "{text}");
    let output = world.output(&["doctor", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}
