//! The chart by rendering: what Helm makes of it is valid, complete, safe, and what the programs and documents expect.
//! What only a cluster can tell is in `cluster_chart`.
//!
//! `CLISCALE_E2E_TOOLS` names the folder that `e2e/cluster/binaries` prints; without it the tests are skipped by name,
//! except under CI, where that is a failure.

mod cases;
mod measurements;
mod neighbourhood;
mod network;
mod objects;
mod policy;
mod references;
mod rights;
mod score;
mod secrets;
mod settings;
mod skaffold;
mod tools;
mod validity;
mod value_keys;
mod values;
