//! The session's terminal as its viewers see it: the stream with all its offsets, the stage, the end, and who watches.
//! Independent of sockets and of the PTY. Each viewer reads the stream at its own cursor, so none can hold up the
//! program or another viewer; who falls too far behind is told how much it misses and sent the screen instead.
//!
//! One lock guards everything but the screen and is never held across an await: taking a position and subscribing are one
//! step. The screen has a lock of its own, which is taken first where both are.

mod attached;
mod follower;
mod lossless;
mod questions;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use screen::QueryScanner;
use session::frames::{Exit, Presence, Resized, Resume, Size, Start, StartMode, Waiting};
use session::{Role, Stage};
use tokio::sync::{Notify, mpsc, watch};

pub use attached::Viewer;
use follower::Follower;
use lossless::Lossless;
use questions::Questions;

use crate::clients::{Clients, Full};
use crate::history::{History, Piece, Spill};

/// Input pieces between the viewers and the PTY; each is at most one client message.
const INPUT_QUEUE: usize = 16;
/// Answers between this terminal and the PTY.
const ANSWER_QUEUE: usize = 256;
/// Quiet for this long, the screen follows, so that whoever comes next need not wait for it.
const QUIET: Duration = Duration::from_secs(1);

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

struct State {
    history: History,
    scanner: QueryScanner,
    questions: Questions,
    lossless: Lossless,
    waiting: Waiting,
    exit: Option<Exit>,
    clients: Clients,
    last_output: Instant,
    last_operator: Instant,
    /// Somebody sees to it that the screen follows once it is quiet.
    expecting_quiet: bool,
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

/// A viewer's place in the stream.
pub struct Cursor {
    connection: u64,
    client: String,
    role: Role,
    pub off: u64,
    size_serial: u64,
    stage: Option<Stage>,
    presence: Option<Presence>,
    lossless: bool,
}

/// What a viewer is to be sent next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The cursor's bytes are gone: the screen is to be sent instead.
    Behind,
    /// The same for one that wants nothing but output: it was moved to the oldest there is.
    Skipped(Start),
    Waiting(Waiting),
    Presence(Presence),
    Resized(Resized),
    Output(Bytes),
    Ended(Exit),
    /// Wait for a change.
    UpToDate,
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

    /// Waits until output can be pushed without anything being forgotten that is still needed: for the screen, which has
    /// to follow, and for a client that wants all of it, for a while.
    pub async fn make_room(self: &Arc<Self>, more: usize) {
        loop {
            let mut changes = self.changes();
            let held = {
                let mut state = self.lock();
                let oldest = (state.history.end() + more as u64).saturating_sub(state.history.capacity());
                match state.lossless.holds(oldest, Instant::now()) {
                    None if state.history.has_room(more) => return,
                    held => held,
                }
            };
            if let Some(left) = held {
                let _ = tokio::time::timeout(left, changes.changed()).await;
            } else {
                self.aside(Self::catch_up).await;
            }
        }
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
        self.lock().waiting = waiting;
        self.changed.send_replace(());
    }

