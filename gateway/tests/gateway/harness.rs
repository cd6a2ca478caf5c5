//! A gateway on port 0 with a database in a folder of its own, tokens to enter with, a client, and a scripted runner.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway::{ControllerLink, FromController, Gateway, GatewayConfig, ViewerTokens};
use http::{HeaderName, HeaderValue, header};
use service::metrics::Metrics;
use service::{Problem, ServeLimits, Shutdown};
use session::gateway_api::ViewerToken;
use session::state::Ended;
use session::{
    ApiKeyId, Claims, EndReason, ProblemType, Role, RunnerId, Secret, SessionId, SessionSpec, SpecLimits, Stage,
};
use store::sqlite::SqliteStore;
use store::{Digest, NewRunner, NewSession, NewToken, Placement, RunnerCall, SealKey, Store, Time};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::peer::{Client, Dialled};
use crate::signer::{Signer, TestJwks};

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const BOTH: &str = "tty.r1, tty";
pub const STOCK: &str = "tty";

pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub struct Harness {
    pub address: SocketAddr,
    pub store: Arc<SqliteStore>,
    pub jwks: Arc<TestJwks>,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub database: PathBuf,
    config: GatewayConfig,
    link: Option<Arc<dyn ControllerLink>>,
    dir: Arc<tempfile::TempDir>,
}

impl Harness {
    pub async fn start() -> Self {
        Self::start_with(GatewayConfig::default()).await
    }

    pub async fn start_with(config: GatewayConfig) -> Self {
        Self::start_linked(config, None).await
    }

    /// With a controller to ask.
    pub async fn start_linked(config: GatewayConfig, link: Option<Arc<dyn ControllerLink>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("cliscale.db");
        let store = Arc::new(SqliteStore::open(&database, SealKey::random().unwrap()).await.unwrap());
        Self::serve(config, store, Arc::default(), link, database, Arc::new(dir)).await
    }

    /// A further gateway of the same installation.
    pub async fn another(&self) -> Self {
        let (store, jwks, dir) = (Arc::clone(&self.store), Arc::clone(&self.jwks), Arc::clone(&self.dir));
        Self::serve(self.config.clone(), store, jwks, self.link.clone(), self.database.clone(), dir).await
    }

