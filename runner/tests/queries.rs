//! What programs ask their terminal is answered by exactly one party: by whoever has the keyboard, else by the runner.
//! Nothing is answered twice, nobody waits for ever, and nothing is typed into the shell.

mod rig;

use rig::answering::Answering;
use rig::{Rig, Setup, eventually};
use screen::QueryScanner;
use session::frames::{ClientFrame, TTY_R1, Take};
use testkit::terminal_client::TerminalClient;

/// Asks what it is told to, a line each time, and notes all that it is typed, up to a `!`.
const ASKER: &str = r#"
import os, select, socket, tty
tty.setraw(0)
home = os.environ["HOME"]
control = socket.socket(socket.AF_UNIX)
control.connect(home + "/control")
got = open(home + "/got", "wb", 0)
os.write(1, b"ready\r\n")
while True:
    ready, _, _ = select.select([0, control], [], [])
    if 0 in ready:
        typed = os.read(0, 65536)
        if typed:
            got.write(typed)
            if b"!" in typed:
                break
    if control in ready:
        told = control.recv(65536)
        if not told:
            break
        os.write(1, told)
os.write(1, b"\x1b[2J\x1b[Hover\r\n")
"#;

/// A program that asks, and what it was typed so far.
struct Asking {
    rig: Rig,
    program: tokio::net::UnixStream,
}

impl Asking {
    async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let rig = Rig::with(setup).await;
        let home = rig.folder.path().join("home");
        std::fs::write(home.join("asker.py"), ASKER).unwrap();
        let control = tokio::net::UnixListener::bind(home.join("control")).unwrap();
        // What is left over is typed into the shell's own read.
        rig.assign(
            rig.spec("python3 $HOME/asker.py; stty sane -echo; read -r line; echo \"the shell read <$line>\"; read x"),
        )
        .await;
        let (program, _) = control.accept().await.unwrap();
        Self { rig, program }
    }

    async fn ask(&mut self, questions: &str) {
        tokio::io::AsyncWriteExt::write_all(&mut self.program, questions.as_bytes()).await.unwrap();
    }

    fn got(&self) -> String {
        String::from_utf8(std::fs::read(self.rig.folder.path().join("home/got")).unwrap_or_default()).unwrap()
    }

    /// Waits until the program was typed as much as `expected` has, which is what it must be.
    async fn gets(&self, expected: &str) {
        let got = eventually(expected, || Some(self.got()).filter(|got| got.len() >= expected.len()));
        assert_eq!(got.await, expected);
    }

    /// Ends the program and shows that nothing more was typed, to it or to the shell behind it.
    async fn ends(self, mut operator: Answering, expected: &str) {
        operator.type_text("!").await;
        operator.until_shows("over\r\n").await;
        operator.type_text("fence\n").await;
        operator.until_shows("the shell read <fence>").await;
        assert_eq!(self.got(), format!("{expected}!"));
    }
}

/// Asked at a known place, in a known mode.
const QUESTIONS: &str = "\x1b[5;7H\x1b[?2004h\x1b[c\x1b[6n\x1b[?2004$p\x1b]11;?\x1b\\\x1b[5n";
/// What the runner says, and what whoever has the keyboard says.
const RUNNER: &str = "\x1b[?1;2c\x1b[5;7R\x1b[?2004;1$y\x1b]11;rgb:0000/0000/0000\x1b\\\x1b[0n";

