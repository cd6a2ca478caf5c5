//! The session's terminal as its viewers see it: the stream with all its offsets, the stage, the end, and who watches.
//! Independent of sockets and of the PTY. Each viewer reads the stream at its own cursor, so none can hold up the
//! program or another viewer; who falls too far behind is told how much it misses and sent the screen instead.
//!
//! One lock guards everything but the screen and is never held across an await: taking a position and subscribing are one
//! step. The screen has a lock of its own, which is taken first where both are.

mod attached;
mod deadline;
mod follower;
mod lossless;
mod notes;
mod questions;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use screen::QueryScanner;
use session::frames::{Exit, Resume, Size, Start, Waiting};
use session::{Role, Stage};
use tokio::sync::{Notify, mpsc, watch};

pub use attached::Viewer;
pub use deadline::Deadline;
use follower::Follower;
use lossless::Lossless;
pub use notes::{Event, Place, Recorded};
use questions::Questions;
use state::State;
pub use state::{Cursor, Step};

use crate::clients::{Clients, Full};
use crate::history::{History, Spill};

/// Input pieces between the viewers and the PTY; each is at most one client message.
const INPUT_QUEUE: usize = 16;
/// Answers between this terminal and the PTY.
const ANSWER_QUEUE: usize = 256;

/// Sets the real terminal's size. Called under the lock, so it must not block.
pub type SetSize = Box<dyn Fn(Size) + Send + Sync>;

pub struct Terminal {
    sid: String,
    title: String,
    state: Mutex<State>,
    follower: Mutex<Follower>,
    /// Marked with every change; viewers wait on it.
    changed: watch::Sender<()>,
    /// There may be something to do that no viewer does: see [`Terminal::keep_up`].
    due: Notify,
    input: mpsc::Sender<Bytes>,
    answers: mpsc::Sender<Bytes>,
    set_size: SetSize,
}

/// What goes to whatever program runs.
pub struct Typed {
    input: mpsc::Receiver<Bytes>,
    answers: mpsc::Receiver<Bytes>,
}

/// Who attaches, and what it says of itself.
pub struct Attach<'a> {
    pub client: &'a str,
    pub role: Role,
    pub size: Option<Size>,
    pub resume: Option<&'a Resume>,
    /// Its terminal says what it has seen.
    pub acknowledges: bool,
    pub lossless: bool,
}

/// A connection that was let in.
pub struct Attached {
    pub viewer: Viewer,
    pub cursor: Cursor,
    /// Where it goes on; `None`: with a snapshot.
    pub start: Option<Start>,
    /// Input accepted from this client so far.
    pub accepted: u64,
}

