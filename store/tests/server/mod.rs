//! What is special to a server.

mod at_once;
mod faults;
mod opening;
