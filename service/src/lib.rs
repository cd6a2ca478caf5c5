//! What every server process shares: settings, tracing, metrics, health, shutdown, the HTTP server and problem
//! responses. No business rules.

pub mod address;
pub mod config;
pub mod database;
pub mod health;
pub mod metrics;
pub mod problem;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
mod unread;

pub use address::PublicAddress;
pub use config::{ConfigErrors, Settings};
pub use health::HealthState;
pub use problem::Problem;
pub use serve::{ServeLimits, serve};
pub use shutdown::{Shutdown, Stopping};
