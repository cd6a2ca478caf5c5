//! The `cliscale` command: `up` serves everything from one process, `run` gives some code a terminal in one line, and
//! the rest is what the API offers, from a shell.

pub mod api;
pub mod arguments;
pub mod attach;
pub mod commands;
pub mod up;
