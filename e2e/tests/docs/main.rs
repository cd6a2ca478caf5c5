//! What the documents say is so: their links lead somewhere, and the files, tests, metrics, flags, variables and values
//! of the chart that they name are there.

mod chart;
mod metrics;
mod pages;
mod places;
mod settings;
