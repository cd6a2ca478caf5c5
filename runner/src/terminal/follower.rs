//! The screen behind the stream, for whoever cannot be sent all of it and for the program's questions. It follows as
//! late as it can: when somebody needs it, when output would be forgotten that it has not seen, and when all is quiet.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use screen::{Screen, Theme};
use session::frames::{Size, Start, StartMode};

use super::{Cursor, Terminal};
use crate::history::Piece;

/// As many lines above the screen as the page keeps: a terminal that is made wider pulls them back down.
const SCROLLBACK: usize = 10_000;
/// Quiet for this long, the screen follows, so that whoever comes next need not wait for it.
const QUIET: Duration = Duration::from_secs(1);
/// Followed at once; in between, the terminal's lock is free.
const STEP: usize = 256 * 1024;

/// Made when it is first needed: most sessions end before.
#[derive(Default)]
pub struct Follower {
    screen: Option<Screen>,
    position: u64,
    /// The last change of size that the screen has seen.
    serial: u64,
    last: Option<Taken>,
}

/// A snapshot, and where the stream goes on after it.
#[derive(Clone)]
struct Taken {
    bytes: Bytes,
    /// The size that they are for; at the same place there may be another by now.
    size: Size,
    off: u64,
    serial: u64,
}

impl Terminal {
    /// Lets the screen follow up to `until`, or to the present if that is earlier. Takes as long as it takes.
    fn follow(&self, follower: &mut Follower, until: u64) {
        loop {
            let mut state = self.lock();
            let (position, serial) = (follower.position, follower.serial);
            let screen = follower.screen.get_or_insert_with(|| {
                let size = state.history.size_at(position);
                follower.serial = state.history.serial_at(position);
                Screen::new(size.columns, size.rows, SCROLLBACK)
            });
            let serial = serial.max(follower.serial);
            let (rows, kept) = (screen.size().1.into(), screen.lines_kept() as u64);
            let passed_over = state.history.passed_over(position, until, serial, rows, kept);
            if let Some(over) = &passed_over
                && over.start == position
                && screen.pass_over(over.end - position)
            {
                follower.position = over.end;
                state.history.followed(over.end);
                continue;
            }
            let ahead = passed_over.map(|over| over.start).filter(|start| *start > position);
            let limit = ahead.unwrap_or(until).min(until).saturating_sub(position);
            let limit = usize::try_from(limit).unwrap_or(STEP).min(STEP);
            // The screen minds characters that are cut by itself.
            match state.history.next(position, serial, limit, true) {
                Piece::Size(mark) => {
                    drop(state);
                    follower.serial = mark.serial;
                    screen.resize(mark.size.columns, mark.size.rows);
                }
                Piece::Bytes(bytes) => {
                    drop(state);
                    screen.write(&bytes);
                    follower.position += bytes.len() as u64;
                    self.lock().history.followed(follower.position);
                }
                Piece::Nothing if position < state.history.oldest() => {
                    // Only where a disk did not give back what it was given.
                    tracing::error!(from = position, "the screen has not seen all output, and may be wrong");
                    follower.position = state.history.oldest();
                    state.history.followed(follower.position);
                }
                Piece::Nothing => return,
            }
        }
    }

    /// Lets the screen follow to the present.
    pub fn catch_up(&self) {
        self.follow(&mut self.follower(), u64::MAX);
    }

    /// The screen at about the present, for a viewer that cannot go on at its place; moves the cursor there.
    pub(super) fn snapshot(&self, cursor: &mut Cursor) -> (Start, Bytes) {
        let taken = self.take_snapshot();
        let mut state = self.lock();
        let seen = std::mem::replace(&mut cursor.off, taken.off);
        cursor.size_serial = taken.serial;
        let (input, end) = (state.clients.accepted(&cursor.client), state.history.end());
        state.questions.skipped(cursor.connection, seen, end, Instant::now());
        self.due.notify_one();
        let start = state.start(&self.sid, StartMode::Snapshot, taken.off, seen, input, cursor.role);
        (Start { cols: taken.size.columns, rows: taken.size.rows, ..start }, taken.bytes)
    }

