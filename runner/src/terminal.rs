//! The session's terminal as its viewers see it: the stream with all its offsets, the stage, the end, and who watches.
//! Independent of sockets and of the PTY. Each viewer reads the ring at its own cursor, so none can hold up the
//! program or another viewer; what leaves the ring before it was read is stated as lost.
//!
//! One lock guards everything and is never held across an await: taking a position and subscribing are one step.
//!
//! A limit: where bytes are lost, the screen starts empty at the next line. No terminal emulator here knows what the
//! lost bytes had drawn.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use session::frames::{Exit, Presence, Resized, Resume, Size, Start, StartMode, Take, Waiting};
use session::{Role, Stage};
use tokio::sync::{mpsc, watch};

use crate::clients::{Clients, Full, InputRefused, Leave};
use crate::ring::{Ring, Sizes};

/// Input pieces between the viewers and the PTY; each is at most one client message.
const INPUT_QUEUE: usize = 16;

/// Sets the real terminal's size. Called under the lock, so it must not block.
pub type SetSize = Box<dyn Fn(Size) + Send + Sync>;

pub struct Terminal {
    sid: String,
    title: String,
    state: Mutex<State>,
    /// Marked with every change; viewers wait on it.
    changed: watch::Sender<()>,
    input: mpsc::Sender<Bytes>,
    set_size: SetSize,
}

struct State {
    ring: Ring,
    sizes: Sizes,
    waiting: Waiting,
    exit: Option<Exit>,
    clients: Clients,
    last_output: Instant,
    last_operator: Instant,
}

/// Who attaches, and what it says of itself.
pub struct Attach<'a> {
    pub client: &'a str,
    pub role: Role,
    pub size: Option<Size>,
    pub resume: Option<&'a Resume>,
}

/// An attached connection. Dropping it detaches.
pub struct Viewer<'a> {
    terminal: &'a Terminal,
    client: String,
    connection: u64,
    pub role: Role,
    pub leave: watch::Receiver<Leave>,
}

/// A viewer's place in the stream.
pub struct Cursor {
    connection: u64,
    client: String,
    role: Role,
    pub off: u64,
    size_serial: u64,
    stage: Option<Stage>,
}

/// What a viewer is to be sent next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The cursor's bytes are gone: it was moved on.
    Moved(Start),
    Waiting(Waiting),
    Resized(Resized),
    Output(Bytes),
    Ended(Exit),
    /// Wait for a change.
    UpToDate,
}

impl Terminal {
    /// Also returns what viewers type.
    pub fn new(title: String, size: Size, ring_bytes: usize, set_size: SetSize) -> (Self, mpsc::Receiver<Bytes>) {
        let (input, typed) = mpsc::channel(INPUT_QUEUE);
        let now = Instant::now();
        let state = State {
            ring: Ring::new(ring_bytes),
            sizes: Sizes::new(size),
            waiting: Waiting { stage: Stage::Assigned, text: "assigned".to_owned() },
            exit: None,
            clients: Clients::default(),
            last_output: now,
            last_operator: now,
        };
        let sid = uuid::Uuid::new_v4().simple().to_string();
        let terminal = Self { sid, title, state: Mutex::new(state), changed: watch::Sender::new(()), input, set_size };
        (terminal, typed)
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
        let mut state = self.lock();
        state.push(bytes);
        drop(state);
        self.changed.send_replace(());
    }

    /// Appends text of our own: complete lines, whatever the program left behind on the current one.
    pub fn say(&self, text: &str) {
        let mut state = self.lock();
        let mut lines = String::with_capacity(text.len() + 4);
        if !state.ring.at_line_start() {
            lines.push_str("\r\n");
        }
        for line in text.lines() {
            lines.push_str(line);
            lines.push_str("\r\n");
        }
        state.push(lines.as_bytes());
        drop(state);
        self.changed.send_replace(());
    }

    /// Appends text of a tool that minds its own lines: only line feeds become what a terminal needs.
    pub fn print(&self, text: &str) {
        self.push(text.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes());
    }

    pub fn enter(&self, waiting: Waiting) {
        self.lock().waiting = waiting;
        self.changed.send_replace(());
    }

    /// Closes the stream: nothing is appended any more.
    pub fn finish(&self, exit: impl FnOnce(u64) -> Exit) {
        let mut state = self.lock();
        let end = state.ring.end();
        state.exit = Some(exit(end));
        drop(state);
        self.changed.send_replace(());
    }

    /// What the viewer at `cursor` is told of the others.
    pub fn presence(&self, cursor: &Cursor) -> Presence {
        self.lock().clients.presence(&cursor.client)
    }

