//! The bridge between a client and its runner. Client to runner is copied untouched; runner to client is copied while
//! its frame headers are followed, so that whoever speaks next on the client's connection knows what may stand there.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Traffic;
use crate::wire::{Follower, opcode};

/// One TLS record's worth. Larger ones gain little and are paid for by every connection.
const BUFFER: usize = 16 * 1024;
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

/// A bridge that is down.
pub struct Bridged<C> {
    pub ending: Ending,
    pub boundary: Boundary,
    pub client: C,
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

/// Copies until one side ends or a limit is reached. `held` is what the client said before.
pub async fn run<C, R>(client: C, runner: R, held: &[u8], traffic: &Traffic, limits: Limits<'_>) -> Bridged<C>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client_reads, mut client_writes) = split(client);
    let (mut runner_reads, mut runner_writes) = split(runner);
    let mut down = Downstream::default();
    let ending = {
        let upward = copy_up(&mut client_reads, &mut runner_writes, held, traffic);
        let downward = down.copy(&mut runner_reads, &mut client_writes, traffic, limits);
        tokio::pin!(upward, downward);
        let forced = async {
            limits.drain.cancelled().await;
            sleep(limits.drain_for).await;
        };
        let both = async {
            tokio::select! {
                ending = &mut downward => {
                    if matches!(ending, Ending::RunnerClosed) {
                        // The client's answer to the runner's close frame.
                        let _ = timeout(HALF_CLOSED, &mut upward).await;
                    }
                    ending
                }
                up = &mut upward => match up {
                    Up::ClientError(error) => Ending::ClientError(error),
                    // What the runner still has to say is for the client: its output, its close frame.
                    Up::ClientClosed => match timeout(HALF_CLOSED, &mut downward).await {
                        Ok(Ending::Drained) => Ending::Drained,
                        _ => Ending::ClientClosed,
                    },
                    Up::RunnerError(error) => timeout(HALF_CLOSED, &mut downward)
                        .await
                        .unwrap_or(Ending::RunnerLost(Some(error))),
                },
            }
        };
        tokio::select! {
            ending = both => ending,
            () = forced => Ending::Drained,
        }
    };
    Bridged { ending, boundary: down.boundary(), client: client_reads.unsplit(client_writes) }
}

/// How the way up ended.
enum Up {
    ClientClosed,
    ClientError(io::Error),
    RunnerError(io::Error),
}

async fn copy_up<C, R>(client: &mut C, runner: &mut R, held: &[u8], traffic: &Traffic) -> Up
where
    C: AsyncRead + Unpin,
    R: AsyncWrite + Unpin,
{
    traffic.to_runner.inc_by(held.len() as u64);
    if let Err(error) = runner.write_all(held).await {
        return Up::RunnerError(error);
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match client.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Up::ClientError(error),
        };
        if let Err(error) = runner.write_all(&buffer[..count]).await {
            return Up::RunnerError(error);
        }
        traffic.to_runner.inc_by(count as u64);
    }
    match runner.shutdown().await {
        Ok(()) => Up::ClientClosed,
        Err(error) => Up::RunnerError(error),
    }
}

async fn read_within<R: AsyncRead + Unpin>(
    limit: Option<Duration>,
    reader: &mut R,
    buffer: &mut [u8],
) -> io::Result<usize> {
    match limit {
        Some(limit) => timeout(limit, reader.read(buffer)).await.unwrap_or_else(|late| Err(late.into())),
        None => reader.read(buffer).await,
    }
}

/// The way down, and what is known of its frames.
#[derive(Default)]
struct Downstream {
    follower: Follower,
    /// The runner's close frame has been seen: it has said all that it had to say.
    closed: bool,
    /// A write to the client was begun and not finished, or the stream cannot be followed: where it stands is unknown.
    lost_track: bool,
}

impl Downstream {
    fn boundary(&self) -> Boundary {
        if self.lost_track || self.closed || !self.follower.between_frames() {
            Boundary::Nothing
        } else if self.follower.between_messages() {
            Boundary::Message
        } else {
            Boundary::Frame
        }
    }

    async fn copy<R, C>(
        &mut self,
        runner: &mut R,
        client: &mut C,
        traffic: &Traffic,
        Limits { drain, silence, .. }: Limits<'_>,
    ) -> Ending
    where
        R: AsyncRead + Unpin,
        C: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = tokio::select! {
                biased;
                () = drain.cancelled(), if self.boundary() != Boundary::Nothing => return Ending::Drained,
                read = read_within(silence, runner, &mut buffer) => read,
            };
            let chunk = match read {
                Ok(0) if self.closed => {
                    return match client.shutdown().await {
                        Ok(()) => Ending::RunnerClosed,
                        Err(error) => Ending::ClientError(error),
                    };
                }
                Ok(0) => return Ending::RunnerLost(None),
                Ok(count) => &buffer[..count],
                Err(_) if self.closed => return Ending::RunnerClosed,
                Err(error) => return Ending::RunnerLost(Some(error)),
            };
            // Draining, only the rest of the frame under way is owed: the runner keeps what follows.
            let owed = self.follow(chunk, drain.is_cancelled());
            self.lost_track |= owed.is_none();
            let owed = owed.unwrap_or(chunk.len());
            let tracked = std::mem::replace(&mut self.lost_track, true);
            if let Err(error) = client.write_all(&chunk[..owed]).await {
                return Ending::ClientError(error);
            }
            self.lost_track = tracked;
            traffic.to_client.inc_by(owed as u64);
        }
    }

    /// Follows a chunk, to the end of its first frame only if `one_frame`. Answers how far; `None` when the runner sends
    /// what cannot be followed.
    fn follow(&mut self, chunk: &[u8], one_frame: bool) -> Option<usize> {
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
