//! The runner's one port: being assigned, ended and watched, and the session's files. Whoever speaks needs the runner's secret, which only the
//! controller and the gateway know; a slow or garbage connection costs one of a bounded number of places, briefly.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, State, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::de::DeserializeOwned;
use session::frames::{MAX_CLIENT_FRAME, Size, TTY, TTY_R1, Wire};
use session::runner_api::{Assign, CLIENT_HEADER, End, MoveDeadline, ROLE_HEADER};
use session::{Role, Secret, SessionId};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ending::{Ender, sentence};
use crate::files::{self, Files};
use crate::history::Spill;
use crate::life::{Screen, Session};
use crate::terminal::{Deadline, Terminal};
use crate::viewer::{self, Who};

/// Connections at once. The viewers' own limit is well below.
const MAX_CONNECTIONS: usize = 256;
const HEADER_LIMIT: Duration = Duration::from_secs(10);
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// How long answers under way hold up a stopping runner.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// An assignment's environment, prompt and commands, each escaped as badly as JSON can.
const MAX_BODY: usize = 4 << 20;
/// A year: no deadline is later.
const LONGEST_MS: u64 = 365 * 86_400_000;
/// How long a gateway that comes before the session is kept waiting for it, rather than sent away to come again.
const HOLD: Duration = Duration::from_millis(500);
const MAX_HEADERS: usize = 64;
const HEADER_BYTES: usize = 16 * 1024;

/// What the port answers from.
pub struct Server {
    secret: Secret,
    buffers: Buffers,
    phase: Mutex<Phase>,
    /// Cancelled once there is a session.
    taken: CancellationToken,
}

/// How much of a session's output is kept, and where.
#[derive(Debug, Clone)]
pub struct Buffers {
    pub ring_bytes: usize,
    pub spill_folder: PathBuf,
    pub spill_bytes: u64,
}

enum Phase {
    /// Waits to be assigned; the session goes to whoever waits for it.
    Blank(Option<oneshot::Sender<Session>>),
    Assigned(Arc<Assigned>),
}

/// The session that this runner serves, as its port sees it.
pub struct Assigned {
    pub session: SessionId,
    pub epoch: u64,
    pub terminal: Arc<Terminal>,
    pub ender: Ender,
    pub files: Arc<Files>,
}

impl Server {
    /// Also returns where the session will come from.
    pub fn new(secret: Secret, buffers: Buffers) -> (Arc<Self>, oneshot::Receiver<Session>) {
        let (assign, assigned) = oneshot::channel();
        let (phase, taken) = (Mutex::new(Phase::Blank(Some(assign))), CancellationToken::new());
        (Arc::new(Self { secret, buffers, phase, taken }), assigned)
    }

    pub fn assigned(&self) -> Option<Arc<Assigned>> {
        match &*self.lock() {
            Phase::Blank(_) => None,
            Phase::Assigned(assigned) => Some(Arc::clone(assigned)),
        }
    }

    /// The same, waiting for a moment.
    async fn assigned_soon(&self) -> Option<Arc<Assigned>> {
        let _ = tokio::time::timeout(HOLD, self.taken.cancelled()).await;
        self.assigned()
    }

    fn assign(&self, assign: Assign) -> StatusCode {
        let mut phase = self.lock();
        let waiting = match &mut *phase {
            Phase::Assigned(held) if (held.session, held.epoch) == (assign.session, assign.epoch) => {
                return StatusCode::OK;
            }
            Phase::Assigned(_) => return StatusCode::CONFLICT,
            Phase::Blank(waiting) => waiting.take(),
        };
        let screen = Screen::default();
        let set_size = {
            let screen = screen.clone();
            Box::new(move |size| screen.resize(size))
        };
        let size = Size { columns: assign.spec.cols, rows: assign.spec.rows };
        let Buffers { ring_bytes, spill_folder, spill_bytes } = self.buffers.clone();
        let spill = Spill::new(spill_folder, spill_bytes);
        let (terminal, typed) = Terminal::new(title(&assign.spec.command), size, ring_bytes, spill, set_size);
        terminal.move_deadline(deadline(assign.deadline_ms, assign.max_deadline_ms));
        if let Some(policy) = assign.recording {
            terminal.record(policy.input);
        }
        let (terminal, ender, files) = (Arc::new(terminal), Ender::default(), Arc::<Files>::default());
        let held = Assigned {
            session: assign.session,
            epoch: assign.epoch,
            terminal: Arc::clone(&terminal),
            ender: ender.clone(),
            files: Arc::clone(&files),
        };
        let session = Session { assign, terminal, typed, screen, ender, files };
        // Nobody waits any more when the runner is about to exit.
        if waiting.is_none_or(|waiting| waiting.send(session).is_err()) {
            return StatusCode::CONFLICT;
        }
        *phase = Phase::Assigned(Arc::new(held));
        self.taken.cancel();
        StatusCode::OK
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(self.secret.expose().as_bytes()).into())
    }
}

/// ttyd's title: the command and the host.
fn title(command: &str) -> String {
    let line: String =
        command.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
    let host = nix::unistd::gethostname().unwrap_or_default();
    format!("{line} ({})", host.to_string_lossy())
}

