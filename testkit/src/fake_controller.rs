//! A controller's internal port for a runner under test: it takes the call home, keeps every report, and can be made
//! to refuse or to fail. Assigning and ending go to the runner as the real controller does it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::routing::{post, put};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use session::recording::MAX_CHUNK;
use session::runner_api::{Assign, End, Heartbeat, MoveDeadline, Ready, StageReport};
use session::spec::DEFAULT_TEMPLATE;
use session::{EndReason, Ended, RunnerId, SessionId, SessionSpec, Stage};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A session with the API's defaults.
pub fn spec(code_url: impl Into<String>, command: impl Into<String>) -> SessionSpec {
    SessionSpec {
        code_url: code_url.into(),
        command: command.into(),
        install_cmd: None,
        checksum_sha256: None,
        labels: BTreeMap::new(),
        cols: 80,
        rows: 24,
        ttl_secs: 3600,
        idle_secs: 900,
        in_place: false,
        share: true,
        max_ttl_secs: 86_400,
        record: Default::default(),
        template: DEFAULT_TEMPLATE.to_owned(),
    }
}

/// Everything that the runner has said so far.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub ready: Option<Ready>,
    pub stages: Vec<StageReport>,
    pub heartbeats: Vec<Heartbeat>,
    /// The recording's chunks, by their number.
    pub chunks: BTreeMap<u64, KeptChunk>,
    /// Chunks that came, those included that were answered as [`FakeController::answer_chunks_with`] says.
    pub chunk_calls: u32,
    /// Calls that were answered as [`FakeController::answer_with`] says.
    pub turned_away: u32,
}

/// A piece of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptChunk {
    pub epoch: u64,
    pub offset: u64,
    pub last: bool,
    pub lines: Bytes,
}

impl Heard {
    /// The recording as far as it has come.
    pub fn recording(&self) -> String {
        let bytes: Vec<u8> = self.chunks.values().flat_map(|chunk| chunk.lines.iter().copied()).collect();
        String::from_utf8(bytes).expect("a recording is UTF-8")
    }

    /// Whether the last chunk has come.
    pub fn is_recorded(&self) -> bool {
        self.chunks.last_key_value().is_some_and(|(_, chunk)| chunk.last)
    }

    pub fn ended(&self) -> Option<Ended> {
        self.stages.iter().find_map(|report| report.ended.clone())
    }

    pub fn stage_names(&self) -> Vec<Stage> {
        self.stages.iter().map(|report| report.stage).collect()
    }
}

struct Shared {
    runner: RunnerId,
    boot_token: String,
    heard: watch::Sender<Heard>,
    /// Answered to every call instead of the proper answer.
    answer: Mutex<Option<StatusCode>>,
    /// The same for chunks of recordings alone.
    chunk_answer: Mutex<Option<StatusCode>>,
}

/// Dropping it stops it.
pub struct FakeController {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl FakeController {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            runner: RunnerId::new(),
            boot_token: format!("boot-{}", uuid::Uuid::new_v4().simple()),
            heard: watch::Sender::default(),
            answer: Mutex::default(),
            chunk_answer: Mutex::default(),
        });
        let app = Router::new()
            .route("/internal/runners/{id}/ready", post(take_ready))
            .route("/internal/runners/{id}/stage", post(take_stage))
            .route("/internal/runners/{id}/heartbeat", post(take_heartbeat))
            .route("/internal/runners/{id}/recording/{epoch}/{number}", put(take_chunk))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { shared, address, serving })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn runner(&self) -> RunnerId {
        self.shared.runner
    }

    pub fn boot_token(&self) -> &str {
        &self.shared.boot_token
    }

    pub fn heard(&self) -> Heard {
        self.shared.heard.borrow().clone()
    }

    /// Answers every call with `status` from now on; `None` makes it well again.
    pub fn answer_with(&self, status: Option<StatusCode>) {
        *self.shared.answer.lock().unwrap() = status;
    }

    /// The same for the recording's chunks alone.
    pub fn answer_chunks_with(&self, status: Option<StatusCode>) {
        *self.shared.chunk_answer.lock().unwrap() = status;
    }

    /// Waits until `found` finds something in what was heard.
    pub async fn wait_for<T>(&self, limit: Duration, found: impl Fn(&Heard) -> Option<T>) -> anyhow::Result<T> {
        let mut heard = self.shared.heard.subscribe();
        let wait = async { heard.wait_for(|heard| found(heard).is_some()).await.map(|heard| found(&heard)) };
        match tokio::time::timeout(limit, wait).await {
            Ok(Ok(Some(found))) => Ok(found),
            Ok(_) => bail!("the controller is gone"),
            Err(_) => bail!("not heard within {limit:?}: {:?}", self.heard()),
        }
    }

    pub async fn wait_ready(&self) -> anyhow::Result<Ready> {
        self.wait_for(Duration::from_secs(20), |heard| heard.ready.clone()).await
    }

    pub async fn wait_stage(&self, stage: Stage) -> anyhow::Result<()> {
        self.wait_for(Duration::from_secs(30), |heard| heard.stage_names().contains(&stage).then_some(())).await
    }

    pub async fn wait_ended(&self) -> anyhow::Result<Ended> {
        self.wait_for(Duration::from_secs(60), Heard::ended).await
    }

    /// `PUT /assign`; returns the runner's answer.
    pub async fn assign(&self, assign: &Assign) -> anyhow::Result<StatusCode> {
        self.call(http::Method::PUT, "assign", assign).await
    }

    /// `POST /end`; returns the runner's answer.
    pub async fn end(&self, session: SessionId, reason: EndReason) -> anyhow::Result<StatusCode> {
        self.call(http::Method::POST, "end", &End { session, reason }).await
    }

    /// `PUT /deadline`; returns the runner's answer.
    pub async fn move_deadline(&self, moved: &MoveDeadline) -> anyhow::Result<StatusCode> {
        self.call(http::Method::PUT, "deadline", moved).await
    }

    async fn call(&self, method: http::Method, path: &str, body: &impl Serialize) -> anyhow::Result<StatusCode> {
        let ready = self.heard().ready.context("the runner has not called home")?;
        let url = format!("http://{}/{path}", ready.address);
        crate::plain_http::send(method, &url, Some(ready.secret.expose()), body).await
    }
}

