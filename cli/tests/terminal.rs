//! Attaching in a real pseudo-terminal, and across lost connections.

mod harness;

use harness::cuttable::{cuttable, sever};
use harness::screen::Screen;
use harness::{World, finished, stderr};
use portable_pty::PtySize;
use testkit::stack::{Stack, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Whether the `stty -a` in a text shows a terminal as shells leave it.
fn is_cooked(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    ["icanon", "echo", "isig", "opost", "icrnl"].iter().all(|word| words.contains(word))
}

#[tokio::test]
async fn keys_arrive_one_by_one_and_the_exit_code_comes_back() {
    let world = World::new();
    world.folder("code");
    // One key without Enter, then Ctrl-C as a key, which the program takes as it likes.
    let program = r#"stty -icanon -echo -isig; printf rea""dy; x=$(dd bs=1 count=1 2>/dev/null); y=$(dd bs=1 count=1 2>/dev/null | od -An -tx1); echo "got:$x:$y:"; exit 9"#;
    std::fs::write(world.path("program"), program).unwrap();
    let script = r#""$CLISCALE" run code -- "$(cat program)"; echo "code=$?"; stty -a"#;
    let mut screen = Screen::start(&world, script, (90, 30));
    screen.sees("ready").await;
    screen.types("q");
    screen.types("\x03");
    screen.sees("got:q: 03:").await;
    screen.sees("code=9").await;
    let (_, text) = screen.exits().await;
    assert!(is_cooked(&text), "{text}");
}

#[tokio::test]
async fn the_session_has_this_terminal_s_size_and_follows_it() {
    let world = World::new();
    world.folder("code");
    let program = r#"trap "stty size" WINCH; stty size; while :; do sleep 0.05; done"#;
    std::fs::write(world.path("program"), program).unwrap();
    let mut screen = Screen::start(&world, r#""$CLISCALE" run code -- "$(cat program)""#, (101, 31));
    screen.sees("31 101").await;
    screen.master.resize(PtySize { cols: 77, rows: 22, ..PtySize::default() }).unwrap();
    screen.sees("22 77").await;
    // With the server of its own, leaving ends the session.
    screen.types("\x1d");
    let (code, text) = screen.exits().await;
    assert_eq!(code, 130, "{text}");
    assert!(world.left_over().len() <= 1, "{:?}", world.left_over());
}

#[tokio::test]
async fn the_detach_key_leaves_a_clean_terminal_and_a_session_that_goes_on() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let program = "printf '\\033[?1049h\\033[?25l\\033[?2004hfull ''screen'; read -r x; echo \"read:$x\"; exit 4";
    let session = stack.run(program).await.unwrap();
    let id = session["sessionId"].as_str().unwrap().to_owned();
    let data = stack.data_dir.display();
    let attach = format!("\"$CLISCALE\" attach {id} --data-dir '{data}'; echo \"code=$?\"; stty -a");
    let mut screen = Screen::start(&world, &attach, (80, 24));
    screen.sees("full screen").await;
    screen.types("\x1d");
    screen.sees("code=0").await;
    let (_, text) = screen.exits().await;
    for restored in ["\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l"] {
        assert!(text.contains(restored), "{restored:?} in {text:?}");
    }
    assert!(is_cooked(&text) && text.contains(&format!("cliscale attach {id}")), "{text}");
    assert_eq!(stack.show(&id).await.unwrap()["state"], "running");

    let mut screen = Screen::start(&world, &attach, (80, 24));
    screen.sees("full screen").await;
    screen.types("back\r");
    screen.sees("read:back").await;
    screen.sees("code=4").await;
}

#[tokio::test]
async fn a_screen_whose_making_is_not_kept_any_more_is_drawn_and_left_as_clean() {
    let world = World::new();
    let runner = world.forgetful_runner(64 * 1024);
    let stack = Stack::options().arg("--runner-bin").arg(runner.display().to_string()).start().await.unwrap();
    let done = world.path("done");
    let draw = r"printf '\033[?1049h\033[?25l\033[?2004h\033[4h\033]0;na''me\033\\\033[5;10Hfull ''screen'";
    let command = format!("seq 1 100000; {draw}; touch '{}'; read -r x; echo \"read:$x\"", done.display());
    let session = stack.run(&command).await.unwrap();
    let id = session["sessionId"].as_str().unwrap();
    wait_until("all is drawn", || done.exists()).await;
    let data = stack.data_dir.display();
    let attach = format!("\"$CLISCALE\" attach {id} --data-dir '{data}'; echo \"code=$?\"; stty -a");
    let mut screen = Screen::start(&world, &attach, (80, 24));
    screen.sees("full screen").await;
    // The program's screen, not the person's own, which was not reset.
    let text = screen.text();
    assert!(text.contains("99999") && !text.contains("\x1bc") && text.contains("name"), "{text:?}");
    screen.types("\x1d");
    screen.sees("code=0").await;
    let (_, text) = screen.exits().await;
    let left = &text[text.find("full screen").unwrap()..];
    for restored in ["\x1b[?25h", "\x1b[?2004l", "\x1b[4l"] {
        assert!(left.contains(restored), "{restored:?} in {left:?}");
    }
    assert!(left.contains("\x1b[?1049l") || left.contains("\x1b[?47l"), "{left:?}");
    assert!(is_cooked(&text), "{text}");
}

#[tokio::test]
async fn a_terminated_run_ends_its_session_and_restores_the_terminal() {
    let world = World::new();
    world.folder("code");
    let script = r#""$CLISCALE" run code -- 'printf "\033[?25l"; echo rea""dy; sleep 1000' & echo $! > pid; wait $!; echo "code=$?"; stty -a"#;
    // In the background of its own shell it still has the terminal: `sh` without job control shares the group.
    let screen = Screen::start(&world, &format!("exec 3<&0; {}", script.replace(" & echo", " <&3 & echo")), (80, 24));
    screen.sees("ready").await;
    let pid = std::fs::read_to_string(world.path("pid")).unwrap().trim().parse().unwrap();
    testkit::stack::signal(pid, "TERM").await.unwrap();
    screen.sees("code=143").await;
    let (_, text) = screen.exits().await;
    assert!(text.contains("\x1b[?25h") && is_cooked(&text), "{text:?}");
}

#[tokio::test]
async fn lost_connections_cost_no_byte_and_repeat_none() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let (url, cut) = cuttable(stack.api_url.trim_start_matches("http://").to_owned()).await;
    let command = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo \"line $i\"; sleep 0.05; done; exit 6";
    let session = stack.run(command).await.unwrap();
    let id = session["sessionId"].as_str().unwrap();
    let key = stack.printed["api_key_file"].clone();
    let mut child = world.command(&["attach", id, "--server", &url, "--api-key-file", &key]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line == "line 10" || line == "line 30" {
            sever(&cut);
        }
        seen.extend(line.strip_prefix("line ").map(str::to_owned));
    }
    let output = finished(child).await;
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert_eq!(seen, (1..=60).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_typed_survives_a_lost_connection() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let (url, cut) = cuttable(stack.api_url.trim_start_matches("http://").to_owned()).await;
    let session = stack.run("echo rea''dy; while read -r x; do echo \"<$x>\"; done").await.unwrap();
    let id = session["sessionId"].as_str().unwrap();
    let key = stack.printed["api_key_file"].clone();
    let script = format!("\"$CLISCALE\" attach {id} --server {url} --api-key-file '{key}'");
    let mut screen = Screen::start(&world, &script, (80, 24));
    screen.sees("ready").await;
    screen.types("one\r");
    screen.sees("<one>").await;
    sever(&cut);
    screen.types("two\r");
    screen.sees("<two>").await;
    screen.types("three\r");
    screen.sees("<three>").await;
    assert_eq!(screen.text().matches("<two>").count(), 1, "{}", screen.text());
}
