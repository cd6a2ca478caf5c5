//! One terminal connection, from the upgrade request to its end: admission, the 101 answer, waiting, the bridge.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use service::Problem;
use session::frames::{ServerFrame, Wire, close};
use session::{ProblemType, SessionId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::admission::{Admitted, explain, session_unknown};
use crate::bridge::{self, Boundary, Ending};
use crate::client::{ClientSocket, Interrupt};
use crate::handshake::{self, Offers};
use crate::metrics::EndedBy;
use crate::waiting::{self, Reached};
use crate::{Inner, origin};

/// RFC 6455, 7.4.1.
mod code {
    pub const MALFORMED: u16 = 1002;
    pub const TOO_BIG: u16 = 1009;
}

/// Why a terminal that was there is not any more, for clients that come back.
const RUNNER_LOST: &str = "runner_lost";
const DRAINING: &str = "draining";
/// How long a session whose runner vanished may take to be recorded as ended.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Answers an upgrade request.
pub async fn open_terminal(
    gateway: Arc<Inner>,
    session: Option<SessionId>,
    token: Option<String>,
    mut request: Request,
) -> Response {
    let accepted = match handshake::accept(&request) {
        Ok(accepted) => accepted,
        Err(problem) => return problem.into_response(),
    };
    let offers = Offers::of(request.headers());
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Problem::new(ProblemType::InvalidRequest, "this connection cannot be upgraded").into_response();
    };
    match admit(&gateway, session, token.as_deref(), &offers, request.headers()).await {
        Ok((admitted, permit)) => accept(gateway, admitted, permit, accepted, upgrade),
        Err(refusal) => refuse(&gateway, refusal, &offers, accepted, upgrade),
    }
}

/// Why nobody enters: the HTTP answer, and what a client of ours is closed with instead.
struct Refusal {
    problem: Problem,
    code: u16,
    reason: &'static str,
}

impl Refusal {
    /// As an open terminal is told: it comes at once, to another gateway.
    fn draining() -> Self {
        let problem = Problem::new(ProblemType::Unavailable, "this gateway is stopping").retry_after(1);
        Self { problem, code: close::DRAINING, reason: DRAINING }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let kind = problem.kind;
        Self { problem, code: kind.close_code(), reason: kind.as_str() }
    }
}

/// The checks, cheapest first. Only the last one uses a token up.
async fn admit(
    gateway: &Arc<Inner>,
    session: Option<SessionId>,
    token: Option<&str>,
    offers: &Offers,
    headers: &HeaderMap,
) -> Result<(Admitted, OwnedSemaphorePermit), Refusal> {
    let config = &gateway.config;
    if !origin::may_connect(headers, &config.public, &config.embed_origins) {
        return Err(explain(ProblemType::ForbiddenOrigin).into());
    }
    let session = session.ok_or_else(session_unknown)?;
    if gateway.shutdown.is_stopping() {
        return Err(Refusal::draining());
    }
    let permit = Arc::clone(&gateway.room).try_acquire_owned().map_err(|_| explain(ProblemType::TooManyConnections))?;
    let admitted = gateway.admission.admit(session, token, offers).await?;
    Ok((admitted, permit))
}

fn accept(
    gateway: Arc<Inner>,
    admitted: Admitted,
    permit: OwnedSemaphorePermit,
    mut accepted: Response,
    upgrade: OnUpgrade,
) -> Response {
    gateway.metrics.admitted(admitted.entry);
    tracing::info!(session = %admitted.route.session, client = %admitted.client, role = %admitted.role,
        wire = admitted.wire.as_str(), entry = ?admitted.entry, "admitted");
    handshake::select_protocol(&mut accepted, admitted.wire);
    let shutdown = gateway.shutdown.clone();
    shutdown.spawn(async move {
        let _open = gateway.metrics.open_connection();
        let (session, client) = (admitted.route.session, admitted.client);
        let by = match timeout(gateway.config.handshake_timeout, upgrade).await {
            Ok(Ok(upgraded)) => {
                // What drains is this terminal alone; the others have moments of their own.
                let place = gateway.drain.enter();
                let socket = ClientSocket::new(TokioIo::new(upgraded), admitted.wire, place.told().clone());
                serve_terminal(&gateway, socket, admitted, place.told()).await
            }
            Ok(Err(_)) | Err(_) => EndedBy::ClientError,
        };
        gateway.metrics.ended(by);
        tracing::info!(%session, %client, by = by.as_str(), "a terminal connection ended");
        drop(permit);
    });
    accepted
}

