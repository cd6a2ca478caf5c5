//! What is left of a request whose answer came before its end, such as "too large". A connection that is closed with
//! bytes unread is reset, and a reset may overtake the answer: the client, or the proxy between, then sees no answer at
//! all. So the rest is read and thrown away first, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Whoever sends more is cut off.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// How long an answer waits for the rest.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// A request's body that outlives the handler it is lent to.
pub struct Lent<B>(Arc<Mutex<B>>);

impl<B> Lent<B>
where
    B: HttpBody<Data = axum::body::Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    pub fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// For the handler.
    pub fn body(&self) -> Body {
        Body::new(Self(Arc::clone(&self.0)))
    }

    /// Reads what the handler left, unless it still reads itself.
    pub async fn read_rest(mut self) {
        if Arc::get_mut(&mut self.0).is_none() || self.is_end_stream() {
            return;
        }
        let rest = async {
            let mut seen = 0;
            while seen < MAX_BYTES {
                match std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await {
                    Some(Ok(frame)) => seen += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(_)) | None => break,
                }
            }
        };
        let _ = tokio::time::timeout(MAX_WAIT, rest).await;
    }
}

impl<B: HttpBody + Unpin> HttpBody for Lent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
