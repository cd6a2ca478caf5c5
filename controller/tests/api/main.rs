//! The public API over a real database in a folder of its own, with a fixed backend so that no runner is needed.

mod access;
mod creating;
mod database;
mod documents;
mod extending;
mod hostile;
mod launching;
mod limits;
mod reading;
mod recordings;
mod recordings_failing;
mod recordings_kept;
mod secrecy;
mod server;
mod share;
mod stack;
