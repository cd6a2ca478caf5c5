//! A runner as the controller sees it: it calls home, takes an assignment as it was told to, reports, and ends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use controller::launcher::Launch;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use session::runner_api::{Assign, End, MoveDeadline, PROTOCOL_VERSION};
use session::{EndReason, Ended, RunnerId, SessionId, Stage};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

/// How an assignment is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Accept,
    /// The session is taken and the answer never comes.
    AcceptInSilence,
    /// Nothing is taken, and no answer comes.
    Silence,
    Refuse(StatusCode),
}

pub struct FakeRunner {
    pub id: RunnerId,
    pub secret: String,
    pub seen: Arc<Seen>,
    home: Option<Url>,
    stop: CancellationToken,
}

/// What the controller asked of it.
#[derive(Default)]
pub struct Seen {
    answers: Mutex<VecDeque<Answer>>,
    pub held: Mutex<Option<Assign>>,
    pub assigns: Mutex<Vec<(SessionId, u64)>>,
    pub ended: Mutex<Option<EndReason>>,
    /// Deadlines that it moved its timer to.
    pub deadlines: Mutex<Vec<MoveDeadline>>,
    /// It fails to take deadlines as long as this is set.
    pub fails: AtomicBool,
    /// Times that it was asked whether it is well.
    pub asked: AtomicUsize,
    secret: String,
}

impl FakeRunner {
    pub fn silent(id: RunnerId) -> Self {
        let secret = "0".repeat(64);
        Self { id, secret, seen: Arc::default(), home: None, stop: CancellationToken::new() }
    }

    pub async fn ready(launch: Launch, answers: Vec<Answer>) -> Self {
        let (mut runner, address) = Self::listening(launch.runner, answers).await;
        runner.call_home(launch, address);
        runner
    }

    /// A runner that listens, and has called nobody.
    pub async fn listening(id: RunnerId, answers: Vec<Answer>) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut runner = Self::silent(id);
        runner.secret = format!("{:064x}", uuid::Uuid::new_v4().as_u128());
        let secret = runner.secret.clone();
        runner.seen = Arc::new(Seen { answers: Mutex::new(answers.into()), secret, ..Seen::default() });
        let router =
            Router::new().route("/assign", put(assign)).route("/end", post(end)).route("/healthz", get(show_health));
        let router = router.route("/deadline", put(move_deadline)).with_state(Arc::clone(&runner.seen));
        tokio::spawn(service::serve(listener, router, service::ServeLimits::default(), runner.stop.clone()));
        (runner, address)
    }

    pub fn deaf(launch: Launch) -> Self {
        let mut runner = Self::silent(launch.runner);
        // Bound and closed again: nobody listens there.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        runner.call_home(launch, address);
        runner
    }

    fn call_home(&mut self, launch: Launch, address: String) {
        self.home = Some(launch.internal_url.clone());
        let ready = json!({"protocol": PROTOCOL_VERSION, "address": address, "secret": self.secret});
        let call = call(&launch.internal_url, self.id, "ready", launch.boot_token.expose().to_owned(), ready);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            // Refused where the test ended its session meanwhile.
            stop.run_until_cancelled(call).await;
        });
    }

    /// What calling home would have told it.
    pub fn reports_to(&mut self, controller: SocketAddr) {
        self.home = Some(super::url(controller));
    }

    /// Whether it has accepted this session.
    pub fn holds(&self, session: SessionId) -> bool {
        self.seen.held.lock().unwrap().as_ref().is_some_and(|held| held.session == session)
    }

    /// Reports, as the holder of the secret and the session.
    pub async fn report(&self, stage: Stage, ended: Option<Ended>) -> StatusCode {
        let (session, epoch) = *self.seen.assigns.lock().unwrap().last().expect("it was assigned");
        let mut body = json!({"session": session, "epoch": epoch, "stage": stage});
        if let Some(ended) = ended {
            body["ended"] = serde_json::to_value(ended).unwrap();
        }
        self.post("stage", body).await
    }

    pub async fn post(&self, what: &str, body: serde_json::Value) -> StatusCode {
        let home = self.home.clone().expect("it has a home");
        call(&home, self.id, what, self.secret.clone(), body).await
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn assigns(&self) -> usize {
        self.seen.assigns.lock().unwrap().len()
    }
}

/// Posts to the controller as a runner does.
pub fn call(
    home: &Url,
    id: RunnerId,
    what: &str,
    bearer: String,
    body: serde_json::Value,
) -> impl Future<Output = StatusCode> + use<> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{home}internal/runners/{id}/{what}");
    async move { client.post(url).bearer_auth(bearer).json(&body).send().await.unwrap().status() }
}

async fn assign(State(seen): State<Arc<Seen>>, headers: HeaderMap, Json(assign): Json<Assign>) -> StatusCode {
    assert_eq!(headers["authorization"], format!("Bearer {}", seen.secret));
    seen.assigns.lock().unwrap().push((assign.session, assign.epoch));
    let answer = seen.answers.lock().unwrap().pop_front().unwrap_or(Answer::Accept);
    let take = || {
        let mut held = seen.held.lock().unwrap();
        match &*held {
            Some(held) if (held.session, held.epoch) != (assign.session, assign.epoch) => StatusCode::CONFLICT,
            Some(_) => StatusCode::OK,
            None => {
                *held = Some(assign.clone());
                StatusCode::OK
            }
        }
    };
    match answer {
        Answer::Accept => take(),
        Answer::AcceptInSilence => {
            take();
            std::future::pending().await
        }
        Answer::Silence => std::future::pending().await,
        Answer::Refuse(status) => status,
    }
}

async fn show_health(State(seen): State<Arc<Seen>>, headers: HeaderMap) -> StatusCode {
    seen.asked.fetch_add(1, Ordering::SeqCst);
    let known = headers["authorization"] == format!("Bearer {}", seen.secret);
    if known { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

async fn end(State(seen): State<Arc<Seen>>, Json(end): Json<End>) -> StatusCode {
    if seen.held.lock().unwrap().as_ref().is_none_or(|held| held.session != end.session) {
        return StatusCode::CONFLICT;
    }
    *seen.ended.lock().unwrap() = Some(end.reason);
    StatusCode::ACCEPTED
}

async fn move_deadline(State(seen): State<Arc<Seen>>, Json(moved): Json<MoveDeadline>) -> StatusCode {
    if seen.fails.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let meant = |held: &Assign| (held.session, held.epoch) == (moved.session, moved.epoch);
    if !seen.held.lock().unwrap().as_ref().is_some_and(meant) {
        return StatusCode::CONFLICT;
    }
    seen.deadlines.lock().unwrap().push(moved);
    StatusCode::NO_CONTENT
}
