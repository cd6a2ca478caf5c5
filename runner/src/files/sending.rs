//! A body on its way to somebody who may be slow: a few blocks wait, whoever makes more waits too, and what is cut short
//! never looks whole.

use std::io::{self, Write};

use axum::body::Body;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::STALL_LIMIT;

/// Blocks that wait to be taken.
const WAITING: usize = 2;

enum Piece {
    Bytes(Bytes),
    /// That was all.
    End,
}

/// Where the body is put in. Dropping it without [`Outlet::finish`] breaks the answer off.
pub struct Outlet {
    pieces: mpsc::Sender<Piece>,
    /// Kept until the last byte was taken, or nobody takes any.
    _place: OwnedSemaphorePermit,
}

/// Nobody takes the body any more.
#[derive(Debug, thiserror::Error)]
#[error("the other side is gone or takes nothing")]
pub struct Gone;

pub fn body(place: OwnedSemaphorePermit) -> (Outlet, Body) {
    let (pieces, taken) = mpsc::channel(WAITING);
    let body = futures_util::stream::unfold(Some(taken), |taken| async {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(taken))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the file could not be read to its end")), None)),
        }
    });
    (Outlet { pieces, _place: place }, Body::from_stream(body))
}

impl Outlet {
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.pieces.send_timeout(Piece::Bytes(bytes), STALL_LIMIT).await.map_err(|_| Gone)
    }

    /// Says that this was all, and waits until it was taken.
    pub async fn finish(self) {
        if self.pieces.send_timeout(Piece::End, STALL_LIMIT).await.is_ok() {
            let _ = timeout(STALL_LIMIT, self.pieces.closed()).await;
        }
    }
}

/// For those who write and block.
pub struct Writer {
    outlet: Outlet,
    runtime: Handle,
}

impl Writer {
    pub fn new(outlet: Outlet, runtime: Handle) -> Self {
        Self { outlet, runtime }
    }

    pub fn finish(self) {
        self.runtime.block_on(self.outlet.finish());
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.runtime.block_on(self.outlet.send(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|gone| io::Error::new(io::ErrorKind::BrokenPipe, gone))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