impl Drop for FakeController {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Answer = Result<StatusCode, StatusCode>;

impl Shared {
    fn admit(&self, id: &str, headers: &HeaderMap, bearer: Option<&str>) -> Result<(), StatusCode> {
        if let Some(status) = *self.answer.lock().unwrap() {
            self.heard.send_modify(|heard| heard.turned_away += 1);
            return Err(status);
        }
        if id != self.runner.to_string() {
            return Err(StatusCode::NOT_FOUND);
        }
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if given.is_some() && given == bearer { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
    }

    fn secret(&self) -> Option<String> {
        self.heard.borrow().ready.as_ref().map(|ready| ready.secret.expose().to_owned())
    }
}

async fn take_ready(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(ready): Json<Ready>,
) -> Answer {
    shared.admit(&id, &headers, Some(&shared.boot_token))?;
    match shared.secret() {
        Some(secret) if secret != ready.secret.expose() => Err(StatusCode::CONFLICT),
        _ => {
            shared.heard.send_modify(|heard| heard.ready = Some(ready));
            Ok(StatusCode::OK)
        }
    }
}

async fn take_stage(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(report): Json<StageReport>,
) -> Answer {
    shared.admit(&id, &headers, shared.secret().as_deref())?;
    shared.heard.send_modify(|heard| heard.stages.push(report));
    Ok(StatusCode::NO_CONTENT)
}

async fn take_heartbeat(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(heartbeat): Json<Heartbeat>,
) -> Answer {
    shared.admit(&id, &headers, shared.secret().as_deref())?;
    shared.heard.send_modify(|heard| heard.heartbeats.push(heartbeat));
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct ChunkPlace {
    offset: u64,
    #[serde(default)]
    last: bool,
}

/// Takes what continues the recording, or is the same as before; anything else is a bad request.
async fn take_chunk(
    State(shared): State<Arc<Shared>>,
    Path((id, epoch, number)): Path<(String, u64, u64)>,
    Query(ChunkPlace { offset, last }): Query<ChunkPlace>,
    headers: HeaderMap,
    lines: Bytes,
) -> Answer {
    shared.heard.send_modify(|heard| heard.chunk_calls += 1);
    shared.admit(&id, &headers, shared.secret().as_deref())?;
    let whole_lines = lines.is_empty() || lines.ends_with(b"\n");
    let chunk = KeptChunk { epoch, offset, last, lines };
    let (before, is_next) = {
        let heard = shared.heard.borrow();
        let before: usize = heard.chunks.range(..number).map(|(_, chunk)| chunk.lines.len()).sum();
        (before as u64, heard.chunks.len() as u64 == number || heard.chunks.get(&number) == Some(&chunk))
    };
    if chunk.lines.len() > MAX_CHUNK || !whole_lines || before != offset || !is_next {
        return Err(StatusCode::BAD_REQUEST);
    }
    if let Some(status) = *shared.chunk_answer.lock().unwrap() {
        return Err(status);
    }
    shared.heard.send_modify(|heard| drop(heard.chunks.insert(number, chunk)));
    Ok(StatusCode::NO_CONTENT)
}
