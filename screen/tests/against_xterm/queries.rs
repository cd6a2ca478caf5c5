//! A terminal that nobody holds answers as the page's would.

use screen::{QueryScanner, Screen, Theme};
use testkit::xterm::{self, Reference, Step};

/// Everything that a headless terminal answers to `stream`.
fn answers(cols: u16, rows: u16, stream: &[u8]) -> String {
    let mut screen = Screen::new(cols, rows, 100);
    let mut scanner = QueryScanner::default();
    let mut questions = Vec::new();
    scanner.scan(stream, |end, query| questions.push((end, query)));
    let mut at = 0;
    let mut answers = Vec::new();
    for (end, query) in questions {
        screen.write(&stream[at..end]);
        at = end;
        answers.extend(screen.answer(&query, &Theme::default()).unwrap_or_default());
    }
    String::from_utf8(answers).unwrap()
}

#[test]
fn it_answers_what_xterm_js_answers() {
    if !xterm::available("it_answers_what_xterm_js_answers") {
        return;
    }
    let mut reference = Reference::start();
    let modes =
        [1, 6, 7, 8, 9, 12, 25, 45, 47, 66, 67, 1000, 1002, 1003, 1004, 1005, 1006, 1016, 1048, 1049, 2004, 2026, 77];
    let mut ask = String::from("\x1b[c\x1b[0c\x1b[1;1H\x1b[5n\x1b[6n\x1b[?6n\x1b[3;5H\x1b[6n\x1b[>c");
    modes.iter().for_each(|mode| ask.push_str(&format!("\x1b[?{mode}$p")));
    [2, 4, 12, 20, 99].iter().for_each(|mode| ask.push_str(&format!("\x1b[{mode}$p")));
    for setting in ["\"q", "\"p", "r", "m", " q", "x"] {
        ask.push_str(&format!("\x1bP$q{setting}\x1b\\"));
    }
    let states = [
        "",
        "\x1b[?1;45;66;1000;1006;1004;2004;2026h\x1b[4;20h\x1b[?25l",
        "\x1b[?1049h\x1b[?1003;1016h\x1b[?12h\x1b[2;4r\x1b[1\"q",
        "\x1b[?9h\x1b[?7l\x1b[2;3r\x1b[?6h",
    ];
    for state in states {
        let stream = format!("{state}{ask}").into_bytes();
        let (_, expected) = reference.render(20, 6, 100, &[Step::Bytes(stream.clone())]).unwrap();
        assert_eq!(answers(20, 6, &stream), expected, "after {state:?}");
    }
}

#[test]
fn colours_and_sizes_are_told_though_nobody_watches() {
    let told = answers(
        80,
        24,
        b"\x1b]11;?\x07\x1b]4;1;#102030\x07\x1b]4;1;?;16;?;231;?;255;?\x1b\\\x1b[18t\x1b[14t\x1b[>q\x1b[=c",
    );
    let expected = [
        "\x1b]11;rgb:0000/0000/0000\x1b\\",
        "\x1b]4;1;rgb:1010/2020/3030\x1b\\",
        "\x1b]4;16;rgb:0000/0000/0000\x1b\\",
        "\x1b]4;231;rgb:ffff/ffff/ffff\x1b\\",
        "\x1b]4;255;rgb:eeee/eeee/eeee\x1b\\",
        "\x1b[8;24;80t\x1b[4;384;640t",
        concat!("\x1bP>|cliscale(", env!("CARGO_PKG_VERSION"), ")\x1b\\\x1bP!|00000000\x1b\\"),
    ];
    assert_eq!(told, expected.concat());
}

#[test]
fn a_title_is_never_told_and_nothing_is_said_where_the_page_is_silent() {
    let told = answers(80, 24, b"\x1b]2;rm -rf /\r\x07\x1b[21t\x1b[20t\x1b[?u\x05\x1b[x\x1b[?996n\x1b[>1c");
    assert!(!told.contains("rm"), "{told:?}");
    assert_eq!(told, "\x1b]l\x1b\\\x1b]L\x1b\\\x1b[>0;276;0c");
}

#[test]
fn a_pending_wrap_is_told_as_the_last_column() {
    assert_eq!(answers(4, 2, b"abcd\x1b[6n"), "\x1b[1;4R");
}
