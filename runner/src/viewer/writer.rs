//! What a client is sent: the stream from its place on, as fast as it takes it and no faster.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::SinkExt;
use screen::QueryFilter;
use session::frames::{ServerFrame, Start, StartMode, Wire, close};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{DEAD_AFTER, Done, Flow, Sink};
use crate::controller::jittered;
use crate::terminal::{Cursor, Step, Terminal};

const PING_EVERY: Duration = Duration::from_secs(25);
/// Output in one message.
const CHUNK: usize = 64 * 1024;
/// Output that an acknowledging client may be behind before it is sent no more.
const WINDOW: u64 = 512 * 1024;
/// Output that comes in a rush is gathered for this long, so that it takes fewer messages.
const GATHER: Duration = Duration::from_millis(3);
/// A rush: this many messages in a row, each no later than [`GATHER`] after the last.
const RUSH: u32 = 4;
/// What a client is told to forget its screen by that gets no other: RIS (ECMA-48, 8.3.105).
const RESET: &[u8] = b"\x1bc";

pub(super) struct Writer<'a> {
    sink: &'a mut Sink,
    wire: Wire,
    /// Where the replay ends, and what takes questions out of it for stock clients; `None` once it is over.
    replay: Option<(u64, QueryFilter)>,
    /// Before this nothing was sent since the last start, so a client that acknowledges has this much at least.
    floor: u64,
}

/// The peer cannot be written to.
struct Gone;

