//! Attaching in a real pseudo-terminal, and across lost connections.

mod harness;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use harness::{World, finished, stderr};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use testkit::stack::{Stack, binary, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A terminal with a shell command in it, and everything that it has shown.
struct Screen {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn start(world: &World, script: &str, size: (u16, u16)) -> Self {
        let size = PtySize { cols: size.0, rows: size.1, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", script]);
        command.env_clear();
        world.variables().into_iter().for_each(|(name, value)| command.env(name, value));
        command.env("CLISCALE", binary("cliscale"));
        command.env("TERM", "xterm-256color");
        command.cwd(world.dir.path());
        let child = pair.slave.spawn_command(command).unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, seen) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { keys: pair.master.take_writer().unwrap(), master: pair.master, child, shown }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    async fn sees(&self, text: &str) {
        wait_until(&format!("{text:?} is shown"), || self.text().contains(text)).await;
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    async fn exits(mut self) -> (u32, String) {
        let child = &mut self.child;
        let mut code = None;
        let deadline = std::time::Instant::now() + testkit::stack::SOON;
        while code.is_none() {
            assert!(std::time::Instant::now() < deadline, "the terminal's shell did not end");
            code = child.try_wait().unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        (code.unwrap().exit_code(), String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

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
    let program = r#"stty size; trap "stty size" WINCH; while :; do sleep 0.05; done"#;
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

/// Passes connections on to a server until they are cut.
async fn cuttable(server: String) -> (String, Arc<Mutex<CancellationToken>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cut = Arc::new(Mutex::new(CancellationToken::new()));
    let current = Arc::clone(&cut);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let cut = current.lock().unwrap().clone();
            let server = server.clone();
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut upstream) => {}
                    () = cut.cancelled() => {}
                }
            });
        }
    });
    (url, cut)
}

fn sever(cut: &Arc<Mutex<CancellationToken>>) {
    std::mem::take(&mut *cut.lock().unwrap()).cancel();
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
