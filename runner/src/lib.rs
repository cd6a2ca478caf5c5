//! The supervisor of one session: it boots blank, calls home, is assigned, fetches the code, runs the command on a
//! pseudo-terminal, and shows that terminal to whoever the gateway sends. It serves one session and exits with the
//! command's exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use session::runner_api::Heartbeat;
use session::{EndReason, Ended, Secret};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use caches::Caches;
use controller::Controller;
use life::{Session, Surroundings};
use recording::Recording;
use reports::{Line, Reports};
use server::{Assigned, Server};
use settings::Settings;
use shield::OomScore;

pub mod boot;
pub mod caches;
pub mod clients;
pub mod code;
pub mod controller;
pub mod ending;
pub mod environment;
pub mod fetch;
pub mod files;
pub mod history;
pub mod home;
pub mod install;
pub mod life;
pub mod oom;
pub mod profile;
pub mod pty;
pub mod recording;
pub mod reports;
pub mod server;
pub mod settings;
pub mod shield;
pub mod signals;
pub mod terminal;
pub mod text;
pub mod tree;
pub mod viewer;

/// How long viewers may take to be sent what is left when the runner is told to stop.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// How long the end's report is tried while the controller or its database is away: nobody else knows the end.
const REPORT_LIMIT: Duration = Duration::from_secs(900);
/// How long the end of a recording is tried: the session is over, and only its runner stays for it.
const RECORDING_LIMIT: Duration = Duration::from_secs(60);
/// How long both are tried once the runner was told to stop: whoever stops one kills it before long.
const STOPPED_LIMIT: Duration = Duration::from_secs(10);
/// How long both are tried when the launcher is gone, and most likely the controller with it.
const ORPHAN_LIMIT: Duration = Duration::from_secs(1);

/// How long a blank runner waits for its session before it is taken for a standby.
const STANDBY_AFTER: Duration = Duration::from_secs(1);

/// What ends a runner from outside of its session.
struct Outside {
    stopped: CancellationToken,
    orphaned: CancellationToken,
    fenced: CancellationToken,
}

/// Runs to the end; the exit code is the command's own, and 0 for a runner that was never needed.
/// `orphaned` is cancelled when the launcher is gone.
pub async fn run(
    settings: Settings,
    boot_token: Secret,
    oom: OomScore,
    orphaned: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let stopped = signals::listen().context("signals cannot be listened for")?;
    // In a pod's empty volume there is none yet.
    std::fs::create_dir_all(&settings.home).with_context(|| format!("{} cannot be made", settings.home.display()))?;
    if settings.container
        && let Err(error) = profile::write(&settings.home)
    {
        tracing::warn!(%error, "login shells will not know the image's PATH");
    }
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let bound = listener.local_addr()?;
    let secret = boot::draw_secret();
    let (server, assigned) = Server::new(secret.clone(), settings.buffers.clone());
    let stopping = CancellationToken::new();
    let serving = tokio::spawn(server::serve(listener, Arc::clone(&server), stopping.clone()));

    let controller = Arc::new(Controller::new(settings.controller_url.clone(), settings.runner_id));
    let outside = Outside { stopped, orphaned, fenced: CancellationToken::new() };
    let address = settings.address.or_else(|| (!bound.ip().is_unspecified()).then(|| bound.ip()));
    tokio::select! {
        called = home::call(&controller, &boot_token, &secret, address, bound.port()) => called?,
        () = outside.any() => return Ok(ExitCode::SUCCESS),
    }
    tracing::info!(listening = %bound, "ready to be assigned");
    // Not before the call home, which somebody may be waiting for.
    let caches = Caches::prepare(settings.install_caches.clone(), &settings.home);
    let line = Line { controller, secret, fenced: outside.fenced.clone() };
    let code = serve_runner(&settings, &caches, &server, assigned, line, &oom, &outside).await;
    stopping.cancel();
    let _ = serving.await;
    Ok(ExitCode::from(code))
}

/// From being ready to the end; returns the exit code.
async fn serve_runner(
    settings: &Settings,
    caches: &Caches,
    server: &Arc<Server>,
    mut assigned: oneshot::Receiver<Session>,
    line: Line,
    oom: &OomScore,
    outside: &Outside,
) -> u8 {
    let beaten = Arc::clone(server);
    tokio::spawn(reports::beat(line.clone(), settings.heartbeat, move || heartbeat(&beaten)));
    let Some(session) = wait_for_session(&mut assigned, settings.max_idle, outside).await else { return 0 };
    let ended = serve_session(settings, caches, session, server, line, oom, outside).await;
    u8::try_from(ended.shell_code()).unwrap_or(1)
}

