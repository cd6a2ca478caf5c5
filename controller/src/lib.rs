//! The controller: the public REST API, API keys, the ring of signing keys, launchers, and the life of runners and
//! sessions. It never touches a terminal's bytes.

pub mod api;
pub mod auth;
pub mod config;
pub mod fault;
pub mod keys;
pub mod launcher;
pub mod lifecycle;
pub mod migrate;
pub mod recording;
pub mod server;

pub use api::{Controller, ControllerConfig};