/// A browser cannot see why an upgrade was refused: a client of ours is accepted and closed with a code. Any other gets
/// the HTTP status; so does everybody whose request was no handshake, or while very many are being refused.
fn refuse(
    gateway: &Arc<Inner>,
    Refusal { problem, code, reason }: Refusal,
    offers: &Offers,
    mut accepted: Response,
    upgrade: OnUpgrade,
) -> Response {
    let kind = problem.kind;
    gateway.metrics.refused(kind);
    tracing::debug!(kind = kind.as_str(), "an upgrade was refused");
    let permit = Arc::clone(&gateway.refusals).try_acquire_owned();
    let (true, Ok(permit)) = (offers.tty_r1 && kind != ProblemType::InvalidRequest, permit) else {
        return problem.into_response();
    };
    handshake::select_protocol(&mut accepted, Wire::TtyR1);
    let (patience, drain) = (gateway.config.handshake_timeout, gateway.shutdown.token());
    gateway.shutdown.spawn(async move {
        if let Ok(Ok(upgraded)) = timeout(patience, upgrade).await {
            let socket = ClientSocket::new(TokioIo::new(upgraded), Wire::TtyR1, drain);
            socket.close(code, reason).await;
        }
        drop(permit);
    });
    accepted
}

/// An admitted connection's whole life. Answers who ended it.
async fn serve_terminal(
    gateway: &Inner,
    mut client: ClientSocket,
    admitted: Admitted,
    drain: &CancellationToken,
) -> EndedBy {
    let began = Instant::now();
    if let Some(tickets) = &admitted.tickets
        && let Err(interrupt) = client.send(&ServerFrame::Tickets(tickets.clone())).await
    {
        return interrupted(client, interrupt).await;
    }
    let runner = match waiting::reach(&mut client, &*gateway.store, &admitted).await {
        Ok(Reached::Runner(runner)) => runner,
        Ok(Reached::Ended(ended)) => {
            client.finish(ended).await;
            return EndedBy::SessionEnded;
        }
        Ok(Reached::Unreachable) => {
            tracing::warn!(session = %admitted.route.session, "the runner cannot be reached");
            client.close(close::UNAVAILABLE, RUNNER_LOST).await;
            return EndedBy::RunnerUnreachable;
        }
        Ok(Reached::Unknown) => {
            client.close(close::UNKNOWN, ProblemType::SessionUnknown.as_str()).await;
            return EndedBy::SessionEnded;
        }
        Err(interrupt) => return interrupted(client, interrupt).await,
    };
    gateway.metrics.waited(began.elapsed());
    let (io, held) = client.into_parts();
    let limits = bridge::Limits {
        drain,
        drain_for: gateway.config.drain_timeout,
        // A stock ttyd may have been told not to ping.
        silence: (admitted.route.wire == Wire::TtyR1).then_some(bridge::RUNNER_DEAD_AFTER),
    };
    let bridged = bridge::run(io, runner, &held, &gateway.metrics.traffic, limits).await;
    let client = ClientSocket::after_bridge(bridged.client, admitted.wire, drain.clone());
    match bridged.ending {
        Ending::ClientClosed => EndedBy::ClientClosed,
        Ending::ClientError(error) => {
            tracing::debug!(%error, session = %admitted.route.session, "the client's side of a bridge failed");
            EndedBy::ClientError
        }
        Ending::RunnerClosed => EndedBy::RunnerClosed,
        Ending::Drained => {
            if bridged.boundary != Boundary::Nothing {
                interrupted(client, Interrupt::Draining).await;
            }
            EndedBy::Drained
        }
        Ending::RunnerLost(error) => {
            tracing::debug!(?error, session = %admitted.route.session, "the runner's side of a bridge is gone");
            runner_lost(gateway, client, bridged.boundary, admitted.route.session).await;
            EndedBy::RunnerError
        }
    }
}

/// The runner went without a word. If its session is over, the client is told how; else it may come back.
async fn runner_lost(gateway: &Inner, mut client: ClientSocket, boundary: Boundary, session: SessionId) {
    if boundary == Boundary::Nothing {
        // A frame was cut: whatever was sent now would be taken for the rest of it.
        return;
    }
    match waiting::await_end(&mut client, &*gateway.store, session, END_PATIENCE).await {
        Ok(Some(ended)) if boundary == Boundary::Message => client.finish(ended).await,
        Ok(_) => client.close(close::UNAVAILABLE, RUNNER_LOST).await,
        Err(interrupt) => {
            interrupted(client, interrupt).await;
        }
    }
}

async fn interrupted(client: ClientSocket, interrupt: Interrupt) -> EndedBy {
    match interrupt {
        Interrupt::Closed(payload) => {
            if let Some(payload) = payload {
                client.answer_close(&payload).await;
            }
            EndedBy::ClientClosed
        }
        Interrupt::Failed(error) => {
            tracing::debug!(%error, "a client failed");
            EndedBy::ClientError
        }
        Interrupt::TooMuch => {
            client.close(code::TOO_BIG, "too_much_before_start").await;
            EndedBy::ClientRefused
        }
        Interrupt::Malformed => {
            client.close(code::MALFORMED, "malformed").await;
            EndedBy::ClientRefused
        }
        Interrupt::Draining => {
            client.close(close::DRAINING, DRAINING).await;
            EndedBy::Drained
        }
    }
}