/// Serves connections until `stopping`, and then waits for the answers that are under way. Terminals are not waited
/// for: whoever stops this has seen to them.
pub async fn serve(listener: TcpListener, server: Arc<Server>, stopping: CancellationToken) {
    let app = Router::new()
        .route("/healthz", get(show_health))
        .route("/assign", put(put_assign))
        .route("/deadline", put(put_deadline))
        .route("/end", post(post_end))
        .route("/ws", get(get_ws))
        .merge(files::routes())
        .with_state(server);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_headers(MAX_HEADERS).max_buf_size(HEADER_BYTES);
    let answering = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = async { (Arc::clone(&places).acquire_owned().await, listener.accept().await) } => accepted,
            () = stopping.cancelled() => break,
        };
        let (place, stream) = match (accepted.0, accepted.1) {
            (place, Ok((stream, _))) => (place, stream),
            (_, Err(error)) => {
                // Such as too many open files: it passes, and trying again at once would not help it to.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Keystrokes are answered byte by byte.
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        let connection = connection.with_upgrades();
        let stopping = stopping.clone();
        answering.spawn(async move {
            tokio::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a connection failed");
            }
            drop(place);
        });
    }
    answering.close();
    if tokio::time::timeout(ANSWER_LIMIT, answering.wait()).await.is_err() {
        tracing::debug!("some peer did not take its answer");
    }
}

/// A request with the runner's secret. Judged before anything else of it is read.
pub struct Authorized;

impl FromRequestParts<Arc<Server>> for Authorized {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Response> {
        match server.is_authorized(&parts.headers) {
            true => Ok(Self),
            false => Err((StatusCode::UNAUTHORIZED, "the runner's secret is missing or wrong\n").into_response()),
        }
    }
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let refused = |status: StatusCode, why: &'static str| (status, why).into_response();
    let read = tokio::time::timeout(BODY_LIMIT, to_bytes(body, MAX_BODY)).await;
    let bytes = read
        .map_err(|_| refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"))?
        .map_err(|_| refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was cut\n"))?;
    // The error is not echoed: it may quote what is secret.
    serde_json::from_slice(&bytes)
        .map_err(|_| refused(StatusCode::UNPROCESSABLE_ENTITY, "the body is not understood\n"))
}

/// Open to all. Who shows a secret asks for one runner, which may have lost its address to this one.
async fn show_health(State(server): State<Arc<Server>>, headers: HeaderMap) -> (StatusCode, &'static str) {
    match headers.contains_key(header::AUTHORIZATION) && !server.is_authorized(&headers) {
        true => (StatusCode::UNAUTHORIZED, "another runner is here\n"),
        false => (StatusCode::OK, "ok\n"),
    }
}

async fn put_assign(State(server): State<Arc<Server>>, _: Authorized, body: Body) -> Result<StatusCode, Response> {
    Ok(server.assign(read(body).await?))
}

async fn post_end(State(server): State<Arc<Server>>, _: Authorized, body: Body) -> Result<StatusCode, Response> {
    let end: End = read(body).await?;
    let Some(assigned) = server.assigned().filter(|assigned| assigned.session == end.session) else {
        return Ok(StatusCode::CONFLICT);
    };
    if assigned.terminal.is_over() {
        assigned.ender.hurry();
    } else {
        assigned.ender.end(end.reason, sentence(end.reason));
    }
    Ok(StatusCode::ACCEPTED)
}

async fn put_deadline(State(server): State<Arc<Server>>, _: Authorized, body: Body) -> Result<StatusCode, Response> {
    let moved: MoveDeadline = read(body).await?;
    let is_meant = |assigned: &Arc<Assigned>| (assigned.session, assigned.epoch) == (moved.session, moved.epoch);
    let Some(assigned) = server.assigned().filter(|assigned| is_meant(assigned) && !assigned.terminal.is_over()) else {
        return Ok(StatusCode::CONFLICT);
    };
    assigned.terminal.move_deadline(deadline(moved.deadline_ms, Some(moved.max_deadline_ms)));
    Ok(StatusCode::NO_CONTENT)
}

fn deadline(left_ms: u64, latest_ms: Option<u64>) -> Deadline {
    // No clock of ours lasts for what a number of 64 bits can say.
    let millis = |ms: u64| Duration::from_millis(ms.min(LONGEST_MS));
    Deadline::after(millis(left_ms), latest_ms.map(millis))
}

async fn get_ws(
    State(server): State<Arc<Server>>,
    _: Authorized,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(role) = text(ROLE_HEADER).and_then(|role| role.parse::<Role>().ok()) else {
        return (StatusCode::BAD_REQUEST, format!("{ROLE_HEADER} must be operator or viewer\n")).into_response();
    };
    let Some(assigned) = server.assigned_soon().await else {
        return (StatusCode::CONFLICT, "no session is assigned yet\n").into_response();
    };
    let upgrade = upgrade.protocols([TTY_R1, TTY]).max_message_size(MAX_CLIENT_FRAME).max_frame_size(MAX_CLIENT_FRAME);
    let Some(wire) = upgrade.selected_protocol().and_then(|name| Wire::of(name.to_str().ok()?)) else {
        return (StatusCode::BAD_REQUEST, format!("offer the subprotocol {TTY_R1} or {TTY}\n")).into_response();
    };
    // A client without a name is nobody's successor.
    let client = text(CLIENT_HEADER).map_or_else(|| format!("unnamed {}", uuid::Uuid::new_v4()), str::to_owned);
    upgrade.on_upgrade(move |socket| async move {
        viewer::serve(socket, &assigned.terminal, Who { client, role, wire }).await;
    })
}
