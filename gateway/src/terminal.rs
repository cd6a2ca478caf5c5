//! One terminal connection, from the upgrade request to its end: admission, the 101 answer, waiting, the bridge.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use service::Problem;
use session::frames::{ServerFrame, Wire, close};
use session::{ClientId, ProblemType, SessionId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::admission::{Admitted, explain, session_unknown};
use crate::bridge::{self, Boundary, Connected, Ending, Rest};
use crate::client::{ClientSocket, Interrupt, Parts};
use crate::drain::Place;
use crate::handshake::{self, Offers};
use crate::metrics::{EndedBy, OpenConnection};
use crate::upgraded::Upgraded;
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
    let bridges = shutdown.clone();
    shutdown.spawn(async move {
        let open = Open {
            session: admitted.route.session,
            client: admitted.client,
            wire: admitted.wire,
            counted: gateway.metrics.open_connection(),
            permit,
            // What drains is this terminal alone; the others have moments of their own.
            place: gateway.drain.enter(),
            gateway,
        };
        let Some(socket) = upgraded(upgrade, open.gateway.config.handshake_timeout).await else {
            return open.end(EndedBy::ClientError);
        };
        // A stock ttyd may have been told not to ping.
        let silence = (admitted.route.wire == Wire::TtyR1).then_some(bridge::RUNNER_DEAD_AFTER);
        let socket = ClientSocket::new(socket, open.wire, open.place.told().clone());
        match connect(&open.gateway, socket, admitted).await {
            // A task of its own, which holds nothing of this one's state: thousands of them wait at the same time.
            Ok(connected) => {
                open.gateway.giving_back.freed();
                bridges.spawn(bridge_terminal(open, connected, silence));
            }
            Err(by) => open.end(by),
        }
    });
    accepted
}

/// An admitted connection, for as long as it is open.
struct Open {
    gateway: Arc<Inner>,
    session: SessionId,
    client: ClientId,
    wire: Wire,
    place: Place,
    counted: OpenConnection,
    permit: OwnedSemaphorePermit,
}

impl Open {
    fn end(self, by: EndedBy) {
        self.gateway.metrics.ended(by);
        tracing::info!(session = %self.session, client = %self.client, by = by.as_str(), "a terminal connection ended");
        drop((self.counted, self.permit));
        self.gateway.giving_back.freed();
    }
}

/// The connection once its 101 has been sent; `None` when that takes too long or fails.
async fn upgraded(upgrade: OnUpgrade, patience: Duration) -> Option<Upgraded> {
    let upgraded = Box::pin(timeout(patience, upgrade)).await.ok()?.ok()?;
    upgraded.try_into().inspect_err(|error| tracing::error!(%error, "a terminal cannot be served")).ok()
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
        if let Some(socket) = upgraded(upgrade, patience).await {
            ClientSocket::new(socket, Wire::TtyR1, drain).close(code, reason).await;
        }
        drop(permit);
    });
    accepted
}

/// The bridge, and what is left to say after it.
#[expect(clippy::manual_async_fn, reason = "the state of an async fn would hold its arguments twice")]
fn bridge_terminal(
    open: Open,
    mut connected: Connected,
    silence: Option<Duration>,
) -> impl Future<Output = ()> + Send + 'static {
    async move {
        let (drain, drain_for) = (open.place.told(), open.gateway.config.drain_timeout);
        let limits = bridge::Limits { drain, drain_for, silence };
        let (ending, boundary) = bridge::run(&mut connected, &open.gateway.metrics.traffic, limits).await;
        let client = ClientSocket::after_bridge(connected.client, open.wire, drain.clone());
        let by = Box::pin(part(&open.gateway, client, open.session, ending, boundary)).await;
        open.end(by);
    }
}

/// From the client's handshake to the runner's.
async fn connect(gateway: &Inner, mut client: ClientSocket, admitted: Admitted) -> Result<Connected, EndedBy> {
    let began = Instant::now();
    if let Some(tickets) = &admitted.tickets {
        client.send_soon(&ServerFrame::Tickets(tickets.clone()));
    }
    match waiting::reach(&mut client, &*gateway.store, &admitted).await {
        Ok(Reached::Runner(runner)) => {
            gateway.metrics.waited(began.elapsed());
            let Parts { io: client, held, unsent } = client.into_parts();
            let to_client = Rest::of(&[&unsent[..], &runner.unread].concat());
            Ok(Connected { client, runner: runner.io, to_runner: Rest::of(&held), to_client })
        }
        Ok(Reached::Ended(ended)) => {
            client.finish(ended).await;
            Err(EndedBy::SessionEnded)
        }
        Ok(Reached::Unreachable) => {
            tracing::warn!(session = %admitted.route.session, "the runner cannot be reached");
            client.close(close::UNAVAILABLE, RUNNER_LOST).await;
            Err(EndedBy::RunnerUnreachable)
        }
        Ok(Reached::Unknown) => {
            client.close(close::UNKNOWN, ProblemType::SessionUnknown.as_str()).await;
            Err(EndedBy::SessionEnded)
        }
        Err(interrupt) => Err(interrupted(client, interrupt).await),
    }
}

/// What is left to say once the bridge is down.
async fn part(
    gateway: &Inner,
    client: ClientSocket,
    session: SessionId,
    ending: Ending,
    boundary: Boundary,
) -> EndedBy {
    match ending {
        Ending::ClientClosed => EndedBy::ClientClosed,
        Ending::ClientError(error) => {
            tracing::debug!(%error, %session, "the client's side of a bridge failed");
            EndedBy::ClientError
        }
        Ending::RunnerClosed => EndedBy::RunnerClosed,
        Ending::Drained => {
            if boundary != Boundary::Nothing {
                interrupted(client, Interrupt::Draining).await;
            }
            EndedBy::Drained
        }
        Ending::RunnerLost(error) => {
            tracing::debug!(?error, %session, "the runner's side of a bridge is gone");
            runner_lost(gateway, client, boundary, session).await;
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
