//! What tests need and no product holds: servers that behave as asked.

pub mod api;
pub mod archive_server;
pub mod cluster;
pub mod connector;
pub mod fake_controller;
pub mod git_server;
pub mod nginx;
pub mod plain_http;
pub mod postgres;
pub mod s3;
pub mod stack;
pub mod standby;
pub mod terminal_client;
pub mod terminal_output;
pub mod xterm;
