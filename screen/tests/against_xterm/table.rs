//! The table of widths is the one that the page's addon has.

use std::process::Command;

use testkit::xterm;

#[test]
fn the_table_of_widths_is_the_addons() {
    if !xterm::available("the_table_of_widths_is_the_addons") {
        return;
    }
    let made = Command::new("node").arg("unicode-table.mjs").current_dir(xterm::folder()).output().unwrap();
    let kept = include_bytes!("../../src/unicode/table.rs");
    assert!(made.stdout == kept, "`npm run table` in screen/tests/xterm makes another src/unicode/table.rs");
}
