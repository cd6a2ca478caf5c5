//! The flags that every measuring program takes.

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

impl Options {
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    pub fn runs(&self) -> usize {
        if self.smoke { 1 } else { self.runs }
    }

    /// The size of a measurement: as it should be, or the tiny one.
    pub fn size<T>(&self, full: T, tiny: T) -> T {
        if self.smoke { tiny } else { full }
    }
}
