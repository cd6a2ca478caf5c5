//! Telling other processes what changed, by LISTEN and NOTIFY, on a connection of its own.
//!
//! A notice is sent by the transaction that makes the change, so it comes after the commit and never without it. What
//! happens while the connection is away is not told: notices are hints.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use session::SessionId;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

use super::connect::{Connector, Wire};
use super::failure::{Attempt, Failure};

const CHANNEL: &str = "cliscale_sessions";
/// What a statement that changes a session by itself returns last, with [`notice`] as its parameter `$1`.
pub(super) const TOLD: &str = "pg_notify('cliscale_sessions', $1)";
/// How often a silent connection is asked whether it is there.
const PROBE: Duration = Duration::from_secs(30);
/// How long its answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What is told of a change.
pub(super) fn notice(origin: &str, changed: SessionId) -> String {
    format!("{origin} {changed}")
}

/// `statement`, with the notices of these changes before it.
pub(super) fn announcing(origin: &str, changed: &[SessionId], statement: &str) -> String {
    let mut text = String::new();
    for &id in changed {
        // Both parts are our own hexadecimal digits.
        text.push_str(&format!("NOTIFY {CHANNEL}, '{}'; ", notice(origin, id)));
    }
    text + statement
}

/// Ends when it is dropped.
pub(super) struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Passes on what other processes tell, for as long as the listener is kept, and reconnects with growing pauses.
pub(super) fn listen(connector: Connector, origin: Arc<str>, changes: broadcast::Sender<SessionId>) -> Listener {
    Listener(tokio::spawn(async move {
        let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100));
        let pauses = pauses.with_max_delay(Duration::from_secs(10)).without_max_times().with_jitter();
        let mut waiting = pauses.build();
        let mut told = false;
        loop {
            let mut listened = false;
            let failure = stay(&connector, &origin, &changes, &mut listened).await;
            if listened {
                waiting = pauses.build();
            }
            // The first of a row of failures.
            if listened || !told {
                told = true;
                let error = failure.during("listening for changes");
                tracing::warn!(%error, "changes made by other processes are not told for now");
            }
            // It has no end.
            tokio::time::sleep(waiting.next().unwrap_or(PROBE)).await;
        }
    }))
}

/// Listens until the connection breaks.
async fn stay(
    connector: &Connector,
    origin: &str,
    changes: &broadcast::Sender<SessionId>,
    listened: &mut bool,
) -> Failure {
    let (client, mut wire) = match connector.connect().await {
        Ok(connected) => connected,
        Err(failure) => return failure,
    };
    tokio::select! {
        failure = receive(&mut wire, origin, changes) => failure,
        failure = probe(&client, listened) => failure,
    }
}

async fn probe(client: &Client, listened: &mut bool) -> Failure {
    let mut statement = format!("LISTEN {CHANNEL}");
    loop {
        match timeout(ANSWER, client.batch_execute(&statement)).await {
            Ok(Ok(())) => *listened = true,
            Ok(Err(error)) => return Failure::Sql(error),
            Err(_) => return Failure::Unanswered("the database did not answer in time"),
        }
        statement.clear();
        tokio::time::sleep(PROBE).await;
    }
}

/// Moves the connection's bytes as well.
async fn receive(wire: &mut Wire, origin: &str, changes: &broadcast::Sender<SessionId>) -> Failure {
    loop {
        match poll_fn(|context| wire.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notice))) => {
                if let Some(id) = told_by_another(notice.payload(), origin) {
                    // Nobody may be listening.
                    let _ = changes.send(id);
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Failure::Sql(error),
            None => return Failure::Unanswered("the database closed the connection"),
        }
    }
}

fn told_by_another(payload: &str, origin: &str) -> Option<SessionId> {
    let (from, id) = payload.split_once(' ')?;
    (from != origin).then(|| id.parse().ok()).flatten()
}

/// Draws what tells this store's notices from others'.
pub(super) fn draw_origin() -> Attempt<Arc<str>> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::Misuse("no random numbers"))?;
    Ok(hex::encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_heard_by_others_only() {
        let id = SessionId::new();
        let text = announcing("ab", &[id], "COMMIT");
        assert_eq!(text, format!("NOTIFY cliscale_sessions, 'ab {id}'; COMMIT"));
        let payload = text.split('\'').nth(1).unwrap();
        assert_eq!(told_by_another(payload, "cd"), Some(id));
        assert_eq!(told_by_another(payload, "ab"), None);
        assert_eq!(told_by_another("nonsense", "ab"), None);
        assert_eq!(announcing("ab", &[], "COMMIT"), "COMMIT");
        assert_eq!(told_by_another(&notice("ab", id), "cd"), Some(id));
        assert!(TOLD.contains(&format!("'{CHANNEL}'")));
    }
}
