//! The terminal behind a session: what a viewer is shown who cannot be sent the whole stream, and what a program is
//! answered that asks before anybody watches. Pure: no clock, no threads, no I/O.
//!
//! - [`Screen`] follows a stream of output and sizes, lazily. [`Screen::snapshot`] is its exact state as bytes.
//! - [`QueryScanner`] finds a program's questions in live output, [`Screen::answer`] answers them, and [`QueryFilter`]
//!   takes them out of replayed output for clients that would answer them again.
//!
//! - [`Transcript`] writes a stream down as plain text, line by line as they scroll away.
//!
//! # Why this is an emulator of its own
//!
//! A snapshot is as good as its reader agrees with its writer, and the reader is xterm.js 6 with its grapheme addon. No
//! emulator in a crate agrees with it; alacritty_terminal 0.26 ends with other text or another cursor in 26 of 58 probes
//! of a few bytes each: `ED 2` that scrolls the screen away instead of erasing it, lines re-wrapped
//! elsewhere, widths of emoji, what a wrap pending at the edge does to the next sequence, insert and delete at half a
//! wide character, national character sets, `DECSCA`, columns shifted, the screens of modes 47 and 1047, what a restored
//! cursor restores, what reset leaves. Every one of these moves text on one side and not on the other, for good. So this
//! is xterm.js' own state machine, its cells bit for bit and its reflow, as far as its headless build has them, held to it
//! by tests that cut random streams anywhere and compare cell by cell in xterm.js itself.
//!
//! # What is exact
//!
//! Cells (text, width, colours, all attributes, underline style and colour, links), which lines go on from which,
//! scrollback as far as asked for, cursor and pending wrap, pen, modes, both screens, scroll regions, tab stops, saved
//! cursors, character sets, title and icon name, palette, the last character as far as the next one may join or repeat
//! it, and whatever sequence is unfinished. [`Snapshot::gaps`] names what is not, where something is not.
//!
//! # What is not kept
//!
//! - kitty's keyboard flags are kept and repeated, but xterm.js 6 does not know them.
//! - Pictures (sixel, iTerm): the page draws them and moves the cursor below; here they are passed over. Where some were
//!   shown, a snapshot lacks them, and what followed stands higher.
//! - The title stack (`CSI 22 t`) and other window operations: the page's xterm.js ignores them.
//! - Where an anonymous link is drawn in pieces with other text between, each piece becomes a link of its own.
//! - `REP` repeats at most a screenful (at least 1,000), an OSC or DCS longer than 1 MiB is dropped.
//! - What a terminal remembers of columns and rows that it lost: see `tests/fixtures/reference`, each with its reason.
//! - xterm.js loses a character cut in two by writes if a byte of its first part but the first is 0x80, such as all of
//!   U+2000 to U+203F. A snapshot ends before such a cut; whoever writes live output to it should do the same.

mod attributes;
mod buffer;
mod charsets;
mod emulator;
mod line;
mod params;
mod parser;
mod queries;
mod reflow;
mod screen;
mod snapshot;
mod transcript;
mod unicode;
mod utf8;

pub use queries::{Query, QueryFilter, QueryScanner, Theme};
pub use screen::{Screen, Snapshot};
pub use snapshot::Gap;
pub use transcript::Transcript;
