//! Simulated runners, all of them in this process: each has a loopback address of its own, calls home from there, takes its
//! session, reports, and sends heartbeats as runners do, over a new connection each, since the controller keeps none idle
//! for that long.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use session::runner_api::{Assign, Heartbeat, PROTOCOL_VERSION, Ready, StageReport};
use session::{EndReason, Ended, RunnerId, Secret, SessionId, Stage};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;

use crate::http::Connection;
use crate::idle_launcher::News;
use crate::installation::{Installation, LaunchNews};

/// A runner's own default, here without jitter: each begins at another moment.
const HEARTBEAT: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Fleet {
    home: SocketAddr,
    port: u16,
    /// Runners that have called home, and what they were assigned is sent to.
    waiting: RefCell<HashMap<IpAddr, oneshot::Sender<Assign>>>,
    running: RefCell<HashMap<SessionId, oneshot::Sender<()>>>,
    ended: Cell<usize>,
    destroyed: Cell<usize>,
    heartbeats: Cell<usize>,
    changed: Notify,
    failed: RefCell<Option<anyhow::Error>>,
}

impl Fleet {
    /// Plays every runner that the installation's launcher is asked for.
    pub async fn start(installation: &Installation) -> Result<Rc<Self>> {
        let socket = TcpSocket::new_v4()?;
        // On all addresses of the loopback device and on no other's.
        socket.bind_device(Some(b"lo"))?;
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let listener = socket.listen(1024)?;
        let fleet = Rc::new(Self {
            home: installation.internal,
            port: listener.local_addr()?.port(),
            waiting: RefCell::default(),
            running: RefCell::default(),
            ended: Cell::new(0),
            destroyed: Cell::new(0),
            heartbeats: Cell::new(0),
            changed: Notify::new(),
            failed: RefCell::default(),
        });
        spawn_local(Rc::clone(&fleet).serve(listener));
        Ok(fleet)
    }

    /// Reads the launcher's news for as long as the controller runs.
    pub async fn follow(self: Rc<Self>, mut news: LaunchNews) -> Result<()> {
        let mut count = 0;
        while let Some(line) = news.next_line().await? {
            match News::read(&line).with_context(|| format!("no news: {line}"))? {
                News::Launched(runner, token) => {
                    count += 1;
                    spawn_local(Rc::clone(&self).play(runner, token, address(count)));
                }
                News::Destroyed(_) => self.count(&self.destroyed),
            }
        }
        anyhow::bail!("the controller has ended")
    }

    pub fn running(&self) -> usize {
        self.running.borrow().len()
    }

    pub fn ended(&self) -> usize {
        self.ended.get()
    }

    pub fn destroyed(&self) -> usize {
        self.destroyed.get()
    }

    pub fn heartbeats(&self) -> usize {
        self.heartbeats.get()
    }

    /// Has a session's command exit.
    pub fn end(&self, session: SessionId) -> Result<()> {
        let runner = self.running.borrow_mut().remove(&session).context("a running session")?;
        ensure!(runner.send(()).is_ok(), "its runner is gone");
        Ok(())
    }

    pub fn runs(&self, session: SessionId) -> bool {
        self.running.borrow().contains_key(&session)
    }

    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(error) = self.failed.take() {
                return Err(error.context("a runner"));
            }
            if is_so(self) {
                return Ok(());
            }
            let changed = tokio::time::timeout_at(deadline, self.changed.notified()).await;
            ensure!(changed.is_ok(), "in vain: {what}");
        }
    }

    fn count(&self, of: &Cell<usize>) {
        of.set(of.get() + 1);
        self.changed.notify_waiters();
    }

    async fn play(self: Rc<Self>, id: RunnerId, token: Secret, address: Ipv4Addr) {
        let secret = id.to_string().replace('-', "").repeat(2);
        let runner = Runner { fleet: &self, id, address, secret };
        if let Err(error) = runner.live(token).await {
            self.failed.replace(Some(error));
            self.changed.notify_waiters();
        }
    }

    async fn serve(self: Rc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(own) = stream.local_addr() else { continue };
            let fleet = Rc::clone(&self);
            spawn_local(async move {
                let answer = service_fn(|request| fleet.answer(own.ip(), request));
                // The controller closes what it no longer needs.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    }

    /// Everything that the controller asks of a runner is granted; an assignment is what it asks first.
    async fn answer(&self, runner: IpAddr, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        if let Ok(assign) = serde_json::from_slice(&body)
            && let Some(waiting) = self.waiting.borrow_mut().remove(&runner)
        {
            // Whoever waits has failed otherwise, and said so.
            let _ = waiting.send(assign);
        }
        Ok(Response::new(Empty::new()))
    }
}

/// The runner of this number: 127.1.0.1 and on.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + number)
}

struct Runner<'a> {
    fleet: &'a Fleet,
    id: RunnerId,
    address: Ipv4Addr,
    secret: String,
}

impl Runner<'_> {
    async fn live(&self, boot_token: Secret) -> Result<()> {
        let fleet = self.fleet;
        let (assigned, assignment) = oneshot::channel();
        fleet.waiting.borrow_mut().insert(self.address.into(), assigned);
        let address = (self.address, fleet.port).into();
        let ready = Ready { protocol: PROTOCOL_VERSION, address, secret: Secret::new(self.secret.as_str()) };
        self.call("ready", boot_token.expose(), &ready).await?;
        let Assign { session, epoch, .. } = assignment.await.context("an assignment")?;
        for stage in [Stage::Fetching, Stage::Running] {
            self.report(&StageReport { session, epoch, stage, ended: None }).await?;
        }
        let (exit, mut exited) = oneshot::channel();
        fleet.running.borrow_mut().insert(session, exit);
        fleet.changed.notify_waiters();
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + self.first_beat(), HEARTBEAT);
        loop {
            tokio::select! {
                _ = &mut exited => break,
                _ = beat.tick() => {
                    let alive = Heartbeat { session: Some(session), epoch, operators: 1, quiet_ms: 0 };
                    self.call("heartbeat", &self.secret, &alive).await?;
                    fleet.heartbeats.set(fleet.heartbeats.get() + 1);
                }
            }
        }
        let ended = Ended { exit_code: Some(0), ..Ended::because(EndReason::Exited, "") };
        self.report(&StageReport { session, epoch, stage: Stage::Ended, ended: Some(ended) }).await?;
        fleet.count(&fleet.ended);
        Ok(())
    }

    /// Spread over the time between two of them.
    fn first_beat(&self) -> Duration {
        const GOLDEN: f64 = 0.618_034;
        HEARTBEAT.mul_f64((f64::from(self.address.to_bits()) * GOLDEN).fract())
    }

    async fn report(&self, report: &StageReport) -> Result<()> {
        self.call("stage", &self.secret, report).await
    }

    async fn call(&self, what: &str, bearer: &str, body: &impl Serialize) -> Result<()> {
        let path = format!("/internal/runners/{}/{what}", self.id);
        Connection::open(self.address, self.fleet.home).await?.post(&path, bearer, body).await?;
        Ok(())
    }
}
