//! What every measurement shares: rows of figures with their goals, the processes measured, the cores they are pinned to,
//! and the machine. Each program in `src/bin` prints its rows as JSON, one a line; `results` makes the table of them.

pub mod goal;
pub mod machine;
pub mod options;
pub mod pin;
pub mod proc;
pub mod runner;
pub mod signer;
pub mod socket;

use serde::{Deserialize, Serialize};

pub use goal::{Goal, Limit};
pub use options::{Options, Subjects};

/// How the product is called among its peers.
pub const OURS: &str = "CLI Scale";

/// One figure of one subject, measured some times in one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The same for all subjects that are compared.
    pub measure: String,
    /// [`OURS`], or a peer's name and version.
    pub subject: String,
    pub unit: String,
    pub samples: Vec<f64>,
    /// Of the measure; it is enough that our row has it.
    pub goal: Option<Goal>,
}

impl Row {
    pub fn new(measure: impl Into<String>, subject: impl Into<String>, unit: impl Into<String>) -> Self {
        let (measure, subject, unit) = (measure.into(), subject.into(), unit.into());
        Self { measure, subject, unit, samples: Vec::new(), goal: None }
    }

    pub fn samples(mut self, samples: impl IntoIterator<Item = f64>) -> Self {
        self.samples.extend(samples);
        self
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub fn median(&self) -> f64 {
        percentile(&self.samples, 0.5)
    }

    pub fn min(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// As a line on stdout, unless nothing was measured.
    pub fn print(&self) {
        if !self.samples.is_empty() {
            println!("{}", serde_json::to_string(self).expect("a row is plain data"));
        }
    }
}

/// The value below which this share of the samples lies; not a number when there are none.
pub fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if share == 0.5 && count % 2 == 0 => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
        count => sorted[((count as f64 * share) as usize).min(count - 1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(percentile(&[4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(percentile(&[4.0, 1.0, 2.0, 3.0], 0.99), 4.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_row_survives_its_line() {
        let row = Row::new("m", OURS, "KiB").samples([1.0, 2.0]).goal(Goal::at_most(2.3));
        let back: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
        assert_eq!((back.median(), back.min(), back.max()), (1.5, 1.0, 2.0));
        assert!(back.goal.unwrap().is_met(1.5, &[]).unwrap());
    }
}