impl Outside {
    async fn any(&self) {
        tokio::select! {
            () = self.stopped.cancelled() => {}
            () = self.orphaned.cancelled() => {}
            () = self.fenced.cancelled() => {}
        }
    }

    /// The end that the first of them means to a session.
    async fn ended(&self) -> (EndReason, &'static str) {
        tokio::select! {
            // By whom and why, such as an eviction, the controller knows better.
            () = self.stopped.cancelled() => (EndReason::RunnerLost, "The runner was told to stop."),
            () = self.orphaned.cancelled() => (EndReason::RunnerLost, "The runner's launcher is gone."),
            () = self.fenced.cancelled() => (EndReason::RunnerLost, "The controller has given this runner up."),
        }
    }
}

/// `None` when the runner was told to stop, or was not needed for too long.
async fn wait_for_session(
    assigned: &mut oneshot::Receiver<Session>,
    max_idle: Duration,
    outside: &Outside,
) -> Option<Session> {
    tokio::select! {
        session = &mut *assigned => session.ok(),
        () = outside.any() => None,
        () = stand_by() => None,
        () = tokio::time::sleep(max_idle) => {
            tracing::info!("never assigned");
            // An assignment that arrives at this moment is either taken or refused, never lost.
            assigned.close();
            assigned.try_recv().ok()
        }
    }
}

/// A standby has resident what it needs to wait; a cold start has its session before this does anything. Never returns.
async fn stand_by() {
    tokio::time::sleep(STANDBY_AFTER).await;
    if let Err(error) = text::forget() {
        tracing::debug!(%error, "what only the start needed stays resident");
    }
    std::future::pending().await
}

async fn serve_session(
    settings: &Settings,
    caches: &Caches,
    session: Session,
    server: &Server,
    line: Line,
    oom: &OomScore,
    outside: &Outside,
) -> Ended {
    let (id, epoch) = (session.assign.session, session.assign.epoch);
    tracing::info!(session = %id, epoch, "assigned");
    let recording = Recording::start(line.clone(), &session.assign, &session.terminal);
    let reports = Reports::new(line, id, epoch);
    let ended = live_until_told(session, settings, caches, oom, &reports, outside).await;
    tracing::info!(session = %id, reason = %ended.reason, code = ended.exit_code, signal = ended.signal, "ended");
    let assigned = server.assigned();
    let cancelled = ended.reason == EndReason::Cancelled;
    let reported = reports.ended(ended.clone(), settings.linger.max(REPORT_LIMIT));
    let stayed = linger(settings.linger, cancelled, assigned, outside);
    let recorded = async {
        if let Some(recording) = recording {
            recording.finish(settings.linger.max(RECORDING_LIMIT)).await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(reported, stayed, recorded) } => {}
        () = async { outside.stopped.cancelled().await; tokio::time::sleep(STOPPED_LIMIT).await } => {}
        () = async { outside.orphaned.cancelled().await; tokio::time::sleep(ORPHAN_LIMIT).await } => {}
    }
    ended
}

async fn live_until_told(
    session: Session,
    settings: &Settings,
    caches: &Caches,
    oom: &OomScore,
    reports: &Reports,
    outside: &Outside,
) -> Ended {
    let ender = session.ender.clone();
    let Settings { workspace, home, container, .. } = settings;
    let around = Surroundings { workspace, home, caches, container: *container, oom, reports };
    let living = life::live(session, around);
    tokio::pin!(living);
    tokio::select! {
        ended = &mut living => ended,
        (reason, message) = outside.ended() => {
            ender.end(reason, message);
            living.await
        }
    }
}

/// Stays for those who come late to read the result, and for those who have not had all of it yet.
async fn linger(linger: Duration, cancelled: bool, assigned: Option<Arc<Assigned>>, outside: &Outside) {
    let Some(assigned) = assigned else { return };
    let terminal = &assigned.terminal;
    tokio::select! {
        () = tokio::time::sleep(linger) => {}
        () = outside.any() => {}
        () = assigned.ender.hurried() => {}
        // Whoever cancelled it does not come back for its result.
        () = async { if cancelled { terminal.deserted().await } else { std::future::pending().await } } => {}
    }
    let served = async { tokio::join!(terminal.deserted(), assigned.files.idle()) };
    let _ = tokio::time::timeout(FLUSH_LIMIT, served).await;
}

fn heartbeat(server: &Server) -> Heartbeat {
    match server.assigned() {
        None => Heartbeat { session: None, epoch: 0, operators: 0, quiet_ms: 0 },
        Some(assigned) => Heartbeat {
            session: Some(assigned.session),
            epoch: assigned.epoch,
            operators: u32::try_from(assigned.terminal.operators()).unwrap_or(u32::MAX),
            quiet_ms: u64::try_from(assigned.terminal.quiet().as_millis()).unwrap_or(u64::MAX),
        },
    }
}
