//! The images as they are shipped, on the cluster: how they start, what commands find in the runner's, the all-in-one's
//! whole job, and what a release holds.

mod agents;
mod all_in_one;
mod pods;
mod release;
mod start;

/// The name of an image of this workspace on the cluster under test.
fn image(name: &str) -> String {
    let registry = std::env::var("CLISCALE_E2E_REGISTRY").unwrap_or_else(|_| "localhost".to_owned());
    format!("{registry}/{name}:e2e")
}
