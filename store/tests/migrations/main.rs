//! The schema goes up, comes back, and never stays in between: on both backends, with many at once, and with everything
//! that can get in the way.

#[path = "../contract/mod.rs"]
mod contract;

mod base;
mod both;
mod expanded;
mod postgres;
mod sqlite;
