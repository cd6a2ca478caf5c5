//! What is there of a recording: one object, or chunks that are the same bytes at the same places. A reader who began with
//! the chunks goes on in the object that they became meanwhile.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use session::SessionId;
use tokio::sync::mpsc;

use super::Recordings;
use super::failure::is_missing;
use super::storage::{Kind, Storage, read_path};

/// Bytes that are asked for at once: a slow reader is no request that takes too long.
const PIECE: u64 = 256 * 1024;
/// Requests that are on their way for one reader.
const AHEAD: usize = 2;

/// The parts of a recording, in order.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    parts: Vec<(Path, u64)>,
    pub size: u64,
    /// Of the joined object; `None` while there are chunks, whose number grows.
    pub tag: Option<String>,
    pub joined: bool,
}

/// Why reading stopped.
enum Stopped {
    /// Nobody reads any more.
    Unread,
    Store(object_store::Error),
}

impl Contents {
    fn of_joined(meta: ObjectMeta) -> Self {
        let tag = meta.e_tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        Self { size: meta.size, parts: vec![(meta.location, meta.size)], tag, joined: true }
    }

    /// The chunks of the last assignment, up to the first that is missing.
    pub fn of_chunks(objects: &[ObjectMeta]) -> Self {
        let mut chunks: Vec<_> = objects
            .iter()
            .filter_map(|meta| match read_path(&meta.location)?.1 {
                Kind::Chunk { epoch, number } => Some((epoch, number, meta)),
                Kind::Joined => None,
            })
            .collect();
        chunks.sort_unstable_by_key(|&(epoch, number, _)| (epoch, number));
        let last = chunks.last().map_or(0, |&(epoch, ..)| epoch);
        let whole = chunks.into_iter().filter(|&(epoch, ..)| epoch == last);
        let parts: Vec<_> = (0..)
            .zip(whole)
            .take_while(|(expected, (_, number, _))| expected == number)
            .map(|(_, (.., meta))| (meta.location.clone(), meta.size))
            .collect();
        Self { size: parts.iter().map(|(_, size)| size).sum(), parts, tag: None, joined: false }
    }

    /// Where the bytes of a range are.
    fn pieces(&self, range: Range<u64>) -> Vec<(Path, Range<u64>)> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        for (path, size) in &self.parts {
            let (mut from, until) = (range.start.saturating_sub(begin), range.end.saturating_sub(begin).min(*size));
            while from < until {
                let end = until.min(from + PIECE);
                pieces.push((path.clone(), from..end));
                from = end;
            }
            begin += size;
        }
        pieces
    }
}

impl Recordings {
    /// Whether there is anything of a session's recording. A store that cannot tell has nothing.
    pub async fn has(&self, session: SessionId) -> bool {
        self.contents(session).await.is_ok_and(|contents| contents.is_some())
    }

    /// What is there of a session's recording; `None`: nothing is.
    pub(super) async fn contents(&self, session: SessionId) -> object_store::Result<Option<Contents>> {
        if let Some(contents) = self.joined(session).await? {
            return Ok(Some(contents));
        }
        let chunks = self.chunks(session).await?;
        // Chunks go only when the object is there: if it is not, those were all.
        if let Some(contents) = self.joined(session).await? {
            return Ok(Some(contents));
        }
        let contents = Contents::of_chunks(&chunks);
        Ok((contents.size > 0).then_some(contents))
    }

