//! A screen that passes over text which scrolls away shows the same in the end as one that parsed all of it.

use proptest::prelude::*;
use screen::Screen;

const SCROLLBACK: usize = 20;

/// Anything, and often what matters: controls, sequences that change modes, regions and screens, characters cut in two.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..20),
        4 => "[ -~]{0,30}".prop_map(String::into_bytes),
        2 => Just(b"\r\n".to_vec()),
        1 => prop_oneof![
            Just("\x1b[4h"), Just("\x1b[?7l"), Just("\x1b[20h"), Just("\x1b[?6h"), Just("\x1b[2;4r"), Just("\x1b[r"),
            Just("\x1b[?1049h"), Just("\x1b[?1049l"), Just("\x1b7"), Just("\x1b[44m"), Just("\x1b(0"), Just("\x1b]8;;u\x07"),
            Just("\x1b[3;3H"), Just("中文"), Just("\x1b[1;"), Just("é\u{301}"),
        ].prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// So many lines of text, the first of which begins with a character.
fn lines(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec("[ -~]{0,90}", count)
        .prop_map(|lines| format!("x{}\r\n", lines.join("\r\n")).into_bytes())
}

proptest! {
    #[test]
    fn what_has_scrolled_away_by_the_end_need_not_be_parsed(
        before in any_stream(),
        over in lines(8..40),
        kept in lines(40..60),
        after in any_stream(),
        (cols, rows) in (2u16..100, 1u16..8),
        (later_cols, later_rows) in (2u16..100, 1u16..12),
    ) {
        let mut whole = Screen::new(cols, rows, SCROLLBACK);
        let mut passing = Screen::new(cols, rows, SCROLLBACK);
        for screen in [&mut whole, &mut passing] {
            screen.write(&before);
        }
        whole.write(&over);
        if !passing.pass_over(over.len() as u64) {
            passing.write(&over);
        }
        for screen in [&mut whole, &mut passing] {
            screen.write(&kept);
        }
        prop_assert_eq!(whole.snapshot(SCROLLBACK), passing.snapshot(SCROLLBACK));
        for screen in [&mut whole, &mut passing] {
            screen.write(&after);
            screen.resize(later_cols, later_rows);
        }
        prop_assert_eq!(whole.snapshot(SCROLLBACK), passing.snapshot(SCROLLBACK));
    }
}

#[test]
fn a_region_another_screen_and_an_unfinished_sequence_are_reasons_to_parse() {
    for reason in ["\x1b[2;4r", "\x1b[?1049h", "\x1b[1"] {
        let mut screen = Screen::new(80, 24, SCROLLBACK);
        assert!(screen.pass_over(100) && screen.parsed() == 100);
        screen.write(reason.as_bytes());
        assert!(!screen.pass_over(100), "{reason:?}");
    }
}
