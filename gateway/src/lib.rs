//! The gateway: admits clients to terminals, keeps them informed while they wait, bridges them to runners, and serves
//! the page. It has no signing key and no state of its own: any replica can take any connection.

mod admission;
mod assets;
mod bridge;
mod buffers;
mod client;
pub mod config;
mod controller_link;
mod drain;
mod embedding;
mod extend;
mod files;
mod giving_back;
mod handshake;
pub mod jwks;
mod kept;
pub mod keys;
mod metrics;
mod origin;
mod page;
mod page_token;
mod runner_link;
mod share;
mod terminal;
pub mod token;
mod upgraded;
mod upstream;
mod viewer_tokens;
mod waiting;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use service::metrics::Metrics;
use service::shutdown::Stopping;
use service::{Problem, PublicAddress, Shutdown};
use session::{ProblemType, SessionId};
use store::Store;
use tokio::sync::Semaphore;

pub use client::MAX_HELD;
pub use controller_link::{ControllerLink, HttpLink, LocalLink, Unanswered};
pub use jwks::{HttpJwks, JwksError, JwksSource};
pub use origin::{InvalidOrigin, Origin};
pub use viewer_tokens::{HttpViewerTokens, ViewerTokens};

use admission::Admission;
use drain::Drain;
use giving_back::GivingBack;
use keys::KeyCache;
use metrics::GatewayMetrics;
use page::Page;
use share::ShareLimit;
use token::TokenVerifier;

/// The issuer that controllers put into tokens unless they are told another.
pub const DEFAULT_ISSUER: &str = "cliscale";

/// Refused clients that are being told why at the same time; more get the bare HTTP status.
const MAX_REFUSALS: usize = 256;

#[derive(Debug, Clone)]
pub struct GatewayConfig {
    pub public: PublicAddress,
    /// Sites that may show the page in a frame, and open terminals themselves.
    pub embed_origins: Vec<Origin>,
    /// Terminal connections at once, in this process.
    pub max_connections: usize,
    /// From the 101 answer until the connection must have taken it.
    pub handshake_timeout: Duration,
    /// How long the open terminals are let go of when this stops, one after the other; zero is all at once.
    pub drain_spread: Duration,
    /// How long a frame that is under way when its terminal has to go may take to its end.
    pub drain_timeout: Duration,
    /// Whose tokens are believed.
    pub issuer: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            public: PublicAddress::default(),
            embed_origins: Vec::new(),
            max_connections: 5_000,
            handshake_timeout: Duration::from_secs(10),
            drain_spread: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
            issuer: DEFAULT_ISSUER.to_owned(),
        }
    }
}

/// What only the controller has or does. Without it terminals work all the same.
#[derive(Clone, Default)]
pub struct FromController {
    /// Without: no read-only links are handed out.
    pub viewer_tokens: Option<Arc<dyn ViewerTokens>>,
    /// Without: no recordings and logs.
    pub link: Option<Arc<dyn ControllerLink>>,
}

/// One gateway, cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    config: GatewayConfig,
    store: Arc<dyn Store>,
    admission: Admission,
    page: Page,
    metrics: GatewayMetrics,
    shutdown: Shutdown,
    drain: Drain,
    giving_back: GivingBack,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    /// `None`: no links are handed out.
    viewer_tokens: Option<Arc<dyn ViewerTokens>>,
    /// `None`: nothing that is kept can be had.
    controller: Option<Arc<dyn ControllerLink>>,
    shares: Arc<ShareLimit>,
    /// Places for files on their way.
    transfers: Arc<Semaphore>,
}

