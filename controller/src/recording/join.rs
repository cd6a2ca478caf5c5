//! Joining: a recording's chunks become one object. Done when nothing more is to come, by any controller, by two at once, or
//! again by another where one was killed in the middle: the same chunks make the same object, and none is deleted before
//! it is there.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use session::SessionId;

use super::Recordings;
use super::contents::Contents;
use super::failure::is_missing;
use super::storage::Storage;
use crate::fault::{self, Point};

/// What is put as one part, and what is put at once where it is less. S3 takes no smaller parts.
const PART: usize = 5 * 1024 * 1024;

impl Recordings {
    /// Nothing more is to come of this session: joins what is there. Returns at once; what fails, the sweep does.
    pub fn settle(self: &Arc<Self>, session: SessionId) {
        let recordings = Arc::clone(self);
        self.spawn(async move { recordings.join(session).await });
    }

    pub(super) async fn join(&self, session: SessionId) {
        if !self.being_joined.lock().expect("joins lock").insert(session) {
            return;
        }
        let _leaving = Leaving { recordings: self, session };
        let Ok(_place) = self.joining.acquire().await else { return };
        match self.join_chunks(session).await {
            Ok(true) => {
                self.metrics.joined.inc();
                tracing::debug!(%session, "recording joined");
            }
            Ok(false) => {}
            // Somebody else has joined them meanwhile.
            Err(error) if is_missing(&error) => {}
            Err(error) => self.note_failure(&error, "a recording cannot be joined; it is tried again"),
        }
    }

    /// `false`: there was nothing to be joined, or it had been.
    async fn join_chunks(&self, session: SessionId) -> object_store::Result<bool> {
        let chunks = self.chunks(session).await?;
        if chunks.is_empty() {
            return Ok(false);
        }
        // After the chunks were listed: see there.
        let done = self.joined(session).await?.is_some();
        let contents = Contents::of_chunks(&chunks);
        let joins = !done && contents.size > 0;
        if joins {
            self.write_joined(session, contents).await?;
            fault::pass(Point::RecordingJoined);
        }
        self.delete(chunks.into_iter().map(|meta| meta.location).collect()).await?;
        Ok(joins)
    }

    async fn write_joined(&self, session: SessionId, contents: Contents) -> object_store::Result<()> {
        let (store, place) = (&self.storage.store, Storage::joined(session));
        let size = usize::try_from(contents.size).unwrap_or(usize::MAX);
        let mut pieces = self.pieces(&contents, 0..contents.size);
        if size <= PART {
            let mut whole = BytesMut::with_capacity(size);
            while let Some(piece) = pieces.try_next().await? {
                whole.extend_from_slice(&piece);
            }
            store.put(&place, whole.freeze().into()).await?;
            return Ok(());
        }
        let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&place).await?, PART);
        loop {
            let next = match pieces.try_next().await {
                Ok(Some(piece)) => {
                    upload.put(piece);
                    upload.wait_for_capacity(1).await
                }
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = next {
                // The parts that are there would be paid for and never seen.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        upload.finish().await.map(drop)
    }

    pub(super) async fn delete(&self, places: Vec<Path>) -> object_store::Result<()> {
        let mut deleted = self.storage.store.delete_stream(stream::iter(places.into_iter().map(Ok)).boxed());
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Forgets that a session is being joined, however that ends.
struct Leaving<'a> {
    recordings: &'a Recordings,
    session: SessionId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Ok(mut joined) = self.recordings.being_joined.lock() {
            joined.remove(&self.session);
        }
    }
}
