//! The screen held to xterm.js. Most of this needs node and `npm ci` in tests/xterm: skipped by name without, failing
//! under `CI=true`.

mod cuts;
mod fixtures;
mod queries;
mod replay;
mod streams;
mod table;
