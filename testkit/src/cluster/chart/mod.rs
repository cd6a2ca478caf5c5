//! The chart as an operator has it: installed by Helm in a namespace of the test's own, with the images of the tests,
//! and clients that come in through a real proxy made from the Ingress.
//!
//! Which cluster is told as for the other tests of the cluster; `CLISCALE_E2E_TOOLS` names the folder of helm and
//! kubectl. Without either the tests are skipped by name, except under CI, where that is a failure.

pub mod ingress;
pub mod installation;
pub mod proxy;
pub mod tools;
mod volume;

use anyhow::Result;

pub use installation::{Installation, RELEASE};
pub use proxy::IngressProxy;
pub use tools::{Ran, Tools};

use super::kubernetes::Kubernetes;
use super::{concluded, test_name, watched};

/// Runs a test with a namespace, and removes all that it has put there; what a failure leaves to look at is kept in a
/// folder, which is named.
pub async fn run(test: impl AsyncFnOnce(&Installation) -> Result<()>) -> Result<()> {
    let Some(kubernetes) = Kubernetes::of_environment().await? else { return Ok(()) };
    let Some(tools) = Tools::of_environment()? else { return Ok(()) };
    if crate::postgres::missing() || crate::nginx::missing() {
        return Ok(());
    }
    let name = test_name();
    let namespace = kubernetes.with_namespace(&name).await?;
    let installation = match Installation::new(namespace.clone(), tools).await {
        Ok(installation) => installation,
        Err(error) => {
            namespace.delete_namespace().await?;
            return Err(error);
        }
    };
    let outcome = watched(&name, test(&installation), &installation.kubernetes, &installation.logs_dir()).await;
    concluded(outcome, installation.remove().await)
}
