//! Random programs' output, made by proptest: text of all widths, every sequence that the terminal knows, sequences
//! broken off, and plain noise.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn text() -> impl Strategy<Value = String> {
    const OTHERS: [&str; 22] = [
        "é",
        "ß",
        "中",
        "文",
        "日本",
        "e\u{301}",
        "\u{301}",
        "a\u{308}\u{323}",
        "👩\u{200d}👩\u{200d}👧",
        "👍🏽",
        "🇩🇪",
        "🇫",
        "❤\u{fe0f}",
        "\u{200d}",
        "각",
        "\u{1100}\u{1161}",
        "﷽",
        "\u{600}x",
        "ｱ",
        "\u{a0}",
        "‘’",
        "\u{feff}",
    ];
    prop_oneof![
        6 => "[ -~]{1,30}",
        2 => vec(select(&OTHERS[..]), 1..6).prop_map(|parts| parts.concat()),
        1 => vec(prop_oneof![select(&OTHERS[..]).prop_map(str::to_owned), "[a-z]{1,3}".prop_map(String::from)], 1..12)
            .prop_map(|parts| parts.concat()),
    ]
}

fn controls() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("\r\n".to_owned()),
        2 => Just("\n".to_owned()),
        1 => select(&["\r", "\t", "\x08", "\x0b", "\x0c", "\x0e", "\x0f", "\x07", "\x00", "\x18", "\x7f", "\u{84}", "\u{85}", "\u{88}"][..])
            .prop_map(str::to_owned),
    ]
}

/// Small numbers, mostly: those are the interesting ones on a small screen.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![6 => (0u32..12).prop_map(|n| n.to_string()), 2 => Just(String::new()), 1 => (12u32..300).prop_map(|n| n.to_string())]
}

fn csi() -> impl Strategy<Value = String> {
    let finals = select(
        &[
            "@", "A", "B", "C", "D", "E", "F", "G", "H", "H", "H", "I", "J", "K", "K", "L", "M", "P", "S", "T", "X",
            "Z", "`", "a", "b", "b", "d", "e", "f", "g", "r", "r", "s", "u", " @", " A", "'}", "'~", "\"q", " q",
        ][..],
    );
    let moved = (vec(number(), 0..3), finals).prop_map(|(numbers, last)| format!("\x1b[{}{last}", numbers.join(";")));
    let erased = (0..4, select(&["J", "K", "?J", "?K"][..])).prop_map(|(which, what)| match what.strip_prefix('?') {
        Some(what) => format!("\x1b[?{which}{what}"),
        None => format!("\x1b[{which}{what}"),
    });
    prop_oneof![5 => moved, 1 => erased]
}

fn sgr() -> impl Strategy<Value = String> {
    let codes = prop_oneof![
        4 => select(&[0u32, 1, 2, 3, 4, 5, 7, 8, 9, 21, 22, 23, 24, 25, 27, 28, 29, 53, 55, 39, 49, 59, 31, 42, 97, 104][..])
            .prop_map(|code| code.to_string()),
        1 => (0u32..6).prop_map(|style| format!("4:{style}")),
        1 => (select(&[38u32, 48, 58][..]), 0u32..256).prop_map(|(what, index)| format!("{what};5;{index}")),
        1 => (select(&[38u32, 48, 58][..]), any::<[u8; 3]>()).prop_map(|(what, [r, g, b])| format!("{what};2;{r};{g};{b}")),
        1 => (select(&[38u32, 48, 58][..]), any::<[u8; 3]>()).prop_map(|(what, [r, g, b])| format!("{what}:2::{r}:{g}:{b}")),
        1 => (select(&[38u32, 48, 58][..]), 0u32..256).prop_map(|(what, index)| format!("{what}:5:{index}")),
    ];
    vec(codes, 0..4).prop_map(|codes| format!("\x1b[{}m", codes.join(";")))
}

fn modes() -> impl Strategy<Value = String> {
    let private = select(
        &[
            1u32, 2, 6, 7, 9, 12, 25, 45, 47, 66, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1048, 1049,
            1049, 2004, 2026, 4711,
        ][..],
    );
    prop_oneof![
        5 => (private, any::<bool>()).prop_map(|(mode, on)| format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' })),
        1 => (select(&[4u32, 20][..]), any::<bool>()).prop_map(|(mode, on)| format!("\x1b[{mode}{}", if on { 'h' } else { 'l' })),
        1 => select(&["\x1b[?7;25l", "\x1b[>1u", "\x1b[<u", "\x1b[=5;1u", "\x1b[!p"][..]).prop_map(str::to_owned),
    ]
}

fn escapes() -> impl Strategy<Value = String> {
    let simple = select(
        &["7", "8", "7", "8", "D", "E", "M", "H", "=", ">", "n", "o", "|", "}", "~", "c", "#8", "%G", "%@", "\\"][..],
    );
    let charset = (select(&["(", ")", "*", "+", "-", ".", "/"][..]), select(&["0", "A", "B", "4", "K", "<", "="][..]));
    prop_oneof![
        3 => simple.prop_map(|last| format!("\x1b{last}")),
        1 => charset.prop_map(|(into, set)| format!("\x1b{into}{set}")),
    ]
}

fn strings() -> impl Strategy<Value = String> {
    let end = select(&["\x07", "\x1b\\", "\u{9c}"][..]);
    let colour = prop_oneof![
        "#[0-9a-f]{6}".prop_map(String::from),
        "rgb:[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{2}".prop_map(String::from)
    ];
    let body = prop_oneof![
        2 => (0u32..3, "[a-zé中 ]{0,8}").prop_map(|(number, text)| format!("{number};{text}")),
        2 => ("[a-c]?", 0u32..3).prop_map(|(id, page)| match id.is_empty() {
            true => format!("8;;http://x/{page};y"),
            false => format!("8;a=b:id={id};http://x/{page}"),
        }),
        3 => Just("8;;".to_owned()),
        1 => (0u32..256, colour.clone()).prop_map(|(index, colour)| format!("4;{index};{colour}")),
        1 => (10u32..13, colour).prop_map(|(number, colour)| format!("{number};{colour}")),
        1 => select(&["104", "104;1;2", "110", "111;", "112", "52;c;aGk=", "x", "133;A"][..]).prop_map(str::to_owned),
    ];
    prop_oneof![
        6 => (body, end).prop_map(|(body, end)| format!("\x1b]{body}{end}")),
        1 => select(&["\x1bPq#0\x1b\\", "\x1b_apc\x1b\\", "\x1b^pm é\x1b\\", "\x1bXsos\u{9c}"][..]).prop_map(str::to_owned),
    ]
}

/// One piece of a stream.
pub fn piece() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        8 => text(),
        5 => controls(),
        6 => csi(),
        4 => sgr(),
        2 => modes(),
        2 => escapes(),
        2 => strings(),
    ];
    // What is broken off, another piece goes on from.
    let broken = (prop_oneof![csi(), sgr(), strings(), text(), escapes()], any::<prop::sample::Index>());
    prop_oneof![
        20 => whole.prop_map(String::into_bytes),
        1 => broken.prop_map(|(text, at)| text.as_bytes()[..at.index(text.len() + 1)].to_vec()),
        1 => vec(any::<u8>(), 1..12),
        1 => vec(prop_oneof![Just(0x1b), 0x20u8..0x7f, any::<u8>()], 1..8),
    ]
}
