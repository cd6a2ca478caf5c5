//! The flags that every measuring program takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Each row once, in a tiny size: only that it can be measured counts
    #[arg(long)]
    pub smoke: bool,
    /// Only measurements whose name contains this
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// How often each is repeated
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub runs: usize,
}

/// What is measured, and beside what.
#[derive(Debug, Clone, clap::Args)]
pub struct Subjects {
    /// Another build of our program than the one beside this
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Without the peers
    #[arg(long)]
    pub alone: bool,
}

impl Subjects {
    /// The program of ours that is measured.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name(name),
        };
        anyhow::ensure!(program.exists(), "{} is not built", program.display());
        Ok(program)
    }
}

impl Options {
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    pub fn runs(&self) -> usize {
        if self.smoke { 1 } else { self.runs }
    }

    /// How long is waited until something has come to rest.
    pub fn settle(&self, time: Duration) -> Duration {
        self.size(time, Duration::from_millis(20))
    }

    /// The size of a measurement: as it should be, or the tiny one.
    pub fn size<T>(&self, full: T, tiny: T) -> T {
        if self.smoke { tiny } else { full }
    }
}
