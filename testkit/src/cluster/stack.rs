//! A running stack in a namespace of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::ClusterOptions;
use super::balancer::Balancer;
use super::code::Code;
use super::kubernetes::Kubernetes;
use super::replica::{Replica, field};
use super::routes::{ControllerPorts, Routes};
use super::rows::Rows;
use super::service::{self, Members};
use crate::api::Api;
use crate::postgres::{Server, TestDatabase};
use crate::stack::binary;

/// How long anything that should happen soon may take, with other tests' pods on the same node.
const PATIENCE: Duration = Duration::from_secs(60);

/// The controllers' file of pools.
const POOLS: &str = "pools.json";

/// Dereferences to a client of its public address, behind which replicas take turns.
pub struct ClusterStack {
    api: Api,
    pub kubernetes: Kubernetes,
    pub rows: Rows,
    pub code: Code,
    pub database: TestDatabase,
    /// Present where the test asked for one of its own.
    pub database_server: Option<Server>,
    pub controllers: Vec<Replica<ControllerPorts>>,
    pub gateways: Vec<Replica<SocketAddr>>,
    routes: Arc<Routes>,
    folder: TempDir,
    /// Held: each ends with its value.
    _balancers: Vec<Balancer>,
    services: Vec<JoinHandle<()>>,
}

impl std::ops::Deref for ClusterStack {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// What every process is given.
struct Common {
    folder: PathBuf,
    kubeconfig: PathBuf,
    database_url: String,
    key: String,
    public_url: String,
}

impl ClusterStack {
    pub(super) async fn start(kubernetes: Kubernetes, options: ClusterOptions) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // 256 bits: two UUIDs are enough of a key for a test.
        let seal = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|half| half.simple().to_string()).concat();
        std::fs::write(folder.path().join("encryption-key"), seal)?;
        std::fs::write(folder.path().join("pod-template.json"), options.template.to_string())?;
        std::fs::create_dir(folder.path().join("logs"))?;
        if let Some(pools) = &options.pools {
            write_pools(folder.path(), POOLS, pools)?;
        }
        let routes = Arc::new(Routes::new(options.controllers, options.gateways));
        let public = Balancer::public(Arc::clone(&routes)).await?;
        let public_url = format!("http://{}", public.address);
        let mut balancers = vec![public];
        let (kubeconfig, (database, database_server), code, internal) = tokio::try_join!(
            kubernetes.make_account(folder.path()),
            fresh_database(options.own_database_server),
            Code::start(kubernetes.host),
            internal_urls(&kubernetes, &options, &routes, &mut balancers),
        )?;
        let key = uuid::Uuid::new_v4().simple().to_string();
        let common = Common {
            folder: folder.path().to_owned(),
            kubeconfig,
            database_url: database.url.clone(),
            key,
            public_url,
        };
        let (internal_urls, services) = internal;
        let stack = Self {
            api: Api::new(&common.public_url, &common.key, PATIENCE)?,
            rows: Rows::connect(&database).await?,
            controllers: common.controllers(&kubernetes, &options, &internal_urls, &routes),
            gateways: common.gateways(options.gateways, &routes),
            kubernetes,
            code,
            database,
            database_server,
            routes,
            folder,
            _balancers: balancers,
            services,
        };
        stack.start_replicas(&options).await?;
        Ok(stack)
    }

    async fn start_replicas(&self, options: &ClusterOptions) -> Result<()> {
        let controllers =
            self.controllers.iter().enumerate().map(async |(index, controller)| match options.faults.get(&index) {
                Some(fault) => controller.start(&[("CLISCALE_FAULT", fault)]).await,
                None => controller.start(&[]).await,
            });
        futures_util::future::try_join_all(controllers).await?;
        // They ask the controllers for keys as soon as they start.
        futures_util::future::try_join_all(self.gateways.iter().map(|gateway| gateway.start(&[]))).await?;
        Ok(())
    }

    /// Ends every process and begins to remove the namespace.
    pub(super) async fn stop(self) -> Result<()> {
        for service in &self.services {
            service.abort();
        }
        let controllers = self.controllers.iter().map(|controller| controller.end("KILL"));
        let gateways = self.gateways.iter().map(|gateway| gateway.end("KILL"));
        let (controllers, gateways) =
            tokio::join!(futures_util::future::join_all(controllers), futures_util::future::join_all(gateways));
        let removed = self.kubernetes.delete_namespace().await;
        for ended in controllers.into_iter().chain(gateways) {
            ended?;
        }
        removed
    }

    /// The folder of signing keys that all controllers share.
    pub fn keys_dir(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Writes another file of pools, and answers its path.
    pub fn write_pools(&self, name: &str, pools: &Value) -> Result<String> {
        write_pools(self.folder.path(), name, pools)
    }

    /// Where processes write their logs.
    pub fn logs_dir(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// Everything that all controllers and gateways logged so far.
    pub fn logs(&self) -> Result<String> {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.logs_dir())? {
            all.push_str(&std::fs::read_to_string(entry?.path())?);
        }
        Ok(all)
    }

    pub fn controller_ports(&self, index: usize) -> Result<ControllerPorts> {
        self.routes.controllers()[index].with_context(|| format!("controller {index} is not running"))
    }

    pub fn gateway_address(&self, index: usize) -> Result<SocketAddr> {
        self.routes.gateways()[index].with_context(|| format!("gateway {index} is not running"))
    }

    /// One controller's own API.
    pub fn controller_api(&self, index: usize) -> Result<Api> {
        Api::new(&format!("http://{}", self.controller_ports(index)?.public), &self.key, PATIENCE)
    }

    /// A WebSocket URL as one gateway itself serves it, whichever address it was made for.
    pub fn through_gateway(&self, url: &str, index: usize) -> Result<String> {
        let path = url.find("/ws/").with_context(|| format!("{url} leads to no gateway"))?;
        Ok(format!("ws://{}{}", self.gateway_address(index)?, &url[path..]))
    }

    /// Creates a session that runs a command, with next to no code and nothing to install; answers its entry.
    pub async fn run(&self, command: &str) -> Result<Value> {
        self.create(self.request(command)).await
    }

    /// The request of [`ClusterStack::run`].
    pub fn request(&self, command: &str) -> Value {
        json!({ "code_url": self.code.empty, "command": command, "install_cmd": "" })
    }

    /// The same, and waits until the command runs; answers entry, session id and runner id.
    pub async fn running(&self, command: &str) -> Result<(Value, String, String)> {
        let entry = self.run(command).await?;
        let id = entry["sessionId"].as_str().context("an id")?.to_owned();
        let view = self.wait_for(&id, "running", |view| view["state"] == "running" || view["state"] == "ended").await?;
        anyhow::ensure!(view["state"] == "running", "the session ended: {view}");
        let runner = view["runnerId"].as_str().context("a runner")?.to_owned();
        Ok((entry, id, runner))
    }
}

