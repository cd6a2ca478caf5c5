//! An API server that answers as it is told. What was not scripted is answered as by an empty cluster where the
//! launcher asks by itself, and is a failure otherwise; so is a scripted answer that nobody asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use controller::launcher::kubernetes::{
    Folders, KubernetesConfig, KubernetesLauncher, PodSettings, PodTemplate, Resources,
};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use session::RunnerId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Anything that takes longer has failed.
pub const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    ListJobs,
    ListPods,
    ListEvents,
    WatchJobs,
    WatchPods,
    WatchEvents,
    ExistingJobs,
    CreateJob,
    GetJob,
    DeleteJob,
    Ready,
    Other,
}

pub enum Answer {
    Json(u16, Value),
    RetryAfter(u16, u64),
    /// The lines of a watch, which then stays open and silent.
    Lines(Vec<Value>),
    /// Never.
    Silence,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub route: Route,
    pub query: String,
    pub body: Value,
    pub at: tokio::time::Instant,
}

#[derive(Default)]
struct Scenario {
    answers: HashMap<Route, VecDeque<Answer>>,
    /// Every call is answered by this code.
    down: Option<u16>,
    unscripted: Vec<Route>,
}

pub struct ApiServer {
    scenario: Arc<Mutex<Scenario>>,
    calls: Arc<watch::Sender<Vec<Call>>>,
    url: String,
    serving: JoinHandle<()>,
}

type Shared = (Arc<Mutex<Scenario>>, Arc<watch::Sender<Vec<Call>>>);

impl ApiServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared: Shared = (Arc::default(), Arc::new(watch::Sender::new(Vec::new())));
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { scenario: shared.0, calls: shared.1, url, serving }
    }

    /// Scripts the next answer of a route.
    pub fn expect(&self, route: Route, answer: Answer) {
        self.scenario.lock().unwrap().answers.entry(route).or_default().push_back(answer);
    }

    /// From now on every call is answered by this code, or again as scripted.
    pub fn set_down(&self, code: Option<u16>) {
        self.scenario.lock().unwrap().down = code;
    }

    pub fn calls(&self, route: Route) -> Vec<Call> {
        self.calls.borrow().iter().filter(|call| call.route == route).cloned().collect()
    }

    pub fn forget_calls(&self) {
        self.calls.send_replace(Vec::new());
    }

    /// Waits for the `count`th call of a route.
    pub async fn called(&self, route: Route, count: usize) {
        let mut calls = self.calls.subscribe();
        let enough = calls.wait_for(|calls| calls.iter().filter(|call| call.route == route).count() >= count);
        drop(tokio::time::timeout(LIMIT, enough).await.unwrap_or_else(|_| panic!("no call {count} of {route:?}")));
    }

    pub fn launcher(&self, change: impl FnOnce(&mut KubernetesConfig)) -> KubernetesLauncher {
        let mut config = KubernetesConfig {
            namespace: Some("sandboxes".to_owned()),
            instance: "blue".to_owned(),
            templates: KubernetesConfig::templates_of(
                PodSettings {
                    image: "runner:1".to_owned(),
                    installer_image: None,
                    folders: Folders::default(),
                    resources: Resources::default(),
                    linger: Duration::from_secs(60),
                    heartbeat: Duration::from_secs(60),
                    max_idle: Duration::from_secs(60),
                    max_ttl: Duration::from_secs(60),
                },
                PodTemplate::default(),
            ),
            ttl_after_finished: Duration::from_secs(60),
            unschedulable_after: Duration::from_secs(60),
            list_every: Duration::from_secs(600),
            request_timeout: Duration::from_secs(5),
        };
        change(&mut config);
        KubernetesLauncher::with_cluster(kube::Config::new(self.url.parse().unwrap()), config).unwrap()
    }

    /// Nothing was asked for that the script does not have, and nothing of the script is left.
    pub fn finish(self) {
        let scenario = self.scenario.lock().unwrap();
        assert!(scenario.unscripted.is_empty(), "not in the script: {:?}", scenario.unscripted);
        let left: Vec<_> =
            scenario.answers.iter().filter(|(_, left)| !left.is_empty()).map(|(route, _)| route).collect();
        assert!(left.is_empty(), "never asked for: {left:?}");
        self.serving.abort();
    }
}

