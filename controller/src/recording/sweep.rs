//! The sweep: looks at everything that is kept now and then, deletes what is too old, and joins what nobody joined, since a
//! controller or a runner was killed. Two at once do the same things twice, which changes nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path as Place;
use session::SessionId;
use store::{RunnerState, StoreError, Time};
use tokio::time::MissedTickBehavior;

use super::Recordings;
use super::storage::{Kind, read_path};

/// What got no chunk for so long may be over.
const QUIET: Duration = Duration::from_secs(120);

/// All that is kept of one session.
struct Kept {
    places: Vec<Place>,
    chunks: bool,
    newest: Time,
}

impl Recordings {
    pub(super) async fn keep_sweeping(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.sweep_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep(Time::now()).await;
        }
    }

    pub(super) async fn sweep(self: &Arc<Self>, now: Time) {
        let kept = match self.list_all().await {
            Ok(kept) => kept,
            Err(error) => return self.note_failure(&error, "what is kept of recordings cannot be listed"),
        };
        for (session, kept) in kept {
            let age = now.duration_since(kept.newest);
            let older = |than: Duration| age.as_secs() > than.as_secs() as i64;
            if older(self.keep) && (!kept.chunks || !self.goes_on(session).await) {
                self.forget(session, kept).await;
            } else if kept.chunks && older(QUIET) && self.is_over(session).await {
                self.join(session).await;
            }
        }
        self.remove_unfinished(now);
    }

    async fn list_all(&self) -> object_store::Result<HashMap<SessionId, Kept>> {
        let mut all: HashMap<SessionId, Kept> = HashMap::new();
        let mut objects = self.storage.store.list(None);
        while let Some(meta) = objects.try_next().await? {
            // What is not ours stays.
            let Some((session, kind)) = read_path(&meta.location) else { continue };
            let modified = Time::from_millisecond(meta.last_modified.timestamp_millis()).unwrap_or(Time::MAX);
            let kept = all.entry(session).or_insert(Kept { places: Vec::new(), chunks: false, newest: modified });
            kept.places.push(meta.location);
            kept.chunks |= kind != Kind::Joined;
            kept.newest = kept.newest.max(modified);
        }
        Ok(all)
    }

    async fn forget(&self, session: SessionId, kept: Kept) {
        match self.delete(kept.places).await {
            Ok(()) => {
                self.metrics.swept.inc();
                tracing::debug!(%session, "recording deleted for its age");
            }
            Err(error) => self.note_failure(&error, "an old recording cannot be deleted; it is tried again"),
        }
    }

    /// Whether more may come: then even an old beginning stays, without which the rest could not be read.
    async fn goes_on(&self, session: SessionId) -> bool {
        let record = self.sessions.session(session).await;
        // One that cannot be asked for may be going on.
        record.map_or(true, |record| record.is_some_and(|record| record.ended.is_none()))
    }

    /// Whether nothing more comes, as far as our database knows: another's sessions are another's.
    async fn is_over(&self, session: SessionId) -> bool {
        let over = async {
            let Some(record) = self.sessions.session(session).await?.filter(|record| record.ended.is_some()) else {
                return Ok(false);
            };
            let Some(runner) = record.runner else { return Ok(true) };
            Ok::<_, StoreError>(self.sessions.runner(runner).await?.is_none_or(|row| row.state == RunnerState::Gone))
        };
        over.await.unwrap_or(false)
    }

    /// A folder keeps what a killed controller was about to put together, under a name that nobody else uses.
    fn remove_unfinished(&self, now: Time) {
        let Some(folder) = &self.storage.folder else { return };
        for session in entries(folder).filter(|path| path.is_dir()) {
            for file in entries(&session).filter(|path| path.to_string_lossy().contains('#')) {
                let modified = file.metadata().and_then(|meta| meta.modified()).ok();
                let age = modified.and_then(|at| std::time::SystemTime::from(now).duration_since(at).ok());
                if age.is_some_and(|age| age > Duration::from_secs(3600)) {
                    let _ = std::fs::remove_file(&file);
                    // Only where it is empty now.
                    let _ = std::fs::remove_dir(&session);
                }
            }
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
