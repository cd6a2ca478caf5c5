//! The table of widths is the one that the page's addon has.

use std::process::Command;

use crate::reference;

#[test]
fn the_table_of_widths_is_the_addons() {
    if !reference::available("the_table_of_widths_is_the_addons") {
        return;
    }
    let made = Command::new("node").arg("unicode-table.mjs").current_dir(reference::folder()).output().unwrap();
    let kept = include_bytes!("../../src/unicode/table.rs");
    assert!(made.stdout == kept, "`npm run table` in screen/tests/xterm makes another src/unicode/table.rs");
}