    /// Closes the stream: nothing is appended any more.
    pub fn finish(&self, exit: impl FnOnce(u64) -> Exit) {
        let mut state = self.lock();
        let end = state.history.end();
        state.exit = Some(exit(end));
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
        }
        // It is told of its size by the start itself.
        self.apply_size(&mut state, None);
        let lossless = who.lossless && state.lossless.attach(who.client, now);
        let start = state.starting_point(resumed, lossless);
        let start =
            start.map(|(mode, off)| state.start(&self.sid, mode, off, resumed.unwrap_or(0), accepted, who.role));
        let off = start.as_ref().map_or(resumed.unwrap_or(0), |start| start.off);
        state.lossless.took(who.client, off);
        let cursor = Cursor {
            connection,
            client: who.client.to_owned(),
            role: who.role,
            off,
            size_serial: state.history.serial_at(off),
            stage: None,
            presence: None,
            lossless,
        };
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
        let state = self.lock();
        let oldest = if cursor.lossless { state.history.oldest() } else { state.history.base() };
        if cursor.off < oldest {
            if !cursor.lossless {
                return Step::Behind;
            }
            let seen = std::mem::replace(&mut cursor.off, oldest);
            cursor.size_serial = state.history.serial_at(oldest);
            let input = state.clients.accepted(&cursor.client);
            return Step::Skipped(state.start(&self.sid, StartMode::Snapshot, oldest, seen, input, cursor.role));
        }
        if cursor.stage != Some(state.waiting.stage) {
            cursor.stage = Some(state.waiting.stage);
            return Step::Waiting(state.waiting.clone());
        }
        // Before any output, so that whose questions are whose is the same on both sides.
        let presence = state.clients.presence(&cursor.client);
        if cursor.presence != Some(presence) {
            cursor.presence = Some(presence);
            return Step::Presence(presence);
        }
        loop {
            match state.history.next(cursor.off, cursor.size_serial, limit, state.exit.is_some()) {
                Piece::Size(mark) => {
                    cursor.size_serial = mark.serial;
                    if mark.by != Some(cursor.connection) {
                        return Step::Resized(Resized { cols: mark.size.columns, rows: mark.size.rows });
                    }
                }
                Piece::Bytes(bytes) => {
                    cursor.off += bytes.len() as u64;
                    return Step::Output(bytes);
                }
                Piece::Nothing => break,
            }
        }
        match &state.exit {
            Some(exit) if cursor.off == state.history.end() => Step::Ended(exit.clone()),
            _ => Step::UpToDate,
        }
    }

    /// How much output lies ahead of a cursor.
    pub fn ahead(&self, cursor: &Cursor) -> u64 {
        self.lock().history.end().saturating_sub(cursor.off)
    }

    /// Does what no viewer does: answers what the program asks of nobody, and lets the screen follow when all is quiet.
    /// Never returns.
    pub async fn keep_up(self: &Arc<Self>) {
        loop {
            let (answer_at, quiet_at) = {
                let state = self.lock();
                (state.questions.next_due(), state.expecting_quiet.then(|| state.last_output + QUIET))
            };
            let next = answer_at.into_iter().chain(quiet_at).min();
            let waiting = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.due.notified() => continue,
                () = waiting => {}
            }
            let now = Instant::now();
            if answer_at.is_some_and(|at| at <= now) {
                self.aside(Self::answer).await;
            }
            let is_quiet = {
                let mut state = self.lock();
                let is_quiet = state.expecting_quiet && state.last_output + QUIET <= now;
                state.expecting_quiet &= !is_quiet;
                is_quiet
            };
            if is_quiet {
                self.aside(Self::catch_up).await;
            }
        }
    }

    /// Runs what takes long where it holds up nothing else.
    async fn aside<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let terminal = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&terminal)).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
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
    /// False, and nothing is appended, where the screen has to follow first.
    fn push(&mut self, bytes: &[u8], due: &Notify) -> bool {
        if bytes.is_empty() || self.exit.is_some() {
            return true;
        }
        let before = self.history.end();
        if !self.history.push(bytes) {
            return false;
        }
        self.last_output = Instant::now();
        let holder = self.clients.holding().map(|(connection, _)| connection);
        let (questions, now) = (&mut self.questions, self.last_output);
        let mut asked = false;
        self.scanner.scan(bytes, |at, query| {
            asked = true;
            questions.asked(before + at as u64, query, holder, now);
        });
        let expects_quiet = !self.expecting_quiet && self.is_behind();
        self.expecting_quiet |= expects_quiet;
        if expects_quiet || (asked && holder.is_none()) {
            due.notify_one();
        }
        true
    }

    /// Where a viewer goes on that has everything before `known`; `None`: with a snapshot.
    fn starting_point(&self, known: Option<u64>, lossless: bool) -> Option<(StartMode, u64)> {
        let oldest = if lossless { self.history.oldest() } else { self.history.base() };
        match known {
            Some(off) if (oldest..=self.history.end()).contains(&off) => Some((StartMode::Delta, off)),
            _ if oldest == 0 => Some((StartMode::Full, 0)),
            _ => lossless.then_some((StartMode::Snapshot, oldest)),
        }
    }

    fn start(&self, sid: &str, mode: StartMode, off: u64, seen: u64, input: u64, role: Role) -> Start {
        let size = self.history.size_at(off);
        let lost = if mode == StartMode::Snapshot { off.saturating_sub(seen) } else { 0 };
        let (cols, rows) = (size.columns, size.rows);
        Start { sid: sid.to_owned(), mode, off, end: self.history.end(), input, lost, cols, rows, role }
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