    fn take_snapshot(&self) -> Taken {
        let mut follower = self.follower();
        let (end, base) = {
            let state = self.lock();
            (state.history.end(), state.history.base())
        };
        // One that the stream will not leave behind at once serves the next viewer, too.
        let is_fresh = |taken: &&Taken| taken.off >= base.midpoint(end);
        if let Some(taken) = follower.last.as_ref().filter(is_fresh) {
            return taken.clone();
        }
        // Not to whatever the end is by then, which a flood moves on all the time.
        self.follow(&mut follower, end);
        let serial = follower.serial;
        let Some(screen) = follower.screen.as_mut() else { unreachable!("following made it") };
        let snapshot = screen.snapshot(SCROLLBACK);
        if !snapshot.gaps.is_empty() {
            tracing::debug!(gaps = ?snapshot.gaps, "a snapshot is not exact");
        }
        let size = Size { columns: snapshot.cols, rows: snapshot.rows };
        let taken = Taken { bytes: snapshot.bytes.into(), size, off: snapshot.offset, serial };
        follower.last = Some(taken.clone());
        taken
    }

    /// Waits until output can be pushed without anything being forgotten that is still needed: for the screen, which has
    /// to follow, and for a client that wants all of it, for a while.
    pub async fn make_room(self: &Arc<Self>, more: usize) {
        loop {
            let mut changes = self.changes();
            match self.lacks_room(more) {
                None => return,
                Some(Some(left)) => drop(tokio::time::timeout(left, changes.changed()).await),
                Some(None) => self.aside(Self::catch_up).await,
            }
        }
    }

    /// Whether [`Terminal::make_room`] would have nothing to wait for.
    pub fn has_room(&self, more: usize) -> bool {
        self.lacks_room(more).is_none()
    }

    /// What there is to wait for: a client, at most for so long, or the screen.
    fn lacks_room(&self, more: usize) -> Option<Option<Duration>> {
        let mut state = self.lock();
        // It is pushed piece by piece.
        let piece = more.min(state.history.longest());
        let end = state.history.end();
        let oldest = (end + more as u64).saturating_sub(state.history.capacity()).min(end);
        match state.lossless.holds(oldest, Instant::now()) {
            None if state.history.has_room(piece) => None,
            held => Some(held),
        }
    }

    /// Does what no viewer does: answers what the program asks of nobody, and lets the screen follow when all is quiet
    /// and when there is little room left. Never returns.
    pub async fn keep_up(self: &Arc<Self>) {
        loop {
            let (answer_at, quiet_at, is_pressing) = {
                let state = self.lock();
                let quiet_at = state.expecting_quiet.then(|| state.last_output + QUIET);
                (state.questions.next_due(), quiet_at, state.history.is_pressing())
            };
            if is_pressing {
                self.aside(Self::catch_up).await;
            }
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
    pub(super) async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let terminal = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&terminal)).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Answers what the program asked and nobody else is there to answer.
    pub(super) fn answer(&self) {
        let mut follower = self.follower();
        loop {
            let Some((at, query)) = self.lock().questions.take_due(Instant::now()) else { return };
            self.follow(&mut follower, at);
            let answer = follower.screen.as_ref().and_then(|screen| screen.answer(&query, &Theme::default()));
            // Without room for it the program has not read the last ones either.
            if let Some(answer) = answer
                && self.answers.try_send(answer.into()).is_err()
            {
                tracing::debug!("the program does not read what it asked for");
            }
        }
    }

    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Spill;

    #[test]
    fn a_flood_of_lines_that_was_passed_over_leaves_the_same_screen() {
        let size = Size { columns: 80, rows: 24 };
        let spill = Spill::new(std::env::temp_dir(), 1 << 24);
        let (terminal, _typed) = Terminal::new("test".into(), size, 65536, spill, Box::new(|_| ()));
        let mut all = Screen::new(80, 24, SCROLLBACK);
        let mut line = 0;
        // Text, then something else, then text to the end; in pieces that end anywhere.
        for length in [5000, 65536, 900_000, 65536, 1_700_000] {
            let mut text = String::from("\x1b[1m");
            while text.len() < length {
                line += 1;
                text.push_str(&format!("line {line} {}\r\n", "*".repeat(line % 100)));
            }
            for piece in text.as_bytes().chunks(4093) {
                terminal.push(piece);
                all.write(piece);
            }
        }
        let over = terminal.lock().history.passed_over(0, u64::MAX, 0, 24, all.lines_kept() as u64);
        assert!(over.is_some_and(|over| over.end - over.start > 500_000));
        terminal.catch_up();
        let mut follower = terminal.follower();
        assert_eq!(follower.position, all.parsed());
        assert!(follower.screen.as_mut().unwrap().snapshot(SCROLLBACK) == all.snapshot(SCROLLBACK));
    }
}
