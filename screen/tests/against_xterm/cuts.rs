//! A snapshot and the rest of the stream show what the whole stream shows, cell by cell, in xterm.js itself.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::streams::{Case, case};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use screen::Screen;
use testkit::xterm::{self, Reference, Step, differences, joined};

/// Both sides of a case: everything in one terminal, and the snapshot of the first part with the second part in another.
fn check(reference: &mut Reference, case: &Case) -> Result<(), TestCaseError> {
    let Case { size: (cols, rows), scrollback, before, after } = case;
    let mut screen = Screen::new(*cols, *rows, *scrollback);
    let mut stream = Vec::new();
    for step in before {
        match step {
            Step::Bytes(bytes) => {
                screen.feed(bytes);
                stream.extend_from_slice(bytes);
            }
            Step::Resize(cols, rows) => screen.resize(*cols, *rows),
        }
    }
    let snapshot = screen.snapshot(*scrollback);
    let again = stream[snapshot.offset as usize..].to_vec();
    let shown = String::from_utf8_lossy(&snapshot.bytes).into_owned();
    let whole = joined(before.iter().chain(after).cloned());
    let rest = std::iter::once(Step::Bytes(again)).chain(after.iter().cloned());
    let resumed: Vec<Step> = std::iter::once(Step::Bytes(snapshot.bytes)).chain(joined(rest)).collect();
    // ED 1 in the last column of the last row throws where there is no line beyond, or one was left from before.
    let thrown = |error: String| match error.contains("setting 'isWrapped'") {
        true => TestCaseError::reject("xterm.js throws"),
        false => TestCaseError::fail(error),
    };
    let (expected, _) = reference.render(*cols, *rows, *scrollback, &whole).map_err(thrown)?;
    if !snapshot.gaps.is_empty() {
        return Err(TestCaseError::reject(format!("{:?}", snapshot.gaps)));
    }
    let got = reference.render(snapshot.cols, snapshot.rows, *scrollback, &resumed);
    let (got, _) = got.map_err(thrown)?;
    let mut found = Vec::new();
    differences("", &expected, &got, &mut found);
    match found.is_empty() {
        true => Ok(()),
        false => Err(TestCaseError::fail(format!("{}\nsnapshot: {shown:?}", found.join("\n")))),
    }
}

/// `CLISCALE_SCREEN_SEED` repeats a run; `CLISCALE_SCREEN_CASES` makes it longer.
fn run(name: &str, resizes: bool) {
    if !xterm::available(name) {
        return;
    }
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let seed = setting("CLISCALE_SCREEN_SEED").unwrap_or_else(clock);
    let cases = setting("CLISCALE_SCREEN_CASES").unwrap_or(500) as u32;
    eprintln!("{name}: {cases} cuts, seed {seed}");
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        // Between one and two in a hundred are left out; much more would be a fault.
        max_global_rejects: cases / 10,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let reference = RefCell::new(Reference::start());
    let left_out = RefCell::new(BTreeMap::<String, u32>::new());
    let result = runner.run(&case(resizes), |case| {
        let checked = check(&mut reference.borrow_mut(), &case);
        if let Err(TestCaseError::Reject(why)) = &checked {
            *left_out.borrow_mut().entry(why.to_string()).or_default() += 1;
        }
        checked
    });
    eprintln!("{name}: left out {:?}", left_out.borrow());
    if let Err(failure) = result {
        panic!("seed {seed}: {failure}");
    }
}

#[test]
fn a_snapshot_and_the_rest_of_a_stream_show_what_the_whole_stream_shows() {
    run("a_snapshot_and_the_rest_of_a_stream_show_what_the_whole_stream_shows", false);
}

#[test]
fn a_snapshot_and_the_rest_of_a_stream_with_resizes_show_what_the_whole_stream_shows() {
    run("a_snapshot_and_the_rest_of_a_stream_with_resizes_show_what_the_whole_stream_shows", true);
}
