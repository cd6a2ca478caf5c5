//! The whole stack on a real Kubernetes: controllers and gateways as processes here, runner pods in a namespace of the
//! test's own, a fresh PostgreSQL database, and what stands in front of replicas (a Service for runners, a balancer for
//! clients).
//!
//! Which cluster is told by `CLISCALE_E2E_KUBECONFIG`; without it the tests are skipped by name, except under CI, where
//! that is a failure. Its pods must reach this machine at `CLISCALE_E2E_HOST_ADDRESS`.

pub mod balancer;
pub mod chart;
pub mod code;
pub mod ending;
mod evidence;
pub mod hits;
pub mod kubernetes;
pub mod node;
pub mod replica;
mod routes;
pub mod rows;
mod service;
mod stack;
pub mod visitors;
pub mod whole_job;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;

use anyhow::Result;
use futures_util::FutureExt;
use serde_json::{Value, json};

pub use kubernetes::Kubernetes;
pub use replica::wait_for_end;
pub use stack::ClusterStack;

/// How controllers and gateways are started.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    controllers: usize,
    gateways: usize,
    settings: BTreeMap<String, String>,
    /// The runners' pod template.
    template: Value,
    faults: BTreeMap<usize, String>,
    /// A controller that its runners reach first at it alone, and at this one once it is gone.
    fall_back_to: Option<usize>,
    rewriting_network: bool,
    own_database_server: bool,
    /// Templates and their pools, as controllers read them.
    pools: Option<Value>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        // Many pods of many tests share one small node, and each is quick when it may be.
        let resources = json!({
            "requests": { "cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Mi" },
            "limits": { "cpu": "2", "memory": "256Mi", "ephemeral-storage": "256Mi" },
        });
        Self {
            controllers: 2,
            gateways: 2,
            settings: BTreeMap::new(),
            template: json!({ "spec": { "containers": [{ "name": "runner", "resources": resources }] } }),
            faults: BTreeMap::new(),
            fall_back_to: None,
            rewriting_network: false,
            own_database_server: false,
            pools: None,
        }
    }
}

impl ClusterOptions {
    pub fn controllers(mut self, count: usize) -> Self {
        self.controllers = count;
        self
    }

    pub fn gateways(mut self, count: usize) -> Self {
        self.gateways = count;
        self
    }

    /// A setting of the controllers, by its variable: `set("CLISCALE_RUNNER_TTL_SECS", "3")`.
    pub fn set(mut self, variable: &str, value: &str) -> Self {
        self.settings.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// The content of the controllers' file of pools.
    pub fn pools(mut self, pools: Value) -> Self {
        self.pools = Some(pools);
        self
    }

    /// A field of the runners' pod template's `spec`.
    pub fn pod(mut self, field: &str, value: Value) -> Self {
        self.template["spec"][field] = value;
        self
    }

    /// A field of that template's container.
    pub fn container(mut self, field: &str, value: Value) -> Self {
        self.template["spec"]["containers"][0][field] = value;
        self
    }

    /// A resource's limit, and what is asked for at least.
    pub fn limit(mut self, resource: &str, limit: &str, request: &str) -> Self {
        let resources = &mut self.template["spec"]["containers"][0]["resources"];
        resources["limits"][resource] = json!(limit);
        resources["requests"][resource] = json!(request);
        self
    }

    /// Lets one controller die at a named place (`controller::fault`).
    pub fn fault(mut self, controller: usize, fault: &str) -> Self {
        self.faults.insert(controller, fault.to_owned());
        self
    }

    /// Runners call the controller that launched them, and `controller` once that one is gone; otherwise they call
    /// all of them in turn.
    pub fn fall_back_to(mut self, controller: usize) -> Self {
        self.fall_back_to = Some(controller);
        self
    }

    /// Runners reach controllers through something that rewrites their address, so that only the pods' watch can tell
    /// whose call it is.
    pub fn rewriting_network(mut self) -> Self {
        self.rewriting_network = true;
        self
    }

    /// A database server that the test may stop.
    pub fn own_database_server(mut self) -> Self {
        self.own_database_server = true;
        self
    }

    /// Runs a test on a stack of its own, and removes the stack; what a failure leaves to look at is kept in a folder,
    /// which is named.
    pub async fn run(self, test: impl AsyncFnOnce(&ClusterStack) -> Result<()>) -> Result<()> {
        let Some(kubernetes) = Kubernetes::of_environment().await? else { return Ok(()) };
        if crate::postgres::missing() {
            return Ok(());
        }
        let name = test_name();
        let namespace = kubernetes.with_namespace(&name).await?;
        let stack = match ClusterStack::start(namespace.clone(), self).await {
            Ok(stack) => stack,
            Err(error) => {
                namespace.delete_namespace().await?;
                return Err(error.context("the stack did not start"));
            }
        };
        let outcome = watched(&name, test(&stack), &stack.kubernetes, &stack.logs_dir()).await;
        concluded(outcome, stack.stop().await)
    }
}

/// How a test went: `Err` holds its panic.
type Outcome = std::thread::Result<Result<()>>;

/// Runs a test; what a failure leaves to look at is kept in a folder, which is named.
async fn watched(name: &str, test: impl Future<Output = Result<()>>, kubernetes: &Kubernetes, logs: &Path) -> Outcome {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        match evidence::keep(kubernetes, logs).await {
            Ok(folder) => eprintln!("{name} failed; what was there is in {}", folder.display()),
            Err(error) => eprintln!("{name} failed, and no evidence could be kept: {error:#}"),
        }
    }
    outcome
}

/// A test's result once what it had was removed.
fn concluded(outcome: Outcome, removed: Result<()>) -> Result<()> {
    match outcome {
        Ok(result) => result.and(removed),
        Err(panic) => resume_unwind(panic),
    }
}

/// The test's name as the test runner shows it: the name of its thread.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("test").to_owned()
}
