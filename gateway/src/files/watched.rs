//! A body whose progress somebody watches.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use super::STALL_LIMIT;

/// Hands a body on as it is.
pub struct Watched<B> {
    body: B,
    progress: watch::Sender<()>,
}

/// Sees a [`Watched`] body from elsewhere.
pub struct Watch(watch::Receiver<()>);

impl<B> Watched<B> {
    pub fn new(body: B) -> (Self, Watch) {
        let (progress, seen) = watch::channel(());
        (Self { body, progress }, Watch(seen))
    }
}

impl Watch {
    /// Whether the body was done with; `false` once nothing of it moved for [`STALL_LIMIT`].
    pub async fn moves_to_its_end(&mut self) -> bool {
        loop {
            match timeout(STALL_LIMIT, self.0.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.progress.send_replace(());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_seen_and_one_that_moves_is_not() {
        let slow = futures_util::stream::unfold(0, |count| async move {
            tokio::time::sleep(STALL_LIMIT - Duration::from_secs(1)).await;
            (count < 5).then(|| (Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), count + 1))
        });
        let (body, mut watch) = Watched::new(StreamBody::new(Box::pin(slow)));
        let (read, moved) = tokio::join!(body.collect(), watch.moves_to_its_end());
        assert_eq!(read.unwrap().to_bytes(), "xxxxx");
        assert!(moved);

        let (untaken, mut watch) = Watched::new(Full::new(Bytes::from_static(b"x")));
        assert!(!watch.moves_to_its_end().await);
        drop(untaken);
        assert!(watch.moves_to_its_end().await);
    }
}