impl Terminal {
    /// Also returns what is to be typed.
    pub fn new(title: String, size: Size, ring_bytes: usize, spill: Spill, set_size: SetSize) -> (Self, Typed) {
        let (input, typed) = mpsc::channel(INPUT_QUEUE);
        let (answers, answered) = mpsc::channel(ANSWER_QUEUE);
        let now = Instant::now();
        let state = State {
            history: History::new(size, ring_bytes, spill),
            scanner: QueryScanner::default(),
            questions: Questions::default(),
            lossless: Lossless::default(),
            waiting: Waiting { stage: Stage::Assigned, text: "assigned".to_owned() },
            exit: None,
            clients: Clients::default(),
            last_output: now,
            last_operator: now,
            expecting_quiet: false,
            deadline: None,
            notes: None,
        };
        let terminal = Self {
            sid: uuid::Uuid::new_v4().simple().to_string(),
            title,
            state: Mutex::new(state),
            follower: Mutex::default(),
            changed: watch::Sender::new(()),
            due: Notify::new(),
            input,
            answers,
            set_size,
        };
        (terminal, Typed { input: typed, answers: answered })
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// A receiver that is told of every change after this call.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Appends output, as it came from the PTY.
    pub fn push(&self, bytes: &[u8]) {
        let longest = self.lock().history.longest();
        for piece in bytes.chunks(longest) {
            // Otherwise only where nobody waited for room.
            while !self.lock().push(piece, &self.due) {
                self.catch_up();
            }
        }
        self.changed.send_replace(());
    }

    /// Appends text of our own: complete lines, whatever the program left behind on the current one.
    pub fn say(&self, text: &str) {
        let mut lines = String::with_capacity(text.len() + 4);
        if !self.lock().history.at_line_start() {
            lines.push_str("\r\n");
        }
        for line in text.lines() {
            lines.push_str(line);
            lines.push_str("\r\n");
        }
        self.push(lines.as_bytes());
    }

    /// Appends text of a tool that minds its own lines: only line feeds become what a terminal needs.
    pub fn print(&self, text: &str) {
        self.push(text.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes());
    }

    pub fn enter(&self, waiting: Waiting) {
        let mut state = self.lock();
        let at = state.history.end();
        if let Some(notes) = &mut state.notes {
            notes.stage(at, waiting.stage, Instant::now());
        }
        state.waiting = waiting;
        drop(state);
        self.changed.send_replace(());
    }

    /// Closes the stream: nothing is appended any more.
    pub fn finish(&self, exit: impl FnOnce(u64) -> Exit) {
        let mut state = self.lock();
        let end = state.history.end();
        state.exit = Some(exit(end));
        state.note_moment();
        drop(state);
        self.changed.send_replace(());
    }

    pub fn attach(self: &Arc<Self>, who: &Attach<'_>) -> Result<Attached, Full> {
        let mut state = self.lock();
        let now = Instant::now();
        let earlier = state.clients.connection(who.client);
        let (connection, accepted, leave) = state.clients.attach(who.client, who.role)?;
        let resumed = who.resume.filter(|resume| resume.sid == self.sid).map(|resume| resume.off);
        if who.role == Role::Operator {
            state.last_operator = now;
            // Those that its earlier connection was sent and has not come to are nobody's but ours to answer.
            if let Some(earlier) = earlier {
                state.questions.returned(earlier, resumed.unwrap_or(0), now);
                self.due.notify_one();
            }
        }
        if let Some(size) = who.size {
            state.clients.has_room_for(who.client, connection, size);
            state.clients.claim(who.client);
        }
        // It is told of its size by the start itself.
        self.apply_size(&mut state, None);
        // Only one may hold the program up, but any may have what is kept.
        let holds_up = who.lossless && state.lossless.attach(who.client, now);
        let start = state.starting_point(resumed, who.lossless);
        let start =
            start.map(|(mode, off)| state.start(&self.sid, mode, off, resumed.unwrap_or(0), accepted, who.role));
        let off = start.as_ref().map_or(resumed.unwrap_or(0), |start| start.off);
        if holds_up {
            state.lossless.took(who.client, off);
        }
        let cursor = Cursor {
            connection,
            client: who.client.to_owned(),
            role: who.role,
            off,
            size_serial: state.history.serial_at(off),
            stage: None,
            presence: None,
            deadline: None,
            lossless: who.lossless,
            patient: false,
        };
        drop(state);
        // The others are told of it, and a program that waits for this one may go on.
        self.changed.send_replace(());
        let viewer = Viewer {
            terminal: Arc::clone(self),
            client: who.client.to_owned(),
            connection,
            role: who.role,
            acknowledges: who.acknowledges,
            leave,
        };
        Ok(Attached { viewer, cursor, start, accepted })
    }

    /// The screen for a viewer that cannot go on at its place, without holding up anybody: see [`Step::Behind`].
    pub async fn screen_for(self: &Arc<Self>, mut cursor: Cursor) -> (Cursor, Start, Bytes) {
        let taking = self.aside(move |terminal| {
            let (start, bytes) = terminal.snapshot(&mut cursor);
            (cursor, start, bytes)
        });
        taking.await
    }

    /// The next thing at `cursor`, which moves past it; output is at most `limit` bytes.
    pub fn next(&self, cursor: &mut Cursor, limit: usize) -> Step {
        self.lock().next(&self.sid, cursor, limit)
    }

    /// How much output lies ahead of a cursor.
    pub fn ahead(&self, cursor: &Cursor) -> u64 {
        self.lock().history.end().saturating_sub(cursor.off)
    }

    /// The size that the program is to see.
    pub fn size(&self) -> Size {
        self.lock().history.size()
    }

    pub fn is_over(&self) -> bool {
        self.lock().exit.is_some()
    }

    /// Waits until nobody is attached.
    pub async fn deserted(&self) {
        let mut changes = self.changes();
        while self.viewers() > 0 {
            // The sender is this terminal's own, so this cannot fail.
            let _ = changes.changed().await;
        }
    }

    /// Viewers attached now.
    pub fn viewers(&self) -> usize {
        self.lock().clients.attached()
    }

    /// Operators attached now.
    pub fn operators(&self) -> usize {
        self.lock().clients.operators()
    }

    /// How long there has been no output.
    pub fn quiet(&self) -> Duration {
        self.lock().last_output.elapsed()
    }

    /// Since when nobody cared: no operator attached and no output. `None` while an operator is attached.
    pub fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.clients.operators() == 0).then(|| state.last_output.max(state.last_operator))
    }

    /// The terminal is as large as its holder has room for. `by`: the connection that needs no telling.
    fn apply_size(&self, state: &mut State, by: Option<u64>) {
        let Some((_, Some(size))) = state.clients.holding() else { return };
        if state.history.size() != size && state.exit.is_none() {
            state.history.resize(size, by);
            state.note_moment();
            (self.set_size)(size);
            self.changed.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock; if some did, a viewer's view would still be sound.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Typed {
    /// The next of it; `None` when nobody can type any more.
    pub async fn recv(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            answer = self.answers.recv() => answer,
            input = self.input.recv() => input,
        }
    }
}