/// An empty database that the command itself migrates, and its server where that is this test's own.
async fn fresh_database(own_server: bool) -> Result<(TestDatabase, Option<Server>)> {
    let (database, server) = match own_server {
        true => {
            let server = Server::start_new().await?;
            (server.empty_database().await?, Some(server))
        }
        false => (Server::shared().await?.empty_database().await?, None),
    };
    let migrated = Command::new(binary("cliscale-controller"))
        .args(["migrate", "up"])
        .env("CLISCALE_DATABASE_URL", &database.url)
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&migrated.stderr);
    anyhow::ensure!(migrated.status.success(), "cliscale-controller migrate up failed: {said}");
    Ok((database, server))
}

/// Where each controller's runners call home, and the tasks that keep it so.
async fn internal_urls(
    kubernetes: &Kubernetes,
    options: &ClusterOptions,
    routes: &Arc<Routes>,
    balancers: &mut Vec<Balancer>,
) -> Result<(Vec<String>, Vec<JoinHandle<()>>)> {
    if options.rewriting_network {
        let balancer = Balancer::internal(Arc::clone(routes)).await?;
        let url = format!("http://{}", SocketAddr::new(kubernetes.host, balancer.address.port()));
        balancers.push(balancer);
        return Ok((vec![url; options.controllers], Vec::new()));
    }
    let Some(other) = options.fall_back_to else {
        let url = service::create(kubernetes, "controllers").await?;
        let task = service::follow(kubernetes.clone(), "controllers".to_owned(), Members::All, routes);
        return Ok((vec![url; options.controllers], vec![task]));
    };
    let (mut urls, mut tasks) = (Vec::new(), Vec::new());
    for index in 0..options.controllers {
        let name = format!("controller-{index}");
        urls.push(service::create(kubernetes, &name).await?);
        tasks.push(service::follow(kubernetes.clone(), name, Members::First(index, other), routes));
    }
    Ok((urls, tasks))
}