    pub fn attach(&self, who: &Attach<'_>) -> Result<(Viewer<'_>, Cursor, Start), Full> {
        let mut state = self.lock();
        let (connection, input, leave) = state.clients.attach(who.client, who.role)?;
        if who.role == Role::Operator {
            state.last_operator = Instant::now();
        }
        if let Some(size) = who.size {
            state.clients.has_room_for(who.client, connection, size);
        }
        // It is told of its size by the start itself.
        self.apply_size(&mut state, None);
        let (mode, off) = state.starting_point(&self.sid, who.resume);
        let start = state.start(&self.sid, mode, off, off.min(who.resume_offset(&self.sid)), input, who.role);
        let cursor = Cursor {
            connection,
            client: who.client.to_owned(),
            role: who.role,
            off,
            size_serial: state.sizes.serial_at(off),
            stage: None,
        };
        let client = who.client.to_owned();
        Ok((Viewer { terminal: self, client, connection, role: who.role, leave }, cursor, start))
    }

    /// The next thing at `cursor`, which moves past it; output is at most `limit` bytes.
    pub fn next(&self, cursor: &mut Cursor, limit: usize) -> Step {
        let state = self.lock();
        if cursor.off < state.ring.base() {
            let seen = std::mem::replace(&mut cursor.off, state.ring.first_line_start());
            cursor.size_serial = state.sizes.serial_at(cursor.off);
            let input = state.clients.accepted(&cursor.client);
            return Step::Moved(state.start(&self.sid, StartMode::Snapshot, cursor.off, seen, input, cursor.role));
        }
        if cursor.stage != Some(state.waiting.stage) {
            cursor.stage = Some(state.waiting.stage);
            return Step::Waiting(state.waiting.clone());
        }
        let mut until = state.ring.end();
        while let Some(mark) = state.sizes.after(cursor.size_serial) {
            if mark.at > cursor.off {
                until = until.min(mark.at);
                break;
            }
            cursor.size_serial = mark.serial;
            if mark.by != Some(cursor.connection) {
                return Step::Resized(Resized { cols: mark.size.columns, rows: mark.size.rows });
            }
        }
        let room = usize::try_from(until - cursor.off).unwrap_or(limit).min(limit);
        let output = state.ring.read(cursor.off, room);
        if !output.is_empty() {
            cursor.off += output.len() as u64;
            return Step::Output(output);
        }
        match &state.exit {
            Some(exit) if cursor.off == state.ring.end() => Step::Ended(exit.clone()),
            _ => Step::UpToDate,
        }
    }

    /// The size that the program is to see.
    pub fn size(&self) -> Size {
        self.lock().sizes.current()
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
        if state.sizes.current() != size && state.exit.is_none() {
            let end = state.ring.end();
            state.sizes.change(end, size, by);
            (self.set_size)(size);
            self.changed.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock; if some did, a viewer's view would still be sound.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.exit.is_some() {
            return;
        }
        self.ring.push(bytes);
        self.sizes.forget_before(self.ring.base());
        self.last_output = Instant::now();
    }

    fn starting_point(&self, sid: &str, resume: Option<&Resume>) -> (StartMode, u64) {
        let known = resume.filter(|resume| resume.sid == sid).map(|resume| resume.off);
        match known {
            Some(off) if (self.ring.base()..=self.ring.end()).contains(&off) => (StartMode::Delta, off),
            _ if self.ring.base() == 0 => (StartMode::Full, 0),
            _ => (StartMode::Snapshot, self.ring.first_line_start()),
        }
    }

    fn start(&self, sid: &str, mode: StartMode, off: u64, seen: u64, input: u64, role: Role) -> Start {
        let size = self.sizes.at(off);
        let lost = if mode == StartMode::Snapshot { off - seen } else { 0 };
        let (cols, rows) = (size.columns, size.rows);
        Start { sid: sid.to_owned(), mode, off, end: self.ring.end(), input, lost, cols, rows, role }
    }
}

impl Attach<'_> {
    fn resume_offset(&self, sid: &str) -> u64 {
        self.resume.filter(|resume| resume.sid == sid).map_or(0, |resume| resume.off)
    }
}

impl Viewer<'_> {
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
        if state.clients.holding() != before {
            self.terminal.apply_size(state, None);
            self.terminal.changed.send_replace(());
        }
    }
}

impl Drop for Viewer<'_> {
    fn drop(&mut self) {
        let mut state = self.terminal.lock();
        if state.clients.detach(&self.client, self.connection) == Some(Role::Operator) {
            state.last_operator = Instant::now();
        }
        drop(state);
        self.terminal.changed.send_replace(());
    }
}
