//! What an attached connection can do: type, say what it has room for and what it has seen, and take the keyboard over.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use session::Role;
use session::frames::{Size, Take};
use tokio::sync::watch;

use super::{State, Terminal};
use crate::clients::{InputRefused, Leave};

/// An attached connection. Dropping it detaches.
pub struct Viewer {
    pub(super) terminal: Arc<Terminal>,
    pub(super) client: String,
    pub(super) connection: u64,
    pub role: Role,
    /// [`super::Attach::acknowledges`]
    pub(super) acknowledges: bool,
    pub leave: watch::Receiver<Leave>,
}

impl Viewer {
    /// Types for this client, exactly once per offset: waits for room, then accepts the unseen suffix and hands it
    /// over in one step, so that a connection replaced meanwhile has typed all of it or nothing.
    /// Returns the input accepted so far; for viewers nothing is.
    pub async fn type_input(&self, at: Option<u64>, bytes: Bytes) -> Result<u64, InputRefused> {
        if self.role != Role::Operator {
            return Ok(0);
        }
        // Once the session is over nobody reads input, and it is accepted into nothing.
        let room = self.terminal.input.reserve().await.ok();
        let mut state = self.terminal.lock();
        let seen = state.clients.accept(&self.client, self.connection, at, bytes.len())?;
        let unseen = bytes.slice(seen..);
        // A stock client has no other word for wanting the keyboard.
        if at.is_none() {
            self.hold(&mut state, Take::default());
        }
        let holds = self.claim(&mut state);
        // What was on its way when another took the keyboard over is typed to nobody.
        if let (Some(room), true, false) = (room, holds, unseen.is_empty()) {
            let at = state.history.end();
            if let Some(notes) = &mut state.notes {
                notes.input(at, &unseen, Instant::now());
            }
            room.send(unseen);
        }
        Ok(state.clients.accepted(&self.client))
    }

    /// It has room for this; the terminal gets this size if this operator has it, or nobody.
    pub fn resize(&self, size: Size) {
        let mut state = self.terminal.lock();
        state.clients.has_room_for(&self.client, self.connection, size);
        if self.role == Role::Operator && self.claim(&mut state) {
            self.terminal.apply_size(&mut state, Some(self.connection));
        }
    }

    /// Its terminal has come this far, and what it answers on the way has been sent before it said so.
    pub fn parsed(&self, until: u64) {
        let mut state = self.terminal.lock();
        state.questions.seen(self.connection, until);
        let got_on = state.lossless.took(&self.client, until);
        drop(state);
        if got_on {
            self.terminal.changed.send_replace(());
        }
    }

    /// It has said goodbye: nothing waits for it to come back.
    pub fn finished(&self) {
        self.terminal.lock().lossless.finished(&self.client);
        self.terminal.changed.send_replace(());
    }

    /// Gives this operator the keyboard and the size, whoever has them.
    pub fn take_over(&self, take: Take) {
        self.hold(&mut self.terminal.lock(), take);
    }

    fn hold(&self, state: &mut State, take: Take) {
        let before = state.clients.holding();
        state.clients.take_over(&self.client, take.leave);
        self.held(state, before);
    }

    fn claim(&self, state: &mut State) -> bool {
        let before = state.clients.holding();
        let holds = state.clients.claim(&self.client);
        self.held(state, before);
        holds
    }

    /// With the keyboard comes the size; everybody is told.
    fn held(&self, state: &mut State, before: Option<(u64, Option<Size>)>) {
        if state.clients.holding() == before {
            return;
        }
        if let Some((earlier, _)) = before {
            state.questions.handed_over(earlier, Instant::now());
            self.terminal.due.notify_one();
        }
        self.terminal.apply_size(state, None);
        self.terminal.changed.send_replace(());
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.terminal.lock();
        if self.acknowledges {
            state.questions.left(self.connection, now);
        } else {
            // It never says what it has seen, and is taken to have answered what it was sent.
            state.questions.seen(self.connection, u64::MAX);
        }
        state.lossless.detach(&self.client, now);
        if state.clients.detach(&self.client, self.connection) == Some(Role::Operator) {
            state.last_operator = now;
        }
        drop(state);
        self.terminal.due.notify_one();
        self.terminal.changed.send_replace(());
    }
}