    pub(super) async fn joined(&self, session: SessionId) -> object_store::Result<Option<Contents>> {
        match self.storage.store.head(&Storage::joined(session)).await {
            Ok(meta) => Ok(Some(Contents::of_joined(meta))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn chunks(&self, session: SessionId) -> object_store::Result<Vec<ObjectMeta>> {
        let listed: Result<Vec<_>, _> = self.storage.store.list(Some(&Storage::folder_of(session))).try_collect().await;
        match listed {
            // A folder that is deleted while it is read.
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            listed => {
                let is_chunk = |meta: &ObjectMeta| matches!(read_path(&meta.location), Some((_, Kind::Chunk { .. })));
                Ok(listed?.into_iter().filter(is_chunk).collect())
            }
        }
    }

    /// The bytes of a range, which must be within the contents. An error breaks them off.
    pub(super) fn read(
        self: &Arc<Self>,
        session: SessionId,
        contents: Contents,
        range: Range<u64>,
    ) -> mpsc::Receiver<object_store::Result<Bytes>> {
        let (outlet, pieces) = mpsc::channel(1);
        let recordings = Arc::clone(self);
        // Ends when nobody reads any more.
        tokio::spawn(async move { recordings.pour(session, contents, range, outlet).await });
        pieces
    }

    async fn pour(
        &self,
        session: SessionId,
        mut contents: Contents,
        mut range: Range<u64>,
        outlet: mpsc::Sender<object_store::Result<Bytes>>,
    ) {
        loop {
            let error = match self.copy(&contents, &mut range, &outlet).await {
                Ok(()) | Err(Stopped::Unread) => return,
                Err(Stopped::Store(error)) => error,
            };
            if !contents.joined
                && is_missing(&error)
                && let Ok(Some(joined)) = self.joined(session).await
                && joined.size >= range.end
            {
                contents = joined;
                continue;
            }
            self.note_failure(&error, "a recording cannot be read");
            let _ = outlet.send(Err(error)).await;
            return;
        }
    }

    pub(super) fn pieces(
        &self,
        contents: &Contents,
        range: Range<u64>,
    ) -> BoxStream<'static, object_store::Result<Bytes>> {
        let store = Arc::clone(&self.storage.store);
        let pieces = contents.pieces(range).into_iter().map(move |(path, within)| {
            let store = Arc::clone(&store);
            async move { store.get_range(&path, within).await }
        });
        stream::iter(pieces).buffered(AHEAD).boxed()
    }

    /// Moves the range's start as it goes.
    async fn copy(
        &self,
        contents: &Contents,
        range: &mut Range<u64>,
        outlet: &mpsc::Sender<object_store::Result<Bytes>>,
    ) -> Result<(), Stopped> {
        let mut pieces = self.pieces(contents, range.clone());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(Stopped::Store)?;
            let length = piece.len() as u64;
            outlet.send(Ok(piece)).await.map_err(|_| Stopped::Unread)?;
            range.start += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(session: SessionId, epoch: u64, number: u64, size: u64) -> ObjectMeta {
        ObjectMeta {
            location: Storage::chunk(session, epoch, number),
            last_modified: Default::default(),
            size,
            e_tag: None,
            version: None,
        }
    }

    #[test]
    fn a_recording_is_the_last_assignment_s_up_to_what_is_missing() {
        let session = SessionId::new();
        let objects = [(2, 1, 5), (1, 0, 7), (2, 0, 10), (1, 1, 7), (2, 3, 1)]
            .map(|(epoch, number, size)| chunk(session, epoch, number, size));
        let contents = Contents::of_chunks(&objects);
        assert_eq!((contents.size, contents.parts.len()), (15, 2));
        let pieces = contents.pieces(8..15);
        assert_eq!(pieces, [(Storage::chunk(session, 2, 0), 8..10), (Storage::chunk(session, 2, 1), 0..5)]);
        assert!(contents.pieces(3..3).is_empty());
        assert_eq!(
            Contents::of_chunks(&[chunk(session, 1, 1, 7)]).size,
            0,
            "nothing can be read without its beginning"
        );
    }

    #[test]
    fn much_is_read_in_pieces() {
        let path = Storage::joined(SessionId::new());
        let contents = Contents { parts: vec![(path.clone(), 3 * PIECE)], size: 3 * PIECE, tag: None, joined: true };
        let ranges: Vec<_> = contents.pieces(1..2 * PIECE + 5).into_iter().map(|(_, range)| range).collect();
        assert_eq!(ranges, [1..PIECE + 1, PIECE + 1..2 * PIECE + 1, 2 * PIECE + 1..2 * PIECE + 5]);
    }
}
