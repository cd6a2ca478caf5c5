//! Full-screen programs, as people use them: started while nobody is there, used by one operator, used on by another
//! while the first is away, who is then shown the true screen; and quit without a word in the shell's input.

mod rig;

use rig::answering::Answering;
use rig::witness::{Witness, position};
use rig::{Rig, Setup};
use session::frames::StartMode;
use testkit::xterm::{self, Reference};

/// A program, and how it is used.
struct Use<'a> {
    command: &'static str,
    /// Shows that it has started.
    started: &'static str,
    /// Typed by the first operator, and what that shows.
    first: (&'static str, &'static str),
    /// The same by the second while the first is away: it makes the program write more than the ring holds.
    second: &'a [(&'a str, &'static str)],
    /// For a program that asks its terminal: what is typed the n-th time, and what that shows.
    round: Option<fn(usize) -> (String, String)>,
    quit: &'static str,
}

/// Whether a program is here; where not, the test is skipped by name, and fails under `CI=true`.
fn is_here(test: &str, program: &str) -> bool {
    let here = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).exists());
    if !here {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs {program}");
        eprintln!("SKIPPED {test}: it needs {program}");
    }
    here
}

/// As much as is read from a terminal at once, so that nothing has to wait for the witness.
const RING: usize = 64 * 1024;

async fn check(test: &str, usage: Use<'_>) {
    // Nothing is kept beside the ring, so that who comes back late is sent the screen.
    let flags = vec![format!("--ring-bytes={RING}"), "--spill-bytes=0".to_owned()];
    let rig = Rig::with(Setup { flags, ..Setup::default() }).await;
    let lines: String =
        (1..=2000).map(|number| format!("line {number}: é 漢字 \t{}\n", "-".repeat(number % 60))).collect();
    std::fs::write(rig.code().join("lines"), lines).unwrap();
    let shell = "stty sane -echo; echo it has quit; read -r line; echo \"the shell read <$line>\"";
    rig.assign(rig.spec(&format!("{}; {shell}", usage.command))).await;
    // A viewer: whatever the program asks now, only the runner can answer.
    let mut witness = Witness::attach(&rig).await;
    witness.shows(usage.started).await;
    let mut first = Answering::attach(&rig, "a", 1).await;
    first.type_and_see(usage.first.0, usage.first.1).await;
    first.leave().await;
    let mut second = Answering::attach(&rig, "b", 2).await;
    let alone = |second: &Answering| second.client.presences.last().is_some_and(|presence| presence.operators == 1);
    second.until("that the first has left", alone).await;
    let before = second.client.offset;
    for (typed, shows) in usage.second {
        second.type_and_see(typed, shows).await;
    }
    let much = before + RING as u64 + 10_000;
    second.until("more than the ring holds", |second| second.client.offset > much).await;
    first.reconnect(&rig, usize::MAX).await.unwrap();
    first.until("the screen", |first| !first.client.snapshots.is_empty()).await;
    let start = &first.client.starts[0];
    assert!(start.mode == StartMode::Snapshot && start.lost > 0, "{start:?}");
    if let Some(round) = usage.round {
        // An answer that comes when the program has quit is the shell's. One answer may lead to the next question.
        for times in 1.. {
            let asked = second.asked;
            let (typed, shows) = round(times);
            second.type_and_see(&typed, &shows).await;
            if second.asked == asked {
                break;
            }
        }
    }
    second.type_text(usage.quit).await;
    // Not before: a program takes all that is typed already with it.
    witness.shows("it has quit\r\n").await;
    second.type_text("fence\n").await;
    witness.shows("the shell read <fence>\r\n").await;
    for operator in [&mut first, &mut second] {
        while operator.step().await.unwrap() {}
        assert!(operator.client.exit.is_some());
    }
    let truth = witness.truth().await;
    assert!(position(&truth.whole.bytes, "the shell read <fence>").is_some());
    let mut reference = xterm::available(test).then(Reference::start);
    for (operator, was_away) in [(&first, true), (&second, false)] {
        let checked = truth.check(reference.as_mut(), &operator.transcript, true);
        eprintln!("{test}: {checked:?}, {} answers", operator.answered);
        assert!(reference.is_none() || checked.left_out == 0 && (checked.snapshots > 0 || !was_away), "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vim_is_started_alone_used_by_two_and_quit() {
    let test = "vim_is_started_alone_used_by_two_and_quit";
    if is_here(test, "vim") {
        check(
            test,
            Use {
                command: "vim -n -i NONE lines",
                started: "line 20: ",
                first: ("ofirst was here\x1b:set number\r", "first was here"),
                second: &[(
                    &(":set nonumber\r".to_owned() + &"\x06".repeat(80) + ":echo 'all ' . 'done'\r"),
                    "all done",
                )],
                round: Some(|times| (format!(":echo 'round ' . {times}\r"), format!("round {times}"))),
                quit: ":q!\r",
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn less_is_started_alone_used_by_two_and_quit() {
    let test = "less_is_started_alone_used_by_two_and_quit";
    if is_here(test, "less") {
        check(
            test,
            Use {
                command: "LESSCHARSET=utf-8 less lines",
                started: "line 20: ",
                first: ("/line 1234\r", "line 1234"),
                second: &[(&("g".to_owned() + &"\x06".repeat(80) + "G"), "line 2000: ")],
                round: None,
                quit: "q",
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_is_started_alone_used_by_two_and_quit() {
    let test = "top_is_started_alone_used_by_two_and_quit";
    if is_here(test, "top") {
        check(
            test,
            Use {
                command: "top -d 0.04",
                started: "PID",
                // One key at a time: it does not take two that come together for two.
                first: ("h", "Help for Interactive Commands"),
                second: &[("q", "PID"), ("f", "Fields Management"), ("q", "PID")],
                round: None,
                quit: "q",
            },
        )
        .await;
    }
}
