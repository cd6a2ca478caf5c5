//! Creating sessions while nothing can be launched, and while the server stops.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use controller::launcher::{Launch, LaunchError, Launcher, LauncherKind, Unavailable};
use http::StatusCode;
use session::{RunnerId, Secret};
use store::{Digest, NewRunner, ReadyOutcome, RunnerCall, Store, Time};

use crate::stack::{Options, Stack, request_body};

/// A cluster that can be taken away.
#[derive(Default)]
pub struct Engine {
    away: AtomicBool,
    launches: AtomicUsize,
    alive: Mutex<Vec<RunnerId>>,
}

#[async_trait]
impl Launcher for Engine {
    fn kind(&self) -> LauncherKind {
        LauncherKind::Kubernetes
    }

    fn available(&self) -> Result<(), Unavailable> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Unavailable { reason: "the cluster is away", retry_after: Duration::from_secs(7) }),
            false => Ok(()),
        }
    }

    async fn launch(&self, request: Launch) -> Result<String, LaunchError> {
        self.launches.fetch_add(1, Ordering::SeqCst);
        self.alive.lock().unwrap().push(request.runner);
        Ok("job".to_owned())
    }

    async fn alive(&self) -> Result<Vec<RunnerId>, LaunchError> {
        Ok(self.alive.lock().unwrap().clone())
    }

    async fn destroy(&self, _: RunnerId, _: Option<&str>) -> Result<(), LaunchError> {
        Ok(())
    }
}

pub async fn start() -> (Stack, Arc<Engine>) {
    let engine = Arc::new(Engine::default());
    let launcher = Some(Arc::clone(&engine) as Arc<dyn Launcher>);
    (Stack::with(Options { launcher, ..Options::default() }).await, engine)
}

pub async fn add_standby(store: &dyn Store) -> RunnerId {
    let (id, boot_token) = (RunnerId::new(), Digest::of(b"token"));
    testkit::standby::add(store, NewRunner { id, boot_token }).await;
    let call = RunnerCall { id, boot_token, secret: Secret::new("5".repeat(64)), address: "127.0.0.1:1".to_owned() };
    let ready = store.runner_ready(call, Time::now()).await.unwrap();
    assert_eq!(ready, ReadyOutcome::Accepted { session: None });
    id
}

#[tokio::test]
async fn while_nothing_can_be_launched_a_creation_is_put_off_and_names_the_part_that_is_away() {
    let (stack, engine) = start().await;
    engine.away.store(true, Ordering::SeqCst);
    let with_key = [("idempotency-key", "k")];
    let answer = stack.post_with("/api/sessions", request_body(), &with_key, "127.0.0.1:5").await;
    assert_eq!(answer.problem("unavailable")["detail"], "the cluster is away; nothing was changed");
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "7"));
    assert_eq!(stack.store.sessions(store::Filter::default()).await.unwrap(), []);
    assert_eq!(stack.store.runners().await.unwrap(), []);
    // The same request, when it is back.
    engine.away.store(false, Ordering::SeqCst);
    let first = stack.post_with("/api/sessions", request_body(), &with_key, "127.0.0.1:5").await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    // And its repeat, when it is away again: the session is there.
    engine.away.store(true, Ordering::SeqCst);
    let repeat = stack.post_with("/api/sessions", request_body(), &with_key, "127.0.0.1:5").await;
    assert_eq!(repeat.status, StatusCode::OK, "{}", repeat.text);
    assert_eq!(repeat.json()["sessionId"], first.json()["sessionId"]);
    // What is wrong with a request is said before that.
    assert_eq!(stack.post("/api/sessions", "{}").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_runner_that_waits_ready_is_given_out_though_nothing_can_be_launched() {
    let (stack, engine) = start().await;
    engine.away.store(true, Ordering::SeqCst);
    let standby = add_standby(&*stack.store).await;
    let created = stack.create(request_body()).await;
    let id = created["sessionId"].as_str().unwrap().parse().unwrap();
    assert_eq!(stack.store.session(id).await.unwrap().unwrap().runner, Some(standby));
    assert_eq!(engine.launches.load(Ordering::SeqCst), 0);
    stack.post("/api/sessions", request_body()).await.problem("unavailable");
}

#[tokio::test]
async fn a_server_that_stops_puts_new_creations_off() {
    let stack = Stack::start().await;
    stack.begin_to_stop();
    let answer = stack.post("/api/sessions", request_body()).await;
    assert_eq!(answer.problem("unavailable")["detail"], "this server is stopping; nothing was changed");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(stack.store.sessions(store::Filter::default()).await.unwrap(), []);
    assert_eq!(stack.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