impl<'a> Writer<'a> {
    pub fn new(sink: &'a mut Sink, wire: Wire) -> Self {
        Self { sink, wire, replay: None, floor: 0 }
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        // A peer that does not read for this long does not answer pings either.
        timeout(DEAD_AFTER, self.sink.send(message)).await.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    async fn frame(&mut self, frame: ServerFrame) -> Result<(), Gone> {
        self.send(Message::Binary(frame.encode())).await
    }

    /// `screen`: what sets the screen where the stream does not go on where the client was.
    async fn start(&mut self, start: Start, screen: Bytes) -> Result<(), Gone> {
        let resets = start.mode == StartMode::Snapshot;
        self.floor = start.off;
        self.replay = Some((start.end, QueryFilter::default()));
        match self.wire {
            Wire::TtyR1 => {
                self.frame(ServerFrame::Start(start)).await?;
                if resets {
                    self.frame(ServerFrame::Snapshot(screen)).await?;
                }
            }
            Wire::Tty if resets => self.frame(ServerFrame::Output(screen)).await?,
            Wire::Tty => {}
        }
        Ok(())
    }

    /// Sends the screen, and moves the cursor to where the stream goes on.
    async fn screen(&mut self, terminal: &Arc<Terminal>, cursor: Cursor) -> Result<Cursor, Gone> {
        let (cursor, start, screen) = terminal.screen_for(cursor).await;
        self.start(start, screen).await?;
        Ok(cursor)
    }

    /// Sends output that ends at `end`.
    async fn output(&mut self, bytes: Bytes, end: u64) -> Result<(), Gone> {
        let shown = match (self.wire, &mut self.replay) {
            (Wire::Tty, Some((replay_end, filter))) => {
                let live = usize::try_from(end.saturating_sub(*replay_end)).unwrap_or(usize::MAX).min(bytes.len());
                let (replayed, new) = bytes.split_at(bytes.len() - live);
                let mut shown = filter.pass(replayed);
                if end >= *replay_end {
                    shown.extend(filter.finish());
                    self.replay = None;
                }
                shown.extend_from_slice(new);
                Bytes::from(shown)
            }
            _ => bytes,
        };
        match shown.is_empty() {
            true => Ok(()),
            false => self.frame(ServerFrame::Output(shown)).await,
        }
    }
}

pub(super) async fn write_frames(
    writer: &mut Writer<'_>,
    terminal: &Arc<Terminal>,
    cursor: Cursor,
    start: Option<Start>,
    flow: watch::Receiver<Flow>,
) -> Done {
    match follow(writer, terminal, cursor, start, flow).await {
        Ok(()) => Some((close::ENDED, "the session has ended")),
        Err(Gone) => None,
    }
}

/// Follows the stream to its end.
async fn follow(
    writer: &mut Writer<'_>,
    terminal: &Arc<Terminal>,
    mut cursor: Cursor,
    start: Option<Start>,
    mut flow: watch::Receiver<Flow>,
) -> Result<(), Gone> {
    if writer.wire == Wire::Tty {
        writer.frame(ServerFrame::Title(terminal.title().to_owned())).await?;
        writer.frame(ServerFrame::Preferences("{}".to_owned())).await?;
    }
    let mut acknowledged = flow.borrow().accepted;
    let mut changes = terminal.changes();
    match start {
        Some(start) => writer.start(start, Bytes::from_static(RESET)).await?,
        None => cursor = writer.screen(terminal, cursor).await?,
    }
    let mut rush = Rush::default();
    let ping_every = jittered(PING_EVERY, 0.8, 1.0);
    let mut next_ping = Instant::now() + ping_every;
    loop {
        // In a flood too, or a client that acknowledges nothing would not be heard of.
        if Instant::now() >= next_ping {
            next_ping = Instant::now() + ping_every;
            writer.send(Message::Ping(Bytes::new())).await?;
        }
        changes.mark_unchanged();
        let now = *flow.borrow_and_update();
        if now.accepted > acknowledged && writer.wire == Wire::TtyR1 {
            acknowledged = now.accepted;
            writer.frame(ServerFrame::InputAck(acknowledged)).await?;
        }
        cursor.patient |= now.paused;
        let unparsed = now.parsed.map_or(0, |parsed| cursor.off.saturating_sub(parsed.max(writer.floor)));
        let gathering = rush.gathers_until().filter(|_| terminal.ahead(&cursor) < CHUNK as u64);
        let step = match now.paused || unparsed >= WINDOW || gathering.is_some() {
            true => Step::UpToDate,
            false => terminal.next(&mut cursor, CHUNK),
        };
        match step {
            Step::Behind => cursor = writer.screen(terminal, cursor).await?,
            Step::Skipped(start) => writer.start(start, Bytes::from_static(RESET)).await?,
            Step::Output(bytes) => {
                rush.sent();
                writer.output(bytes, cursor.off).await?;
            }
            Step::Ended(exit) => {
                if writer.wire == Wire::TtyR1 {
                    writer.frame(ServerFrame::Exit(exit)).await?;
                }
                return Ok(());
            }
            // A stock client has no words for these.
            Step::Waiting(_) | Step::Resized(_) | Step::Presence(_) | Step::Deadline(_) if writer.wire == Wire::Tty => {
            }
            Step::Waiting(waiting) => writer.frame(ServerFrame::Waiting(waiting)).await?,
            Step::Resized(size) => writer.frame(ServerFrame::Resized(size)).await?,
            Step::Presence(presence) => writer.frame(ServerFrame::Presence(presence)).await?,
            Step::Deadline(deadline) => writer.frame(ServerFrame::Deadline(deadline)).await?,
            Step::UpToDate => tokio::select! {
                _ = changes.changed(), if gathering.is_none() => {}
                () = sleep_until(gathering.unwrap_or(next_ping)) => {}
                _ = flow.changed() => {}
                () = sleep_until(next_ping) => {}
                // Whoever has nothing to take answers pings, on either wire.
                () = sleep_until(now.heard + DEAD_AFTER) => return Err(Gone),
            },
        }
    }
}

/// Whether output comes in a rush. Single keys and their echoes do not.
#[derive(Default)]
struct Rush {
    last: Option<Instant>,
    messages: u32,
}

impl Rush {
    fn sent(&mut self) {
        let now = Instant::now();
        let is_soon = self.last.is_some_and(|last| now < last + 2 * GATHER);
        self.messages = if is_soon { self.messages.saturating_add(1) } else { 0 };
        self.last = Some(now);
    }

    /// Until when what comes is gathered; `None`: it is sent at once.
    fn gathers_until(&self) -> Option<Instant> {
        let until = self.last.filter(|_| self.messages >= RUSH)? + GATHER;
        (Instant::now() < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_gathered_in_a_rush_and_never_after_a_pause() {
        let mut rush = Rush::default();
        for _ in 0..RUSH {
            rush.sent();
            assert_eq!(rush.gathers_until(), None);
        }
        // As if the last one had just been sent, however slow this machine is.
        let now = Instant::now() + GATHER;
        assert!(Rush { last: Some(now), messages: RUSH }.gathers_until().is_some_and(|until| until <= now + GATHER));
        let long_ago = now.checked_sub(10 * GATHER).expect("the clock is past its beginning");
        let mut rush = Rush { last: Some(long_ago), messages: 1000 };
        assert_eq!(rush.gathers_until(), None);
        rush.sent();
        assert_eq!(rush.messages, 0, "an echo after a pause is sent at once");
    }
}
