//! One connection, from hello to its end: frames to the display, keys and sizes to the server.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use session::frames::{ClientFrame, Exit, Take, Wire};
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::Local;
use super::client::notice;
use super::display::{Chunk, Display};
use super::keyboard::{Keyboard, TAKE_NAME, after_take};
use super::lease::Change;
use super::link::{Event, Link};
use super::modes::Modes;
use super::place::{Place, Reaction};
use super::stop::{StopSignals, Stopped};

/// A sign of life is asked for this often,
const PING_EVERY: Duration = Duration::from_secs(20);
/// and a connection without any for so long is lost: a laptop slept, a NAT forgot.
const SILENCE: Duration = Duration::from_secs(60);
/// Input that may be unacknowledged; more waits in the keyboard's queue.
const UNACKNOWLEDGED: usize = 1 << 20;
/// Input bytes in one message, well below the server's limit for one.
const INPUT_CHUNK: usize = 64 * 1024;

/// The local side, which outlives connections.
pub struct LocalEnd {
    pub local: Local,
    pub keyboard: Keyboard,
    pub display: Display,
    pub written: watch::Receiver<u64>,
    pub modes: Modes,
    pub stop: StopSignals,
    pub resized: Signal,
}

/// How a connection ended.
pub enum Turn {
    Exit(Exit),
    /// By the person, or because all that was wanted is there.
    Detached,
    Stopped(Stopped),
    OutputClosed,
    Closed(u16),
    Lost(String),
}

/// What woke the loop.
enum Wake {
    Event(Event),
    OutputClosed,
    Keys(Option<Vec<u8>>),
    Leave,
    Stopped(Stopped),
    Resized,
    Written,
    Tick,
}

/// Talks until the connection, the session or the person is done.
pub async fn converse(link: &mut Link, place: &mut Place, end: &mut LocalEnd) -> Turn {
    let mut ticks = tokio::time::interval(PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let sent = match wait(link, place, end, &mut ticks).await {
            Wake::Event(Event::Closed(code)) => return Turn::Closed(code),
            Wake::Event(Event::Lost(why)) => return Turn::Lost(why),
            Wake::Event(Event::Nothing) => {
                heard = Instant::now();
                Ok(())
            }
            Wake::Event(Event::Frame(frame)) => {
                heard = Instant::now();
                let reaction = place.take(frame);
                if let Some(turn) = react(&reaction, place, end) {
                    return turn;
                }
                send_input(link, reaction.resend).await
            }
            Wake::OutputClosed => return Turn::OutputClosed,
            Wake::Keys(keys) => type_keys(link, place, keys).await,
            Wake::Leave => return Turn::Detached,
            Wake::Stopped(by) => return Turn::Stopped(by),
            Wake::Resized => match end.local.size() {
                Some(size) => link.send(ClientFrame::Resize(size)).await,
                None => Ok(()),
            },
            Wake::Written => acknowledge(link, &mut end.written).await,
            Wake::Tick if !end.display.has_room() => {
                // What was said meanwhile was not listened to.
                heard = Instant::now();
                link.ping().await
            }
            Wake::Tick if heard.elapsed() > SILENCE => return Turn::Lost("nothing was heard for a minute".to_owned()),
            Wake::Tick => link.ping().await,
        };
        if let Err(why) = sent {
            // What the server said last (an exit, a close code) may still be there to be read.
            return last_words(link, place, end).await.unwrap_or(Turn::Lost(why));
        }
    }
}

async fn wait(link: &mut Link, place: &Place, end: &mut LocalEnd, ticks: &mut tokio::time::Interval) -> Wake {
    let LocalEnd { keyboard, display, written, stop, resized, .. } = end;
    let typing = link.wire == Wire::Tty || place.may_type();
    let room_to_type = typing && place.input.waiting() < UNACKNOWLEDGED;
    tokio::select! {
        // Nothing is read that could not be shown: a slow output holds the server back, and so its program.
        event = async { if display.room().await { Some(link.next().await) } else { None } } => {
            event.map_or(Wake::OutputClosed, Wake::Event)
        }
        keys = keyboard.keys.recv(), if room_to_type => Wake::Keys(keys),
        () = keyboard.leave.notified() => Wake::Leave,
        by = stop.recv() => Wake::Stopped(by),
        Some(()) = resized.recv() => Wake::Resized,
        Ok(()) = written.changed(), if link.wire == Wire::TtyR1 => Wake::Written,
        _ = ticks.tick() => Wake::Tick,
    }
}