async fn answer(State((scenario, calls)): State<Shared>, request: Request) -> Response {
    let route = route_of(&request);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let answer = scenario.lock().unwrap().next(route);
    calls.send_modify(|calls| calls.push(Call { route, query, body, at: tokio::time::Instant::now() }));
    match answer {
        Answer::Json(code, value) => response(code, Body::from(value.to_string())),
        Answer::RetryAfter(code, seconds) => {
            let mut response = response(code, Body::from("Too many requests, please try again later."));
            response.headers_mut().insert("retry-after", seconds.into());
            response
        }
        Answer::Lines(lines) => {
            let lines = stream::iter(lines).map(|line| Ok::<_, std::io::Error>(Bytes::from(format!("{line}\n"))));
            response(200, Body::from_stream(lines.chain(stream::pending())))
        }
        Answer::Silence => std::future::pending().await,
    }
}

impl Scenario {
    fn next(&mut self, route: Route) -> Answer {
        if let Some(code) = self.down {
            return Answer::Json(code, status(code, "ServiceUnavailable", "down"));
        }
        if let Some(answer) = self.answers.get_mut(&route).and_then(VecDeque::pop_front) {
            return answer;
        }
        match route {
            Route::ListJobs | Route::ListPods | Route::ListEvents => Answer::Json(200, list(vec![])),
            Route::WatchJobs | Route::WatchPods | Route::WatchEvents => Answer::Lines(vec![]),
            Route::Ready => Answer::Json(200, json!("ok")),
            _ => {
                self.unscripted.push(route);
                Answer::Json(404, status(404, "NotFound", "not in the script"))
            }
        }
    }
}

fn route_of(request: &Request) -> Route {
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let metadata = request
        .headers()
        .get("accept")
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("PartialObjectMetadataList")));
    const JOBS: &str = "/apis/batch/v1/namespaces/sandboxes/jobs";
    match (request.method().as_str(), request.uri().path(), watches) {
        ("GET", JOBS, true) => Route::WatchJobs,
        ("GET", JOBS, false) if metadata => Route::ExistingJobs,
        ("GET", JOBS, false) => Route::ListJobs,
        ("POST", JOBS, _) => Route::CreateJob,
        ("GET", path, _) if path.starts_with(JOBS) => Route::GetJob,
        ("DELETE", path, _) if path.starts_with(JOBS) => Route::DeleteJob,
        ("GET", "/api/v1/namespaces/sandboxes/pods", true) => Route::WatchPods,
        ("GET", "/api/v1/namespaces/sandboxes/pods", false) => Route::ListPods,
        ("GET", "/api/v1/namespaces/sandboxes/events", true) => Route::WatchEvents,
        ("GET", "/api/v1/namespaces/sandboxes/events", false) => Route::ListEvents,
        ("GET", "/readyz", _) => Route::Ready,
        _ => Route::Other,
    }
}

fn response(code: u16, body: Body) -> Response {
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

pub fn list(items: Vec<Value>) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": items})
}

pub fn job(runner: RunnerId, instance: &str, conditions: Value) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("cliscale-runner-{runner}"),
            "uid": "job-uid",
            "resourceVersion": "5",
            "labels": {"app.kubernetes.io/instance": instance, "cliscale.dev/runner": runner},
        },
        "spec": {"template": {}},
        "status": {"conditions": conditions},
    })
}

pub fn pod(runner: RunnerId, status: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "uid": "pod-uid", "resourceVersion": "6", "labels": {"cliscale.dev/runner": runner}},
        "status": status,
    })
}
