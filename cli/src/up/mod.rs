//! Everything in one process: `cliscale up`, and the server that `cliscale run` starts for itself.

mod announce;
mod compose;
mod config;
pub mod data_dir;
mod flags;
mod hosts;
mod runner_bin;
mod samples;

pub use announce::{announce, curl_line};
pub use compose::{RunningUp, Up, UpError};
pub use config::{LauncherChoice, LogSettings, UpConfig};
pub use flags::UpFlags;
pub use runner_bin::find_runner;
pub use samples::write_demo as demo_code;