/// Shows what a frame brought; answers how the connection ends, if that was the last.
fn react(reaction: &Reaction, place: &mut Place, end: &mut LocalEnd) -> Option<Turn> {
    if let Some(waiting) = &reaction.waiting {
        let text = waiting.text.trim();
        if !text.is_empty() {
            notice(end.local, text);
            place.spoil();
        }
    }
    if reaction.lost > 0 && end.local != Local::Terminal {
        notice(end.local, &format!("{} bytes of output are not kept any more and are left out here", reaction.lost));
    }
    show(reaction, place.offset(), end);
    if let Some(change) = reaction.keyboard {
        notice(end.local, &told(change));
        place.spoil();
    }
    match &reaction.exit {
        Some(exit) => Some(Turn::Exit(exit.clone())),
        None => reaction.caught_up.then_some(Turn::Detached),
    }
}

/// Nobody else writes to the display, and `wait` saw that there is room.
fn show(reaction: &Reaction, offset: u64, end: &mut LocalEnd) {
    let mut bytes = BytesMut::new();
    if reaction.reset {
        bytes.extend_from_slice(&end.modes.undo());
        if offset > 0 && *end.written.borrow() == 0 {
            // What is on a person's screen before anything of ours goes to where it can be scrolled back to.
            let rows = end.local.size().map_or(0, |size| size.rows);
            bytes.extend_from_slice(format!("\x1b[{rows}H{}", "\n".repeat(rows.into())).as_bytes());
        }
        bytes.extend_from_slice(b"\x1b[H\x1b[2J");
    }
    if end.local == Local::Terminal {
        end.modes.follow(&reaction.show);
    }
    let bytes = if bytes.is_empty() {
        reaction.show.clone()
    } else {
        bytes.extend_from_slice(&reaction.show);
        bytes.freeze()
    };
    // Also without a byte to show: that the offset was reached is to be acknowledged.
    if reaction.moved || !bytes.is_empty() {
        end.display.show(Chunk { bytes, end: offset });
    }
}

fn told(change: Change) -> String {
    match change {
        Change::Got => "you have the keyboard".to_owned(),
        Change::Lost => format!("somebody else has the keyboard and sets the size; {TAKE_NAME} takes both over"),
    }
}

async fn type_keys(link: &mut Link, place: &mut Place, keys: Option<Vec<u8>>) -> Result<(), String> {
    let Some(mut keys) = keys else { return Ok(()) };
    if link.wire == Wire::Tty {
        return link.send(ClientFrame::Input(keys.into())).await;
    }
    if place.lease.is_elsewhere() {
        // The server would throw it away. A terminal's own answers go the same way: they are another's to give.
        let Some(rest) = after_take(&keys) else { return Ok(()) };
        keys = rest.to_vec();
        link.send(ClientFrame::Take(Take::default())).await?;
        place.lease.ask();
    }
    if keys.is_empty() {
        return Ok(());
    }
    let at = place.input.typed(&keys);
    link.send(ClientFrame::InputAt(at, keys.into())).await
}

async fn send_input(link: &mut Link, rest: Option<(u64, Bytes)>) -> Result<(), String> {
    let Some((mut at, mut rest)) = rest else { return Ok(()) };
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(INPUT_CHUNK));
        let next = at + part.len() as u64;
        link.send(ClientFrame::InputAt(at, part)).await?;
        at = next;
    }
    Ok(())
}

async fn acknowledge(link: &mut Link, written: &mut watch::Receiver<u64>) -> Result<(), String> {
    let offset = *written.borrow_and_update();
    link.send(ClientFrame::Ack(offset)).await
}

/// Reads what is still there after sending failed.
async fn last_words(link: &mut Link, place: &mut Place, end: &mut LocalEnd) -> Option<Turn> {
    loop {
        match tokio::time::timeout(Duration::from_secs(2), link.next()).await.ok()? {
            Event::Closed(code) => return Some(Turn::Closed(code)),
            Event::Lost(_) => return None,
            Event::Nothing => {}
            Event::Frame(frame) => {
                let reaction = place.take(frame);
                if let Some(turn) = react(&reaction, place, end) {
                    return Some(turn);
                }
            }
        }
    }
}
