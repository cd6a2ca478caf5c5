//! From admission to the runner: the client is told what is being waited for until the runner can be reached.

use std::time::Duration;

use session::frames::{ServerFrame, Waiting, Wire};
use session::state::Ended;
use session::{SessionId, Stage};
use store::{Route, Store, Time};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::admission::{Admitted, is_over};
use crate::client::{ClientSocket, Interrupt};
use crate::runner_link::Link;
use crate::upgraded::Upgraded;

/// The store's wake-ups are hints; the row is read again at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After the first failed attempt to connect; doubles up to [`LOOK_EVERY`].
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// How long a runner that has its session may refuse connections before it counts as unreachable.
const REACH_FOR: Duration = Duration::from_secs(10);
/// The reconciler ends a session soon after its deadline; if even that fails, waiting ends here.
const PAST_DEADLINE_SECS: i64 = 60;

pub enum Reached {
    Runner(Upgraded),
    /// The session is over and its runner with it.
    Ended(Ended),
    /// There is a runner that cannot be reached, or nobody minds this session any more.
    Unreachable,
    /// The row is gone.
    Unknown,
}

/// Waits for the session's runner and shakes hands with it.
pub async fn reach(client: &mut ClientSocket, store: &dyn Store, admitted: &Admitted) -> Result<Reached, Interrupt> {
    let session = admitted.route.session;
    let mut changes = store.changes();
    let mut attempts = Attempts::default();
    let mut shown = None;
    let mut deadline = None;
    let mut known = Some(admitted.route.clone());
    loop {
        let route = match known.take() {
            Some(route) => Some(route),
            None => match client.during(store.route(session)).await? {
                Ok(Some(route)) => Some(route),
                Ok(None) => return Ok(Reached::Unknown),
                Err(error) => {
                    // The client has been admitted: it waits for the database too.
                    tracing::warn!(%error, %session, "cannot look at a session that is waited for");
                    None
                }
            },
        };
        let mut pause = LOOK_EVERY;
        if let Some(route) = route {
            if let (true, Some(ended)) = (is_over(&route), &route.ended) {
                return Ok(Reached::Ended(ended.clone()));
            }
            if let Some(address) = &route.address {
                let link = link(address, &route, admitted);
                match client.during(link.connect()).await? {
                    Ok(io) => return Ok(Reached::Runner(io)),
                    Err(error) => tracing::debug!(%error, %session, "the runner cannot be reached (yet)"),
                }
                if let Some(ended) = route.ended {
                    return Ok(Reached::Ended(ended));
                }
                // Before it has its session, a runner may refuse for as long as it takes.
                match attempts.failed(route.stage != Stage::Queued) {
                    Some(next) => pause = next,
                    None => return Ok(Reached::Unreachable),
                }
            }
            if shown != Some(route.stage) {
                client.send(&announcement(route.stage, client.wire())).await?;
                shown = Some(route.stage);
            }
        }
        let is_over = |deadline: Time| Time::now().duration_since(deadline).as_secs() > PAST_DEADLINE_SECS;
        // One that is over may have been moved.
        if deadline.is_none_or(is_over) {
            deadline = client.during(store.session(session)).await?.ok().flatten().map(|record| record.expires_at);
        }
        if deadline.is_some_and(is_over) {
            return Ok(Reached::Unreachable);
        }
        client.during(wake(&mut changes, session, pause)).await?;
    }
}

/// Waits until the session has ended, at most `patience`: a runner that is gone takes a moment to be noticed.
pub async fn await_end(
    client: &mut ClientSocket,
    store: &dyn Store,
    session: SessionId,
    patience: Duration,
) -> Result<Option<Ended>, Interrupt> {
    let mut changes = store.changes();
    let look = async {
        loop {
            if let Ok(Some(Route { ended: Some(ended), .. })) = store.route(session).await {
                return ended;
            }
            wake(&mut changes, session, LOOK_EVERY / 4).await;
        }
    };
    client.during(async { tokio::time::timeout(patience, look).await.ok() }).await
}

/// Attempts at a runner that refuses.
#[derive(Default)]
struct Attempts {
    since: Option<Instant>,
    pause: Option<Duration>,
}

impl Attempts {
    /// The pause before the next attempt; `None` when there were enough. Only those that count wear patience out.
    fn failed(&mut self, counts: bool) -> Option<Duration> {
        if counts && self.since.get_or_insert_with(Instant::now).elapsed() > REACH_FOR {
            return None;
        }
        let pause = self.pause.map_or(FIRST_RETRY, |last| (last * 2).min(LOOK_EVERY));
        self.pause = Some(pause);
        Some(pause)
    }
}

fn link<'a>(address: &'a str, route: &'a Route, admitted: &Admitted) -> Link<'a> {
    Link { address, secret: route.secret.as_ref(), role: admitted.role, client: admitted.client, wire: admitted.wire }
}

/// Returns when the session may have changed, after `pause` at the latest.
async fn wake(changes: &mut broadcast::Receiver<SessionId>, session: SessionId, pause: Duration) {
    let change = async {
        loop {
            match changes.recv().await {
                Ok(changed) if changed == session => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    let _ = tokio::time::timeout(pause, change).await;
}

fn announcement(stage: Stage, wire: Wire) -> ServerFrame {
    let text = match stage {
        Stage::Queued => "Waiting for a sandbox",
        Stage::Assigned => "Connecting to the sandbox",
        Stage::Fetching => "Fetching the code",
        Stage::Installing => "Installing",
        Stage::Running => "Connecting to the terminal",
        Stage::Ended => "The session has ended",
    };
    match wire {
        Wire::TtyR1 => ServerFrame::Waiting(Waiting { stage, text: text.to_owned() }),
        Wire::Tty => ServerFrame::Output(format!("{text} ...\r\n").into()),
    }
}
