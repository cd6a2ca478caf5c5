//! A client's WebSocket while the gateway itself speaks on it: before the runner is there, and after it was lost.
//! What the client sends early is held as it came, to be handed to the runner later.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use session::frames::{Exit, ServerFrame, Wire, close};
use session::state::Ended;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::upgraded::Upgraded;
use crate::wire::{self, Follower, MAX_CONTROL, opcode};

/// Early bytes that are held: a hello, some typing, a paste.
pub const MAX_HELD: usize = 64 * 1024;
/// Keeps proxies from closing a connection on which nothing else happens.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that sent nothing for this long, no answer to a ping either, is gone. Two pings fit in with time to spare.
const DEAD_AFTER: Duration = Duration::from_secs(65);
/// The gateway's own frames are short; a client that takes none of them for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a frame may wait for another to go with it.
const SOON: Duration = Duration::from_millis(20);
/// How long a client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What ends the gateway's own part of a connection early.
#[derive(Debug)]
pub enum Interrupt {
    /// The client sent a close frame, with this payload, or simply left.
    Closed(Option<Vec<u8>>),
    Failed(io::Error),
    /// More than [`MAX_HELD`] before the terminal was there.
    TooMuch,
    /// Not RFC 6455.
    Malformed,
    /// This gateway stops.
    Draining,
}

/// What is done with the bytes that the client sends.
enum Early {
    /// Held as they came. `frame_at` is where in `held` the frame under way begins; `control` is its payload so far,
    /// if it is a control frame.
    Hold { held: BytesMut, follower: Follower, frame_at: usize, control: Vec<u8> },
    /// The terminal that they were for is gone.
    Discard,
}

/// What is left when the gateway has no more to say by itself.
pub struct Parts {
    pub io: TcpStream,
    pub held: Bytes,
    pub unsent: Vec<u8>,
}

pub struct ClientSocket {
    io: TcpStream,
    /// What came with the handshake and was not looked at yet.
    unread: Bytes,
    wire: Wire,
    early: Early,
    /// Frames that go with the next one, and when they go at the latest.
    unsent: Vec<u8>,
    send_by: Instant,
    ping: Interval,
    heard: Instant,
    drain: CancellationToken,
}

impl ClientSocket {
    /// A connection that was just upgraded.
    pub fn new(Upgraded { io, unread }: Upgraded, wire: Wire, drain: CancellationToken) -> Self {
        let early =
            Early::Hold { held: BytesMut::new(), follower: Follower::default(), frame_at: 0, control: Vec::new() };
        Self::with(io, unread, wire, early, drain)
    }

    /// A connection whose bridge is down, with the runner's last frame whole.
    pub fn after_bridge(io: TcpStream, wire: Wire, drain: CancellationToken) -> Self {
        Self::with(io, Bytes::new(), wire, Early::Discard, drain)
    }

    fn with(io: TcpStream, unread: Bytes, wire: Wire, early: Early, drain: CancellationToken) -> Self {
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self { io, unread, wire, early, unsent: Vec::new(), send_by: now, ping, heard: now, drain }
    }

    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The connection, what the client sent meanwhile, and what was not sent to it yet.
    pub fn into_parts(self) -> Parts {
        let held = match self.early {
            Early::Hold { mut held, .. } => {
                held.extend_from_slice(&self.unread);
                held.freeze()
            }
            Early::Discard => Bytes::new(),
        };
        Parts { io: self.io, held, unsent: self.unsent }
    }

