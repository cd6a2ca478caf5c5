//! Controller and gateway as processes of their own, as a deployment has them.

mod database;
mod files;
mod sharing;
mod world;
