//! A gateway on port 0 with a database in a folder of its own, tokens to enter with, a client, and a scripted runner.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gateway::{Gateway, GatewayConfig, JwksError, JwksSource};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use service::metrics::Metrics;
use service::{ServeLimits, Shutdown};
use session::frames::{ServerFrame, TTY_R1, Tickets};
use session::state::Ended;
use session::{ApiKeyId, Claims, EndReason, Role, RunnerId, Secret, SessionId, SessionSpec, SpecLimits, Stage};
use store::sqlite::SqliteStore;
use store::{Digest, NewRunner, NewSession, NewToken, Placement, RunnerCall, SealKey, Store, Time};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const BOTH: &str = "tty.r1, tty";
pub const STOCK: &str = "tty";

pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// An RSA key pair under a name.
pub struct Signer {
    pub kid: &'static str,
    pub key: EncodingKey,
    pub jwk: Jwk,
}

impl Signer {
    fn draw(kid: &'static str) -> Self {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'static> = pair.as_der().unwrap();
        let text = base64::prelude::BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        Self { kid, key, jwk }
    }

    pub fn ours() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::draw("ours"))
    }

    pub fn foreign() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::draw("foreign"))
    }

    pub fn sign(&self, claims: &impl serde::Serialize) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// A key source that counts how often it is asked, and can be away.
#[derive(Default)]
pub struct TestJwks {
    pub fetches: AtomicUsize,
    pub away: AtomicBool,
}

#[async_trait]
impl JwksSource for TestJwks {
    async fn fetch(&self) -> Result<JwkSet, JwksError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(JwksError("away".to_owned()));
        }
        Ok(JwkSet { keys: vec![Signer::ours().jwk.clone()] })
    }
}

pub struct Harness {
    pub address: SocketAddr,
    pub store: Arc<SqliteStore>,
    pub jwks: Arc<TestJwks>,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub database: PathBuf,
    _dir: tempfile::TempDir,
}

impl Harness {
    pub async fn start() -> Self {
        Self::start_with(GatewayConfig::default()).await
    }

    pub async fn start_with(config: GatewayConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("cliscale.db");
        let store = Arc::new(SqliteStore::open(&database, SealKey::random().unwrap()).await.unwrap());
        let jwks = Arc::new(TestJwks::default());
        let metrics = Metrics::default();
        let shutdown = Shutdown::new();
        let gateway =
            Gateway::new(config, Arc::clone(&store) as Arc<dyn Store>, jwks.clone(), &metrics, shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        shutdown.spawn(service::serve(listener, gateway.router(), ServeLimits::default(), shutdown.token()));
        Self { address, store, jwks, metrics, shutdown, database, _dir: dir }
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

    async fn create(&self, placement: Placement) -> SessionId {
        let request = session::api::CreateSession {
            code_url: "https://github.com/o/r.git".into(),
            command: "sh".into(),
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
                Dialled::Open(Client { socket, headers: response.headers().clone(), tickets: None })
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

fn new_token(role: Role) -> NewToken {
    let jti = SessionId::new().to_string().replace('-', "");
    NewToken { jti, role, expires_at: Time::now() + Duration::from_secs(300) }
}

/// What an upgrade request was answered with.
pub enum Dialled {
    Open(Client),
    Refused { status: u16, headers: HeaderMap, problem: serde_json::Value },
}

impl Dialled {
    /// The client, with the tickets taken off where there are any.
    pub async fn open(self) -> Client {
        match self {
            Self::Open(mut client) => {
                if client.protocol() == TTY_R1 {
                    match client.frame().await {
                        Got::Frame(ServerFrame::Tickets(tickets)) => client.tickets = Some(tickets),
                        other => panic!("expected tickets, got {other:?}"),
                    }
                }
                client
            }
            Self::Refused { status, problem, .. } => panic!("refused with {status}: {problem}"),
        }
    }

    /// The close code and reason that a client of ours is refused with.
    pub async fn closed(self) -> (u16, String) {
        match self {
            Self::Open(mut client) => match client.frame().await {
                Got::Close(code, reason) => (code, reason),
                other => panic!("expected a close, got {other:?}"),
            },
            Self::Refused { status, problem, .. } => panic!("refused with {status}: {problem}"),
        }
    }

    /// The status and problem that a stock client is refused with.
    pub fn refused(self) -> (u16, String) {
        match self {
            Self::Open(client) => panic!("accepted as {}", client.protocol()),
            Self::Refused { status, problem, headers } => {
                assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
                let kind = problem["type"].as_str().unwrap_or_default();
                (status, kind.trim_start_matches("/docs/errors/").to_owned())
            }
        }
    }
}

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    pub headers: HeaderMap,
    pub tickets: Option<Tickets>,
}

/// What a client was sent.
pub enum Got {
    Frame(ServerFrame),
    Close(u16, String),
    /// The connection ended without a close frame.
    Cut,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "{:?}", String::from_utf8_lossy(&frame.encode())),
            Self::Close(code, reason) => write!(f, "close {code} {reason}"),
            Self::Cut => write!(f, "cut"),
        }
    }
}

impl Client {
    pub fn protocol(&self) -> &str {
        self.headers.get(header::SEC_WEBSOCKET_PROTOCOL).map_or("", |value| value.to_str().unwrap())
    }

    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The next frame or close; pings are skipped.
    pub async fn frame(&mut self) -> Got {
        soon("a frame", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => return Got::Frame(ServerFrame::decode(bytes).unwrap()),
                    Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                        return Got::Close(code.into(), reason.to_string());
                    }
                    Some(Ok(Message::Close(None))) => return Got::Close(1005, String::new()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Got::Cut,
                }
            }
        })
        .await
    }

    /// The next output, with whatever is said about waiting skipped.
    pub async fn output(&mut self) -> Bytes {
        loop {
            match self.frame().await {
                Got::Frame(ServerFrame::Output(bytes)) => return bytes,
                Got::Frame(ServerFrame::Waiting(_)) => {}
                other => panic!("expected output, got {other:?}"),
            }
        }
    }
}

/// A runner that the test scripts.
pub struct FakeRunner {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// A gateway's connection, as the runner sees it.
pub struct Attached {
    pub socket: WebSocketStream<TcpStream>,
    pub path: String,
    pub headers: HeaderMap,
}

impl FakeRunner {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    pub async fn accept_tcp(&self) -> TcpStream {
        soon("a connection to the runner", self.listener.accept()).await.unwrap().0
    }

    pub async fn accept(&self) -> Attached {
        Self::shake_hands(self.accept_tcp().await).await
    }

    pub async fn shake_hands(stream: TcpStream) -> Attached {
        stream.set_nodelay(true).unwrap();
        let (mut headers, mut path) = (HeaderMap::new(), String::new());
        #[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
        let callback = |request: &Request, mut response: Response| {
            headers = request.headers().clone();
            path = request.uri().to_string();
            let chosen = request.headers()[header::SEC_WEBSOCKET_PROTOCOL].clone();
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.unwrap();
        Attached { socket, path, headers }
    }
}

impl Attached {
    pub async fn send(&mut self, frame: &ServerFrame) {
        self.socket.send(Message::Binary(frame.encode())).await.unwrap();
    }

    pub async fn output(&mut self, text: &'static str) {
        self.send(&ServerFrame::Output(Bytes::from_static(text.as_bytes()))).await;
    }

    /// The next message, as bytes.
    pub async fn message(&mut self) -> Bytes {
        match soon("a client's message", self.socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            other => panic!("expected a message, got {other:?}"),
        }
    }
}
