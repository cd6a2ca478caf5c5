//! Random streams with sizes, and where they are cut.

use proptest::collection::vec;
use proptest::prelude::*;
use testkit::terminal_output::piece;
use testkit::xterm::Step;

fn size() -> impl Strategy<Value = (u16, u16)> {
    (2u16..24, 1u16..9)
}

#[derive(Clone, Debug)]
pub struct Case {
    pub size: (u16, u16),
    pub scrollback: usize,
    pub before: Vec<Step>,
    pub after: Vec<Step>,
}

/// A stream cut at a random place, and a size for it.
pub fn case(resizes: bool) -> impl Strategy<Value = Case> {
    let step = move || {
        let resize = size().prop_map(|(cols, rows)| Step::Resize(cols, rows));
        prop_oneof![30 => piece().prop_map(Step::Bytes), u32::from(resizes) => resize]
    };
    let halves = (vec(step(), 0..40), piece(), any::<prop::sample::Index>(), vec(step(), 0..12));
    // Where a reflow makes one line into more than the scrollback has, xterm.js puts some of them into wrong places.
    let scrollback =
        if resizes { prop_oneof![700usize..1000].boxed() } else { prop_oneof![1usize..20, Just(1000)].boxed() };
    (size(), scrollback, halves).prop_map(|(size, scrollback, (mut before, cut, at, mut after))| {
        let (head, tail) = cut.split_at(at.index(cut.len() + 1));
        before.push(Step::Bytes(head.to_vec()));
        after.insert(0, Step::Bytes(tail.to_vec()));
        Case { size, scrollback, before, after }
    })
}
