//! The bridge between a client and its runner. Client to runner is copied untouched; runner to client is copied while
//! its frame headers are followed, so that whoever speaks next on the client's connection knows what may stand there.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::buffers;
use crate::metrics::Traffic;
use crate::wire::{Follower, opcode};

/// Reads of one connection in a row, before the others have their turn.
const IN_A_ROW: usize = 16;
/// Our runner pings its clients at least every 25 seconds: one that sent nothing for this long is gone with its machine.
pub const RUNNER_DEAD_AFTER: Duration = Duration::from_secs(65);
/// How long one side may go on after the other has closed in good order.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// Which side ended the bridge, and how.
#[derive(Debug)]
pub enum Ending {
    ClientClosed,
    ClientError(io::Error),
    /// After its close frame.
    RunnerClosed,
    /// Without a close frame: by the end of its connection (no error), or by an error.
    RunnerLost(Option<io::Error>),
    Drained,
}

/// What may follow on the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Any frame.
    Message,
    /// A control frame: a fragmented message is under way.
    Frame,
    /// Nothing: a frame was cut, or the runner's close frame was passed on.
    Nothing,
}

/// Both sides of a bridge, and what was said on them before, for the other.
pub struct Connected {
    pub client: TcpStream,
    pub runner: TcpStream,
    pub to_runner: Rest,
    pub to_client: Rest,
}

/// What ends a bridge beside its two sides.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Cancelled when the bridge has to go.
    pub drain: &'a CancellationToken,
    /// How long a frame that is under way then may take to its end.
    pub drain_for: Duration,
    /// How long nothing may come from the runner; without it, for ever.
    pub silence: Option<Duration>,
}

/// Copies until one side ends or a limit is reached. The client's connection may still be spoken on then.
///
/// What only its end needs is boxed when the end comes: the state of a bridge is what an idle terminal costs.
pub async fn run(
    Connected { client, runner, to_runner, to_client }: &mut Connected,
    traffic: &Traffic,
    limits: Limits<'_>,
) -> (Ending, Boundary) {
    let (mut client_reads, mut client_writes) = client.split();
    let (mut runner_reads, mut runner_writes) = runner.split();
    let mut down = Downstream::new(to_client, limits.silence);
    let ending = {
        let draining = AtomicBool::new(false);
        let upward = copy_up(&mut client_reads, &mut runner_writes, to_runner, traffic);
        let downward = down.copy(&mut runner_reads, &mut client_writes, traffic, &draining);
        tokio::pin!(upward, downward);
        let forced = async {
            limits.drain.cancelled().await;
            draining.store(true, Ordering::Relaxed);
            Box::pin(sleep(limits.drain_for)).await;
        };
        let both = async {
            tokio::select! {
                ending = &mut downward => {
                    if matches!(ending, Ending::RunnerClosed) {
                        // The client's answer to the runner's close frame.
                        let _ = Box::pin(timeout(HALF_CLOSED, &mut upward)).await;
                    }
                    ending
                }
                up = &mut upward => match up {
                    Up::ClientError(error) => Ending::ClientError(error),
                    // What the runner still has to say is for the client: its output, its close frame.
                    Up::ClientClosed => match Box::pin(timeout(HALF_CLOSED, &mut downward)).await {
                        Ok(Ending::Drained) => Ending::Drained,
                        _ => Ending::ClientClosed,
                    },
                    Up::RunnerError(error) => Box::pin(timeout(HALF_CLOSED, &mut downward))
                        .await
                        .unwrap_or(Ending::RunnerLost(Some(error))),
                },
            }
        };
        tokio::select! {
            // First, since the way down goes by what it says.
            biased;
            () = forced => Ending::Drained,
            ending = both => ending,
        }
    };
    (ending, down.boundary())
}

/// Bytes that were read and are not written yet.
#[derive(Default)]
pub struct Rest {
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
}

impl Rest {
    pub fn of(bytes: &[u8]) -> Self {
        Self { buffer: bytes.into(), at: 0, end: bytes.len() }
    }

    fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// Reads a chunk; nothing else may be waiting.
    fn poll_read(&mut self, cx: &mut Context<'_>, reader: &mut (impl AsyncRead + Unpin)) -> Poll<io::Result<()>> {
        let mut buffer = buffers::take();
        let mut read = ReadBuf::new(&mut buffer);
        let done = Pin::new(reader).poll_read(cx, &mut read);
        let end = read.filled().len();
        if end == 0 {
            buffers::give(buffer);
        } else {
            *self = Self { buffer, at: 0, end };
        }
        done
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, writer: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<()>> {
        while self.at < self.end {
            match ready!(Pin::new(&mut *writer).poll_write(cx, &self.buffer[self.at..self.end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.at += count,
            }
        }
        buffers::give(std::mem::take(&mut self.buffer));
        (self.at, self.end) = (0, 0);
        Poll::Ready(Ok(()))
    }
}

/// Lets others have their turn.
fn pause<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// How the way up ended.
enum Up {
    ClientClosed,
    ClientError(io::Error),
    RunnerError(io::Error),
}

async fn copy_up<C, R>(client: &mut C, runner: &mut R, rest: &mut Rest, traffic: &Traffic) -> Up
where
    C: AsyncRead + Unpin,
    R: AsyncWrite + Unpin,
{
    traffic.to_runner.inc_by(rest.end as u64);
    let copied = poll_fn(|cx| {
        for _ in 0..IN_A_ROW {
            ready!(rest.poll_write(cx, runner)).map_err(Up::RunnerError)?;
            ready!(rest.poll_read(cx, client)).map_err(Up::ClientError)?;
            if rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            traffic.to_runner.inc_by(rest.end as u64);
        }
        pause(cx)
    });
    if let Err(up) = copied.await {
        return up;
    }
    match runner.shutdown().await {
        Ok(()) => Up::ClientClosed,
        Err(error) => Up::RunnerError(error),
    }
}

/// The way down, and what is known of its frames.
struct Downstream<'a> {
    follower: Follower,
    /// The runner's close frame has been seen: it has said all that it had to say.
    closed: bool,
    /// The stream cannot be followed, or is broken off: where it stands is unknown.
    lost_track: bool,
    /// While there are any, a write to the client is begun and not finished.
    rest: &'a mut Rest,
    /// When something came from the runner, and how long nothing may.
    heard: Instant,
    silence: Option<Duration>,
}

impl<'a> Downstream<'a> {
    fn new(rest: &'a mut Rest, silence: Option<Duration>) -> Self {
        let (follower, heard) = (Follower::default(), Instant::now());
        let mut down = Self { follower, closed: false, lost_track: false, rest, heard, silence };
        down.lost_track = down.follow(false).is_none();
        down
    }

    fn boundary(&self) -> Boundary {
        if self.lost_track || self.closed || !self.rest.is_empty() || !self.follower.between_frames() {
            Boundary::Nothing
        } else if self.follower.between_messages() {
            Boundary::Message
        } else {
            Boundary::Frame
        }
    }

    async fn copy<R, C>(&mut self, runner: &mut R, client: &mut C, traffic: &Traffic, draining: &AtomicBool) -> Ending
    where
        R: AsyncRead + Unpin,
        C: AsyncWrite + Unpin,
    {
        traffic.to_client.inc_by(self.rest.end as u64);
        // One for the whole connection: it is looked at when it goes off, not with every chunk.
        let alarm = self.silence.map(sleep);
        tokio::pin!(alarm);
        poll_fn(|cx| {
            let draining = draining.load(Ordering::Relaxed);
            if let Poll::Ready(ending) = self.poll_chunks(cx, runner, client, traffic, draining) {
                return Poll::Ready(ending);
            }
            let (Some(limit), Some(mut alarm)) = (self.silence, alarm.as_mut().as_pin_mut()) else {
                return Poll::Pending;
            };
            loop {
                ready!(alarm.as_mut().poll(cx));
                let now = Instant::now();
                // While the client takes nothing, the runner is not listened to.
                let heard = if self.rest.is_empty() { self.heard } else { now };
                if heard + limit <= now {
                    return Poll::Ready(self.gone(Some(io::ErrorKind::TimedOut.into())));
                }
                alarm.as_mut().reset(heard + limit);
            }
        })
        .await
    }

    /// Copies while there is something to copy.
    fn poll_chunks<R, C>(
        &mut self,
        cx: &mut Context<'_>,
        runner: &mut R,
        client: &mut C,
        traffic: &Traffic,
        draining: bool,
    ) -> Poll<Ending>
    where
        R: AsyncRead + Unpin,
        C: AsyncWrite + Unpin,
    {
        for _ in 0..IN_A_ROW {
            if let Err(error) = ready!(self.rest.poll_write(cx, client)) {
                self.lost_track = true;
                return Poll::Ready(Ending::ClientError(error));
            }
            if draining && self.boundary() != Boundary::Nothing {
                return Poll::Ready(Ending::Drained);
            }
            if let Err(error) = ready!(self.rest.poll_read(cx, runner)) {
                return Poll::Ready(self.gone(Some(error)));
            }
            if self.rest.is_empty() {
                if !self.closed {
                    return Poll::Ready(self.gone(None));
                }
                return Pin::new(client).poll_shutdown(cx).map(|shut| match shut {
                    Ok(()) => Ending::RunnerClosed,
                    Err(error) => Ending::ClientError(error),
                });
            }
            self.heard = Instant::now();
            // Draining, only the rest of the frame under way is owed: the runner keeps what follows.
            match self.follow(draining) {
                Some(owed) => self.rest.end = owed,
                None => self.lost_track = true,
            }
            traffic.to_client.inc_by(self.rest.end as u64);
        }
        pause(cx)
    }

    /// Nothing more comes from the runner.
    fn gone(&self, error: Option<io::Error>) -> Ending {
        if self.closed && error.is_some() { Ending::RunnerClosed } else { Ending::RunnerLost(error) }
    }

    /// Follows what was read, to the end of its first frame only if `one_frame`. Answers how far; `None` when the runner
    /// sends what cannot be followed.
    fn follow(&mut self, one_frame: bool) -> Option<usize> {
        let chunk = &self.rest.buffer[..self.rest.end];
        let mut at = 0;
        while at < chunk.len() && !self.lost_track {
            let Some(piece) = self.follower.next(&chunk[at..]).ok()? else { return Some(chunk.len()) };
            at += piece.used;
            self.closed |= piece.header.opcode == opcode::CLOSE;
            if piece.ends && one_frame {
                return Some(at);
            }
        }
        Some(chunk.len())
    }
}