fn by(number: u16) -> String {
    RUNNER.replace("\x1b[?1;2c", &format!("\x1b[?62;{number}c"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_asks_before_anybody_is_attached_is_answered_once() {
    let mut asking = Asking::start().await;
    asking.ask(QUESTIONS).await;
    asking.gets(RUNNER).await;
    // A viewer is nobody that could answer.
    let mut viewer = asking.rig.attach("v", "viewer", TTY_R1).await;
    viewer.wait_until(rig::SOON, "a start", |client| !client.presences.is_empty()).await.unwrap();
    asking.ask(QUESTIONS).await;
    asking.gets(&RUNNER.repeat(2)).await;
    // Who comes now sees all of it in the replay, and answers none of it.
    let operator = Answering::attach(&asking.rig, "a", 1).await;
    asking.ends(operator, &RUNNER.repeat(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_keyboard_answers_and_the_runner_is_silent() {
    let mut asking = Asking::start().await;
    let mut operator = Answering::attach(&asking.rig, "a", 1).await;
    asking.ask(QUESTIONS).await;
    operator.until("answers", |operator| operator.answered == 5).await;
    asking.gets(&by(1)).await;
    asking.ends(operator, &by(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_the_one_with_the_keyboard_answers_and_without_it_the_runner() {
    let mut asking = Asking::start().await;
    let mut first = Answering::attach(&asking.rig, "a", 1).await;
    let mut second = Answering::attach(&asking.rig, "b", 2).await;
    assert!(first.holds() && !second.holds());
    asking.ask(QUESTIONS).await;
    first.until("answers", |first| first.answered == 5).await;
    second.until("the questions", |second| second.client.has("\x1b[5n")).await;
    asking.gets(&by(1)).await;
    // Taken over: the other one answers now.
    second.client.send(ClientFrame::Take(Take::default())).await.unwrap();
    second.until("the keyboard", Answering::holds).await;
    first.until("that it is gone", |first| !first.holds()).await;
    asking.ask(QUESTIONS).await;
    second.until("answers", |second| second.answered == 5).await;
    first.until("the questions", |first| first.client.text().matches("\x1b[5n").count() == 2).await;
    asking.gets(&(by(1) + &by(2))).await;
    // It leaves; the first one is there, and nobody has the keyboard.
    drop(second);
    first
        .until("that nobody holds it", |first| first.client.presences.last().is_some_and(|presence| !presence.held))
        .await;
    asking.ask(QUESTIONS).await;
    let so_far = by(1) + &by(2) + RUNNER;
    asking.gets(&so_far).await;
    asking.ends(first, &so_far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_is_not_answered_again_in_a_replay_or_after_a_snapshot() {
    let mut asking = Asking::with(Setup { flags: vec!["--ring-bytes=4096".into()], ..Setup::default() }).await;
    asking.ask(QUESTIONS).await;
    asking.gets(RUNNER).await;
    let mut expected = RUNNER.to_owned();
    // Replayed whole, resumed, and moved to a snapshot, in which nothing is asked.
    for round in 0..3 {
        let mut operator = Answering::attach(&asking.rig, "a", 1).await;
        asking.ask(QUESTIONS).await;
        expected += &by(1);
        asking.gets_answered(&mut operator, &expected).await;
        operator.reconnect(&asking.rig, usize::MAX).await.unwrap();
        operator.until("a start", |operator| operator.holds()).await;
        assert_eq!(operator.client.starts[0].lost, 0);
        drop(operator);
        asking.nobody_is_attached().await;
        asking.ask(&format!("{}{QUESTIONS}", "x".repeat(if round == 1 { 6000 } else { 10 }))).await;
        expected += RUNNER;
        asking.gets(&expected).await;
    }
    let mut stock = asking.rig.stock("stock").await;
    stock.wait_for("xxx", rig::SOON).await.unwrap();
    QueryScanner::default().scan(&stock.output, |_, query| panic!("a stock client is asked {query:?}"));
    drop(stock);
    asking.nobody_is_attached().await;
    let operator = Answering::attach(&asking.rig, "b", 2).await;
    asking.ends(operator, &expected).await;
}

impl Asking {
    async fn gets_answered(&self, operator: &mut Answering, expected: &str) {
        let answered = operator.answered;
        operator.until("answers", |operator| operator.answered == answered + 5).await;
        self.gets(expected).await;
    }

    async fn nobody_is_attached(&self) {
        self.operators(0).await;
    }

    /// Waits until as many operators are attached, as a viewer is told.
    async fn operators(&self, count: usize) {
        let mut viewer = self.rig.attach("watching", "viewer", TTY_R1).await;
        let told =
            |client: &TerminalClient| client.presences.last().is_some_and(|presence| presence.operators == count);
        viewer.wait_until(rig::SOON, "those who are there", told).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_is_asked_what_is_asked_while_it_is_there_and_nothing_else() {
    let mut asking = Asking::start().await;
    asking.ask(QUESTIONS).await;
    asking.gets(RUNNER).await;
    let mut stock = asking.rig.stock("stock").await;
    stock.wait_for("ready", rig::SOON).await.unwrap();
    asking.operators(1).await;
    asking.ask("\x1b[c").await;
    stock.wait_for("\x1b[c", rig::SOON).await.unwrap();
    assert_eq!(stock.text().matches("\x1b[c").count(), 1);
    stock.type_text("\x1b[?62;9c").await.unwrap();
    let expected = RUNNER.to_owned() + "\x1b[?62;9c";
    asking.gets(&expected).await;
    drop(stock);
    asking.nobody_is_attached().await;
    let operator = Answering::attach(&asking.rig, "a", 1).await;
    asking.ends(operator, &expected).await;
}

/// Asks where its cursor is, each time somewhere else, and waits for the answer.
const WAITER: &str = r#"
import os, re, select, sys, tty
tty.setraw(0)
os.write(1, b"ready\r\n")
typed, hung = b"", 0
for number in range(1000):
    row, column = number // 50 + 1, number % 50 + 1
    os.write(1, b"\x1b[%d;%dH\x1b[6n" % (row, column))
    wanted = b"\x1b[%d;%dR" % (row, column)
    while wanted not in typed:
        if not select.select([0], [], [], 15)[0]:
            hung += 1
            break
        typed += os.read(0, 65536)
# Until somebody says that this is all.
while b"!" not in typed:
    typed += os.read(0, 65536)
answers = re.findall(rb"\x1b\[(\d+);(\d+)R", typed)
twice = len(answers) - len(set(answers))
rest = re.sub(rb"\x1b\[\d+;\d+R", b"", typed)
os.write(1, b"\x1b[2J\x1b[H%d hung, %d twice, %d answers, rest %r, over\r\n" % (hung, twice, len(answers), rest))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_cut_while_a_program_asks_leaves_nothing_unanswered_and_nothing_answered_twice() {
    let seed = std::env::var("CLISCALE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    eprintln!("CLISCALE_TEST_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let rig = Rig::start().await;
    std::fs::write(rig.folder.path().join("home/waiter.py"), WAITER).unwrap();
    rig.assign(
        rig.spec("python3 $HOME/waiter.py; stty sane -echo; read -r line; echo \"the shell read <$line>\"; read x"),
    )
    .await;
    let mut watching = rig.attach("watching", "viewer", TTY_R1).await;
    watching.wait_for("ready", rig::SOON).await.unwrap();
    let mut operator = Answering::attach(&rig, "a", 1).await;
    let mut cuts = 0;
    // The last place asked about.
    while !operator.client.has("\x1b[20;50H") && cuts < 5000 {
        cuts += 1;
        if operator.reconnect(&rig, rng.usize(100..1200)).await.is_err() {
            continue;
        }
        while !operator.client.has("\x1b[20;50H") && matches!(operator.step().await, Ok(true)) {}
    }
    operator.reconnect(&rig, usize::MAX).await.unwrap();
    operator.until("the keyboard", Answering::holds).await;
    operator.type_text("!").await;
    watching.wait_for(", over", rig::SOON).await.unwrap();
    eprintln!("{cuts} cuts, {} answers of the operator's", operator.answered);
    let text = watching.text();
    let report = &text[text.rfind("\x1b[2J\x1b[H").unwrap()..];
    assert!(report.contains("0 hung, 0 twice, 1000 answers, rest b'!', over"), "{report:?} after {cuts} cuts");
    operator.type_text("fence\n").await;
    watching.wait_for("the shell read <fence>", rig::SOON).await.unwrap();
    assert!(cuts >= 20, "{cuts}");
}
