//! The gateway as its clients see it: a real database, real keys, real sockets, and a runner that each test scripts.

mod admission;
mod bridge;
mod drain;
mod extending;
mod files;
mod harness;
mod kept;
mod keys;
mod page;
mod page_token;
mod peer;
mod runner;
mod secrecy;
mod share;
mod signer;
mod tickets;
mod upgrade;
mod waiting;
