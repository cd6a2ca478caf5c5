//! What the program writes: random output that asks nothing, for an answer would be typed into its input.

use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use screen::{QueryScanner, Screen};
use testkit::terminal_output::piece;

/// At least this much is judged at once.
const BLOCK: usize = 4096;

/// About `length` bytes of a seed's output.
pub fn output(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let pieces = piece();
    let mut output = Vec::new();
    while output.len() < length {
        let before = output.len();
        while output.len() < before + BLOCK {
            let piece = pieces.new_tree(&mut runner).expect("pieces can always be made").current();
            // ED 1 in the last row's last column throws in xterm.js, where there is no line beyond.
            if !piece.windows(2).any(|pair| pair == b"1J") {
                output.extend(piece);
            }
        }
        if asks(&output) || has_gaps(&output) {
            output.truncate(before);
        }
    }
    output
}

fn asks(output: &[u8]) -> bool {
    let mut asks = false;
    QueryScanner::default().scan(output, |_, _| asks = true);
    asks
}

/// Whether it leaves the screen in one of the few states that no snapshot has, which could stay so for long.
fn has_gaps(output: &[u8]) -> bool {
    let mut screen = Screen::new(80, 24, 1000);
    screen.write(output);
    !screen.snapshot(1000).gaps.is_empty()
}
