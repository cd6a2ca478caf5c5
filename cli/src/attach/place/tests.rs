//! What frames mean for a terminal, a pipe and a log.

use session::frames::Presence;

use super::*;

fn start(sid: &str, mode: StartMode, off: u64, end: u64, input: u64) -> ServerFrame {
    ServerFrame::Start(Start {
        sid: sid.into(),
        mode,
        off,
        end,
        input,
        lost: if mode == StartMode::Snapshot { off } else { 0 },
        cols: 80,
        rows: 24,
        role: Role::Operator,
    })
}

fn output(text: &str) -> ServerFrame {
    ServerFrame::Output(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_pipe_gets_every_byte_once_however_the_stream_is_taken_up() {
    let mut place = Place::new(Local::Stream);
    assert_eq!(place.begin(false, None), Hello { lossless: true, ..Hello::default() });
    place.take(start("s", StartMode::Full, 0, 0, 0));
    assert_eq!(&place.take(output("one two ")).show[..], b"one two ");
    assert_eq!(place.begin(true, None).resume.unwrap().off, 8);
    place.take(start("s", StartMode::Full, 0, 12, 0));
    assert_eq!(&place.take(output("one ")).show[..], b"");
    assert_eq!(&place.take(output("two three")).show[..], b"three");
    place.begin(true, None);
    assert_eq!(place.take(start("s", StartMode::Snapshot, 20, 20, 0)).lost, 7);
    assert_eq!(&place.take(ServerFrame::Snapshot(Bytes::from_static(b"screen"))).show[..], b"");
    assert_eq!(&place.take(output("four")).show[..], b"four");
}

#[test]
fn a_terminal_is_not_asked_old_questions() {
    let mut place = Place::new(Local::Terminal);
    place.begin(false, None);
    place.take(start("s", StartMode::Full, 0, 6, 0));
    let shown = place.take(output("a\x1b[6nb\x1b[6n")).show;
    assert_eq!(&shown[..], b"ab\x1b[6n");
}

#[test]
fn a_terminal_is_painted_anew_only_when_the_stream_does_not_go_on() {
    let mut place = Place::new(Local::Terminal);
    place.begin(false, None);
    assert!(!place.take(start("s", StartMode::Full, 0, 0, 0)).reset);
    place.take(output("abc"));
    place.begin(true, None);
    assert!(!place.take(start("s", StartMode::Delta, 3, 3, 0)).reset);
    place.spoil();
    assert_eq!(place.begin(true, None).resume, None);
    assert!(place.take(start("s", StartMode::Full, 0, 3, 0)).reset);
    place.begin(true, None);
    assert!(place.take(start("s", StartMode::Snapshot, 3, 3, 0)).reset);
}

#[test]
fn a_snapshot_is_drawn_on_an_empty_screen_without_resetting_a_person_s_terminal() {
    let mut place = Place::new(Local::Terminal);
    place.begin(false, None);
    assert!(place.take(start("s", StartMode::Snapshot, 9, 9, 0)).reset);
    let snapshot = ServerFrame::Snapshot(Bytes::from_static(b"\x18\x1bcscreen"));
    assert_eq!(&place.take(snapshot).show[..], b"screen");
}

fn presence(holds: bool, held: bool) -> ServerFrame {
    ServerFrame::Presence(Presence { operators: 2, viewers: 0, holds, held })
}

#[test]
fn a_terminal_is_asked_nothing_while_another_one_answers() {
    let mut place = Place::new(Local::Terminal);
    place.begin(false, None);
    place.take(start("s", StartMode::Full, 0, 0, 0));
    assert_eq!(place.take(presence(false, true)).keyboard, Some(Change::Lost));
    assert_eq!(&place.take(output("a\x1b[6nb\x1b[3")).show[..], b"ab");
    place.take(presence(true, true));
    assert_eq!(&place.take(output("1mred\x1b[6n")).show[..], b"\x1b[31mred\x1b[6n");
    assert_eq!(&place.take(output("\x1b[6n")).show[..], b"\x1b[6n");
}

#[test]
fn news_of_the_keyboard_are_told_below_what_is_replayed() {
    let mut place = Place::new(Local::Terminal);
    place.begin(false, None);
    place.take(start("s", StartMode::Full, 0, 4, 0));
    assert_eq!(place.take(presence(false, true)).keyboard, None);
    assert_eq!(place.take(output("ab")).keyboard, None);
    assert_eq!(place.take(output("cd")).keyboard, Some(Change::Lost));
    assert_eq!(place.take(output("ef")).keyboard, None);
}

#[test]
fn a_log_without_following_ends_where_the_output_was_on_arrival() {
    let log = || {
        let mut place = Place::new(Local::Log { follow: false });
        place.begin(false, None);
        place
    };
    let mut place = log();
    assert!(!place.take(start("s", StartMode::Full, 0, 5, 0)).caught_up);
    assert!(!place.take(output("one")).caught_up);
    place.begin(true, None);
    assert!(!place.take(start("s", StartMode::Delta, 3, 90, 0)).caught_up);
    assert!(place.take(output("two")).caught_up);
    assert!(log().take(start("s", StartMode::Full, 0, 0, 0)).caught_up);
    let waiting = |stage| ServerFrame::Waiting(Waiting { stage, text: String::new() });
    assert!(log().take(waiting(Stage::Queued)).caught_up);
    assert!(!log().take(waiting(Stage::Running)).caught_up);
}

#[test]
fn a_log_is_complete_when_the_end_came_after_all_before_it() {
    let mut place = Place::new(Local::Log { follow: true });
    place.begin(false, None);
    place.take(start("s", StartMode::Full, 0, 0, 0));
    place.take(output("all"));
    let exit = |end| {
        let reason = session::EndReason::Exited;
        ServerFrame::Exit(Exit { code: Some(0), signal: None, reason, end, message: None })
    };
    place.take(exit(0));
    assert!(!place.complete);
    place.take(exit(3));
    assert!(place.complete);
}

#[test]
fn typing_waits_for_the_server_and_goes_on_after_a_lost_connection() {
    let mut place = Place::new(Local::Terminal);
    place.begin(false, None);
    assert!(!place.may_type());
    place.take(start("s", StartMode::Full, 0, 0, 0));
    assert!(place.may_type());
    place.input.typed(b"hello");
    place.take(ServerFrame::InputAck(2));
    assert_eq!(place.begin(true, None).resume.unwrap().input, 5);
    let resend = place.take(start("s", StartMode::Delta, 0, 0, 4)).resend;
    assert_eq!(resend, Some((4, Bytes::from_static(b"o"))));
    place.begin(false, None);
    assert_eq!(place.take(start("s", StartMode::Delta, 0, 0, 0)).resend, None);
}