    /// Does `work` while the connection is kept up: pings, holds what comes, and notices when it is over.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::pin!(work);
        let unread = std::mem::take(&mut self.unread);
        let pongs = self.take_early(&unread)?;
        drop(unread);
        if !pongs.is_empty() {
            self.write(&pongs).await?;
        }
        let mut buffer = BytesMut::with_capacity(4096);
        loop {
            let alarm = if self.unsent.is_empty() { self.heard + DEAD_AFTER } else { self.send_by };
            tokio::select! {
                done = &mut work => return Ok(done),
                () = self.drain.cancelled() => return Err(Interrupt::Draining),
                () = sleep_until(alarm) => match self.unsent.is_empty() {
                    true => return Err(Interrupt::Failed(io::ErrorKind::TimedOut.into())),
                    false => self.write(&[]).await?,
                },
                _ = self.ping.tick() => self.write(&wire::server_frame(opcode::PING, b"")).await?,
                read = self.io.read_buf(&mut buffer) => match read {
                    Ok(0) => return Err(Interrupt::Closed(None)),
                    Ok(_) => {
                        self.heard = Instant::now();
                        let pongs = self.take_early(&buffer)?;
                        buffer.clear();
                        if !pongs.is_empty() {
                            self.write(&pongs).await?;
                        }
                    }
                    Err(error) => return Err(Interrupt::Failed(error)),
                },
            }
        }
    }

    pub async fn send(&mut self, frame: &ServerFrame) -> Result<(), Interrupt> {
        self.write(&wire::server_frame(opcode::BINARY, &frame.encode())).await
    }

    /// Has a frame sent with whatever is sent next, in a moment at the latest: a runner that is there has something to
    /// say by then.
    pub fn send_soon(&mut self, frame: &ServerFrame) {
        self.unsent.extend(wire::server_frame(opcode::BINARY, &frame.encode()));
        self.send_by = Instant::now() + SOON;
    }

    /// Says how the session ended, to clients that understand it, and closes.
    pub async fn finish(mut self, ended: Ended) {
        if self.wire == Wire::TtyR1 {
            let exit = Exit {
                code: ended.exit_code,
                signal: ended.signal,
                reason: ended.reason,
                // Where the stream ended is the runner's to know, and it is gone.
                end: 0,
                message: ended.message,
            };
            if self.send(&ServerFrame::Exit(exit)).await.is_err() {
                return;
            }
        }
        self.close(close::ENDED, "").await;
    }

    /// Closes, and lets the frame arrive: a connection dropped with unread bytes is reset, which can overtake it.
    pub async fn close(mut self, code: u16, reason: &'static str) {
        if self.write(&wire::close_frame(code, reason)).await.is_ok() {
            self.linger().await;
        }
    }

    /// Answers a client's own close frame (RFC 6455, 5.5.1), after which it sends nothing that could go unread.
    pub async fn answer_close(mut self, payload: &[u8]) {
        if self.write(&wire::server_frame(opcode::CLOSE, payload)).await.is_ok() {
            let _ = timeout(CLOSE_TIMEOUT, self.io.shutdown()).await;
        }
    }

    async fn linger(&mut self) {
        let _ = timeout(CLOSE_TIMEOUT, async {
            let _ = self.io.shutdown().await;
            let mut rest = [0; 1024];
            while matches!(self.io.read(&mut rest).await, Ok(1..)) {}
        })
        .await;
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Interrupt> {
        let unsent = std::mem::take(&mut self.unsent);
        let bytes = if unsent.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned([&unsent, bytes].concat()) };
        match timeout(SEND_TIMEOUT, self.io.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Interrupt::Failed(error)),
            Err(_) => Err(Interrupt::Failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Holds what the client sent. Control frames are the gateway's own business as yet: the answer is the pongs to send.
    fn take_early(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Interrupt> {
        let mut pongs = Vec::new();
        let Early::Hold { held, follower, frame_at, control } = &mut self.early else { return Ok(pongs) };
        while !bytes.is_empty() {
            let Some(piece) = follower.next(bytes).map_err(|_| Interrupt::Malformed)? else {
                held.extend_from_slice(bytes);
                break;
            };
            held.extend_from_slice(&bytes[..piece.used]);
            bytes = &bytes[piece.used..];
            let mask = piece.header.mask.ok_or(Interrupt::Malformed)?;
            if piece.header.is_control() {
                if piece.header.length > MAX_CONTROL as u64 {
                    return Err(Interrupt::Malformed);
                }
                control.extend_from_slice(piece.payload);
            }
            if piece.ends {
                if piece.header.is_control() {
                    let mut payload = std::mem::take(control);
                    wire::unmask(mask, &mut payload);
                    match piece.header.opcode {
                        opcode::CLOSE => return Err(Interrupt::Closed(Some(payload))),
                        opcode::PING => pongs.extend(wire::server_frame(opcode::PONG, &payload)),
                        _ => {}
                    }
                    held.truncate(*frame_at);
                }
                *frame_at = held.len();
            }
        }
        if held.len() > MAX_HELD { Err(Interrupt::TooMuch) } else { Ok(pongs) }
    }
}
