//! The screen held to xterm.js. Needs node and `npm ci` in tests/xterm: skipped by name without, failing under `CI=true`.

mod cuts;
mod fixtures;
mod queries;
mod reference;
mod streams;
mod table;