    async fn serve(
        config: GatewayConfig,
        store: Arc<SqliteStore>,
        jwks: Arc<TestJwks>,
        link: Option<Arc<dyn ControllerLink>>,
        database: PathBuf,
        dir: Arc<tempfile::TempDir>,
    ) -> Self {
        let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
        let dynamic = Arc::clone(&store) as Arc<dyn Store>;
        let tokens: Option<Arc<dyn ViewerTokens>> = Some(Arc::new(StoredTokens(Arc::clone(&store))));
        let controller = FromController { viewer_tokens: tokens, link: link.clone() };
        let gateway = Gateway::new(config.clone(), dynamic, jwks.clone(), controller, &metrics, shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        shutdown.spawn(service::serve(listener, gateway.router(), ServeLimits::default(), gateway.stopping()));
        Self { address, store, jwks, metrics, shutdown, database, config, link, dir }
    }

    /// A session that waits for a runner, which has not called home.
    pub async fn queued(&self) -> Session {
        let (runner, boot_token) = (RunnerId::new(), Digest::of(b"boot"));
        let id = self.create(Placement::Runner(NewRunner { id: runner, boot_token })).await;
        Session { id, runner, secret: Secret::new("runner-secret-0123456789") }
    }

    /// A session whose runner is at this address and has it.
    pub async fn running(&self, address: SocketAddr) -> Session {
        let session = self.queued().await;
        self.ready(&session, address).await;
        self.advance(&session, Stage::Running).await;
        session
    }

    /// A session in front of a stock ttyd.
    pub async fn fixed(&self, address: SocketAddr) -> Session {
        let runner = RunnerId::new();
        let id = self.create(Placement::Fixed { runner, address: address.to_string() }).await;
        Session { id, runner, secret: Secret::default() }
    }

    /// A session that waits for a runner, and to which no links are handed out.
    pub async fn unshared(&self) -> Session {
        let (runner, boot_token) = (RunnerId::new(), Digest::of(b"boot"));
        let id = self.create_with(Placement::Runner(NewRunner { id: runner, boot_token }), Some(false)).await;
        Session { id, runner, secret: Secret::default() }
    }

    async fn create(&self, placement: Placement) -> SessionId {
        self.create_with(placement, None).await
    }

    async fn create_with(&self, placement: Placement, share: Option<bool>) -> SessionId {
        let request = session::api::CreateSession {
            code_url: "https://github.com/o/r.git".into(),
            command: "sh".into(),
            share,
            ..Default::default()
        };
        let (spec, secrets) = SessionSpec::validate(request, &SpecLimits::default()).unwrap();
        let id = SessionId::new();
        let now = Time::now();
        let new = NewSession {
            id,
            spec,
            secrets,
            api_key: ApiKeyId::new(),
            expires_at: now + Duration::from_secs(3600),
            idempotency: None,
            rate: None,
            max_sessions: None,
            token: new_token(Role::Operator),
            placement,
        };
        self.store.create_session(new, now).await.unwrap();
        id
    }

    pub async fn ready(&self, session: &Session, address: SocketAddr) {
        let call = RunnerCall {
            id: session.runner,
            boot_token: Digest::of(b"boot"),
            secret: session.secret.clone(),
            address: address.to_string(),
        };
        self.store.runner_ready(call, Time::now()).await.unwrap();
    }

    pub async fn advance(&self, session: &Session, stage: Stage) {
        self.store.advance(session.id, 1, stage, Time::now()).await.unwrap();
    }

    pub async fn end(&self, session: &Session, code: i32) {
        let ended = Ended { reason: EndReason::Exited, exit_code: Some(code), signal: None, message: None };
        self.store.end(session.id, None, ended, Time::now()).await.unwrap();
    }

    /// The session is over, and nothing is left of its runner.
    pub async fn end_and_forget(&self, session: &Session, code: i32) {
        self.end(session, code).await;
        self.store.runner_gone(session.runner, Time::now()).await.unwrap();
    }

    pub fn claims(&self, session: &Session, role: Role) -> Claims {
        let jti = new_token(role).jti;
        Claims::new(gateway::DEFAULT_ISSUER, session.id, role, jti, Time::now().as_second())
    }

    /// A token that the database knows.
    pub async fn token(&self, session: &Session, role: Role) -> String {
        let claims = self.claims(session, role);
        self.store.add_token(session.id, NewToken { jti: claims.jti.clone(), ..new_token(role) }).await.unwrap();
        Signer::ours().sign(&claims)
    }

    /// Asks for an upgrade, with `extra` headers.
    pub async fn dial(
        &self,
        session: &Session,
        token: Option<&str>,
        protocols: &str,
        extra: &[(&str, &str)],
    ) -> Dialled {
        let query = token.map_or(String::new(), |token| format!("?token={token}"));
        self.dial_path(&format!("/ws/{}{query}", session.id), protocols, extra).await
    }

    pub async fn dial_path(&self, path: &str, protocols: &str, extra: &[(&str, &str)]) -> Dialled {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        let headers = request.headers_mut();
        if !protocols.is_empty() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        }
        for (name, value) in extra {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match soon("the handshake", client_async(request, stream)).await {
            Ok((socket, response)) => {
                Dialled::Open(Box::new(Client { socket, headers: response.headers().clone(), tickets: None }))
            }
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Dialled::Refused {
                    status: response.status().as_u16(),
                    headers: response.headers().clone(),
                    problem: serde_json::from_slice(body).unwrap_or_default(),
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Enters with a fresh operator's token.
    pub async fn enter(&self, session: &Session, protocols: &str) -> Client {
        let token = self.token(session, Role::Operator).await;
        self.dial(session, Some(&token), protocols, &[]).await.open().await
    }

    pub async fn metrics_text(&self) -> String {
        use tower::ServiceExt;
        let request = http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let response = self.metrics.router().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Waits until the metrics say this.
    pub async fn metric(&self, line: &str) {
        soon(line, async {
            while !self.metrics_text().await.lines().any(|found| found == line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

pub struct Session {
    pub id: SessionId,
    pub runner: RunnerId,
    pub secret: Secret,
}

/// What stands for the controller: tokens that the database knows.
struct StoredTokens(Arc<SqliteStore>);

#[async_trait]
impl ViewerTokens for StoredTokens {
    async fn viewer_token(&self, session: SessionId) -> Result<ViewerToken, Problem> {
        let record = self.0.session(session).await?.expect("a session that a page token was found for");
        if !record.spec.share {
            return Err(Problem::new(ProblemType::ShareForbidden, "not this one"));
        }
        let new = new_token(Role::Viewer);
        self.0.add_token(session, new.clone()).await?;
        let claims = Claims::new(gateway::DEFAULT_ISSUER, session, new.role, new.jti, Time::now().as_second());
        Ok(ViewerToken { token: Secret::new(Signer::ours().sign(&claims)), expires_at: new.expires_at.to_string() })
    }
}

fn new_token(role: Role) -> NewToken {
    let jti = SessionId::new().to_string().replace('-', "");
    NewToken { jti, role, expires_at: Time::now() + Duration::from_secs(300) }
}
