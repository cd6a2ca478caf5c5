//! `cliscale-gateway`: reads its settings, opens the database, serves until it is told to stop.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use clap::Parser;
use gateway::config::{Flags, GatewaySettings};
use gateway::{ControllerLink, FromController, Gateway, HttpJwks, HttpLink, HttpViewerTokens, ViewerTokens};
use service::metrics::Metrics;
use service::shutdown::Stopping;
use service::{HealthState, Problem, ServeLimits, Shutdown, serve};
use session::ProblemType;
use store::SealKey;
use store::postgres::Part;
use tokio::net::{TcpListener, TcpSocket};

/// An idle terminal costs an eighth less with it than with the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections that wait to be accepted: every client of another gateway may come at once when that one is gone. The
/// kernel takes the lesser of this and `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Flags::parse().check()?;
    service::telemetry::start(settings.log_format, &settings.log);
    run(settings).await
}

async fn run(settings: GatewaySettings) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals_after(settings.shutdown_delay).context("signals")?;
    // The controller draws the key. One drawn here would open nothing that is in the database.
    let key_file = &settings.encryption_key_file;
    let key =
        std::fs::read_to_string(key_file).with_context(|| format!("encryption key file {}", key_file.display()))?;
    let key = SealKey::from_hex(&key)?;
    let own_token = key.gateway_token()?;
    let store = service::database::open(&settings.database, key, Part::Gateway).await?;
    let metrics = Metrics::default();
    let health = HealthState::new(Arc::clone(&store), shutdown.leaving());
    let jwks = Arc::new(HttpJwks::new(settings.jwks_url)?);
    let link = settings.controller_url.clone().map(|url| HttpLink::new(url, &own_token)).transpose()?;
    let tokens = settings.controller_url.map(|url| HttpViewerTokens::new(url, own_token)).transpose()?;
    let controller = FromController {
        viewer_tokens: tokens.map(|tokens| Arc::new(tokens) as Arc<dyn ViewerTokens>),
        link: link.map(|link| Arc::new(link) as Arc<dyn ControllerLink>),
    };
    let gateway = Gateway::new(settings.gateway, store, jwks, controller, &metrics, shutdown.clone());

    let public = gateway.router().merge(health.router()).fallback(refuse_path);
    let admin = metrics.router().merge(health.router());
    let closing = gateway.stopping();
    serve_on(settings.listen, "clients", public, &shutdown, closing.clone()).await?;
    // To the same end: draining is worth watching.
    serve_on(settings.admin, "metrics and health", admin, &shutdown, closing).await?;
    shutdown.token().cancelled().await;
    if !shutdown.finish(settings.drain).await {
        tracing::warn!("connections were still open when the time to stop was over");
    }
    Ok(())
}

async fn serve_on(
    address: std::net::SocketAddr,
    what: &str,
    router: Router,
    shutdown: &Shutdown,
    stopping: Stopping,
) -> anyhow::Result<()> {
    let listener = listen(address).with_context(|| format!("cannot listen on {address} for {what}"))?;
    tracing::info!(address = %listener.local_addr()?, what, "listening");
    shutdown.spawn(serve(listener, router, ServeLimits::default(), stopping));
    Ok(())
}

fn listen(address: std::net::SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As [`TcpListener::bind`] has it: a gateway that is started again must not wait for the old one's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn refuse_path() -> Problem {
    Problem::new(ProblemType::NotFound, "nothing is at this path")
}
