//! The HTTP API as this command uses it: nothing here that a `curl` could not do.

mod client;
mod error;
mod server;
mod tls;

pub use client::{Client, ListQuery};
pub use error::ApiError;
pub use server::{LocalServer, SERVER_FILE, Server, ServerArgs};
pub use tls::tls_config;