impl Gateway {
    /// Needs a running tokio runtime: the verification keys are kept fresh on `shutdown`, as the connections are.
    pub fn new(
        config: GatewayConfig,
        store: Arc<dyn Store>,
        jwks: Arc<dyn JwksSource>,
        controller: FromController,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Self {
        let keys = Arc::new(KeyCache::new(jwks));
        let refreshed = Arc::clone(&keys);
        let stop = shutdown.token();
        shutdown.spawn(async move { refreshed.keep_fresh(stop).await });
        let shares = Arc::new(ShareLimit::default());
        let (bounded, stop) = (Arc::clone(&shares), shutdown.token());
        shutdown.spawn(async move { bounded.keep_bounded(stop).await });
        let verifier = TokenVerifier::new(keys, config.issuer.clone());
        let drain = Drain::default();
        let (draining, stop, spread) = (drain.clone(), shutdown.token(), config.drain_spread);
        shutdown.spawn(async move {
            stop.cancelled().await;
            draining.run(spread).await;
        });
        let giving_back = GivingBack::default();
        shutdown.spawn(giving_back.clone().run(shutdown.token()));
        Self(Arc::new(Inner {
            admission: Admission::new(Arc::clone(&store), verifier),
            page: Page::new(&config.embed_origins),
            metrics: GatewayMetrics::new(metrics),
            room: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            config,
            store,
            shutdown,
            drain,
            giving_back,
            viewer_tokens: controller.viewer_tokens,
            controller: controller.link,
            shares,
            transfers: files::places(),
        }))
    }

    /// What a server of nothing but this router stops by: it serves until every terminal has been let go of, so that
    /// whoever comes meanwhile is told why it cannot stay.
    pub fn stopping(&self) -> Stopping {
        Stopping { leaving: self.0.shutdown.leaving(), stop: self.0.drain.finished() }
    }

    /// `/ws/...`
    pub fn router(&self) -> Router {
        Router::new()
            .route("/ws/{id}", get(open).fallback(refuse_method))
            .route("/ws/_/{*path}", get(show_asset).fallback(refuse_method))
            .route("/ws/{id}/share", post(share::share_session).fallback(refuse_method))
            .route("/ws/{id}/extend", post(extend::extend_session).fallback(refuse_method))
            .route("/ws/{id}/files/{*path}", get(files::get_file).put(files::put_file).fallback(refuse_method))
            .route("/ws/{id}/files.tar.gz", get(files::get_archive).fallback(refuse_method))
            .route("/ws/{id}/page-token", post(page_token::exchange_token).fallback(refuse_method))
            .route("/ws/{id}/recording", get(page::show_player).fallback(refuse_method))
            .route("/ws/{id}/recording.cast", get(kept::get_recording).fallback(refuse_method))
            .route("/ws/{id}/log", get(kept::get_log).fallback(refuse_method))
            .route("/ws/{id}/", get(refuse_path))
            .route("/ws/{id}/{*rest}", get(refuse_path))
            .with_state(Arc::clone(&self.0))
    }
}

/// `GET /ws/{id}`: the page, and upgraded the terminal.
async fn open(
    State(gateway): State<Arc<Inner>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let session: Option<SessionId> = path.ok().and_then(|Path(id)| id.parse().ok());
    let token = request.uri().query().and_then(token_of);
    if handshake::wants_upgrade(&request) {
        terminal::open_terminal(gateway, session, token, request).await
    } else {
        let embed = request.uri().query().is_some_and(asks_to_be_embedded);
        match embedding::refused_site(embed, request.headers(), &gateway.config.embed_origins) {
            Some(site) => embedding::explain_refusal(&site),
            None => page::show_page(&gateway, session, token.as_deref(), request.headers()).await,
        }
    }
}

async fn show_asset(path: Result<Path<String>, PathRejection>, request: Request) -> Response {
    let path = path.map(|Path(path)| path).unwrap_or_default();
    assets::show_asset(&path, request.headers())
}

async fn refuse_method() -> Response {
    Problem::new(ProblemType::MethodNotAllowed, "this path takes other methods; Allow lists them").into_response()
}

async fn refuse_path() -> Response {
    Problem::new(ProblemType::NotFound, "nothing is at this path").into_response()
}

fn asks_to_be_embedded(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == embedding::EMBED)
}

fn token_of(query: &str) -> Option<String> {
    // As we write our links: nothing in it has to be decoded.
    if let Some(token) = query.strip_prefix("token=").filter(|token| !token.contains(['%', '+', '&'])) {
        return Some(token.to_owned());
    }
    let mut members = url::form_urlencoded::parse(query.as_bytes());
    members.find(|(name, _)| name == "token").map(|(_, value)| value.into_owned())
}
