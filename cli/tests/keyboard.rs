//! Several terminals on one session: one has the keyboard, and another can take it over.

mod harness;

use harness::World;
use harness::screen::Screen;
use session::frames::{ClientFrame, TTY_R1, Take};
use testkit::stack::{SOON, Stack, wait_until};
use testkit::terminal_client::TerminalClient;

/// Attaches in a terminal of this size, and says with what code that ended.
fn attach(world: &World, stack: &Stack, id: &str, size: (u16, u16)) -> Screen {
    let data = stack.data_dir.display();
    Screen::start(world, &format!("\"$CLISCALE\" attach {id} --data-dir '{data}'; echo \"code=$?\""), size)
}

#[tokio::test]
async fn two_terminals_pass_the_keyboard_between_them_and_nothing_is_typed_by_the_other() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let session =
        stack.run("stty -echo; echo rea''dy; while read -r x; do echo \"<$x> $(stty size)\"; done").await.unwrap();
    let id = session["sessionId"].as_str().unwrap();
    let mut first = attach(&world, &stack, id, (90, 30));
    first.sees("ready").await;
    first.types("one\r");
    first.sees("<one> 30 90").await;
    let mut second = attach(&world, &stack, id, (70, 20));
    second.sees("somebody else has the keyboard and sets the size; Ctrl-T takes both over").await;
    // What a terminal answers comes as if it were typed.
    second.types("not typed\x1b[1;1R\r");
    second.types("\x14two\r");
    second.sees("you have the keyboard").await;
    first.sees("<two> 20 70").await;
    first.sees("somebody else has the keyboard").await;
    first.types("not typed either\r\x14");
    first.sees("you have the keyboard").await;
    first.types("three\r");
    second.sees("<three> 30 90").await;
    for text in [first.text(), second.text()] {
        assert!(!text.contains("not typed"), "{text:?}");
    }
    first.types("\x1d");
    first.sees("code=0").await;
    // Nobody has it now: typing is enough, once that is known.
    let second = std::cell::RefCell::new(second);
    wait_until("what the second types is typed", || {
        second.borrow_mut().types("four\r");
        second.borrow().text().contains("<four> 20 70")
    })
    .await;
}

#[tokio::test]
async fn the_program_s_questions_reach_only_the_terminal_with_the_keyboard() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let session = stack.run("echo rea''dy; read -r x; printf 'as\\033[6nked'; read -r x").await.unwrap();
    let id = session["sessionId"].as_str().unwrap();
    let mut first = attach(&world, &stack, id, (80, 24));
    first.sees("ready").await;
    let second = attach(&world, &stack, id, (80, 24));
    second.sees("somebody else has the keyboard").await;
    first.types("go\r");
    first.sees("as\x1b[6nked").await;
    second.sees("asked").await;
}

#[tokio::test]
async fn who_is_sent_away_by_a_take_over_is_told_so() {
    let (world, stack) = (World::new(), Stack::start().await.unwrap());
    let session = stack.run("echo rea''dy; read -r x").await.unwrap();
    let id = session["sessionId"].as_str().unwrap();
    let first = attach(&world, &stack, id, (80, 24));
    first.sees("ready").await;
    let entry = stack.token(id, "operator").await.unwrap();
    let mut other = TerminalClient::connect(entry["webSocketUrl"].as_str().unwrap(), &[], &[TTY_R1]).await.unwrap();
    other.wait_until(SOON, "a presence", |other| !other.presences.is_empty()).await.unwrap();
    other.send(ClientFrame::Take(Take { leave: true })).await.unwrap();
    first.sees("another operator has taken over").await;
    first.sees("code=125").await;
    assert_eq!(stack.show(id).await.unwrap()["state"], "running");
}
