//! A connection that breaks after so many bytes, wherever in a frame that is.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub struct Cutting {
    stream: TcpStream,
    /// Bytes that may still be read, and written.
    reads: usize,
    writes: usize,
}

impl Cutting {
    pub async fn connect(address: &str, reads: usize, writes: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, reads, writes })
    }
}

fn cut<T>() -> Poll<Result<T>> {
    Poll::Ready(Err(Error::from(ErrorKind::ConnectionReset)))
}

impl AsyncRead for Cutting {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.reads == 0 {
            return cut();
        }
        let room = self.reads.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
        let read = part.filled().len();
        buffer.advance(read);
        self.reads -= read;
        polled
    }
}

impl AsyncWrite for Cutting {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let may = self.writes.min(bytes.len());
        if may == 0 && !bytes.is_empty() {
            return cut();
        }
        let written = Pin::new(&mut self.stream).poll_write(context, &bytes[..may]);
        if let Poll::Ready(Ok(written)) = &written {
            self.writes -= written;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