impl Common {
    fn controllers(
        &self,
        kubernetes: &Kubernetes,
        options: &ClusterOptions,
        internal_urls: &[String],
        routes: &Arc<Routes>,
    ) -> Vec<Replica<ControllerPorts>> {
        let mut settings = self.shared(&[
            ("CLISCALE_LISTEN", "127.0.0.1:0"),
            ("CLISCALE_INTERNAL_LISTEN", "0.0.0.0:0"),
            ("CLISCALE_ADMIN_LISTEN", "127.0.0.1:0"),
            ("CLISCALE_KEYS_DIR", &text(&self.folder.join("keys"))),
            ("CLISCALE_API_KEY", &self.key),
            ("CLISCALE_LAUNCHER", "kubernetes"),
            ("CLISCALE_KUBERNETES_NAMESPACE", &kubernetes.namespace),
            ("CLISCALE_RUNNER_IMAGE", &kubernetes.runner_image),
            ("CLISCALE_RUNNER_POD_TEMPLATE", &text(&self.folder.join("pod-template.json"))),
            ("CLISCALE_CREATE_RATE", "10000/min"),
            ("CLISCALE_ALLOW_PRIVATE_CODE_HOSTS", "true"),
            ("CLISCALE_LINGER_SECS", "1"),
            ("CLISCALE_HEARTBEAT_SECS", "2"),
            ("KUBECONFIG", &text(&self.kubeconfig)),
        ]);
        if options.pools.is_some() {
            settings.insert("CLISCALE_POOLS".to_owned(), text(&self.folder.join(POOLS)));
        }
        settings.extend(options.settings.clone());
        let made = internal_urls.iter().enumerate().map(|(index, internal_url)| {
            let mut settings = settings.clone();
            settings.insert("CLISCALE_INTERNAL_URL".to_owned(), internal_url.clone());
            let routes = Arc::clone(routes);
            Replica::new(
                format!("controller-{index}"),
                "cliscale-controller",
                settings,
                &self.folder.join("logs"),
                |lines| {
                    let port = |name| field(lines, "the controller serves", |_| true, name);
                    Some(ControllerPorts {
                        public: port("public")?,
                        internal: port("internal")?,
                        admin: port("admin")?,
                    })
                },
                move |ports| routes.set_controller(index, ports),
            )
        });
        made.collect()
    }

    fn gateways(&self, count: usize, routes: &Arc<Routes>) -> Vec<Replica<SocketAddr>> {
        let settings = self.shared(&[
            ("CLISCALE_LISTEN", "127.0.0.1:0"),
            ("CLISCALE_ADMIN", "127.0.0.1:0"),
            ("CLISCALE_JWKS_URL", &format!("{}/.well-known/jwks.json", self.public_url)),
        ]);
        let made = (0..count).map(|index| {
            let routes = Arc::clone(routes);
            Replica::new(
                format!("gateway-{index}"),
                "cliscale-gateway",
                settings.clone(),
                &self.folder.join("logs"),
                |lines| field(lines, "listening", |fields| fields["what"] == "clients", "address"),
                move |address| routes.set_gateway(index, address),
            )
        });
        made.collect()
    }

    fn shared(&self, own: &[(&str, &str)]) -> BTreeMap<String, String> {
        let shared = [
            ("CLISCALE_DATABASE_URL", &*self.database_url),
            ("CLISCALE_ENCRYPTION_KEY_FILE", &text(&self.folder.join("encryption-key"))),
            ("CLISCALE_LOG_FORMAT", "json"),
            ("CLISCALE_LOG", "info,controller=debug,gateway=debug"),
        ];
        shared.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

fn write_pools(folder: &Path, name: &str, pools: &Value) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, pools.to_string())?;
    Ok(text(&path))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}
