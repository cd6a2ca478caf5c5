//! A thread that owns one connection. SQLite blocks, so no connection is touched on the runtime's own threads.
//!
//! Work that was handed over is done even when its caller stops waiting: a transaction commits or it does not, and never
//! because somebody hung up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Attempt;
use crate::{Result, StoreError};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The handle to the thread; the thread ends, and closes the connection, when this is dropped.
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    pub(super) fn start(name: &str, mut connection: Connection) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in queue {
                // The connection holds no state of ours but an open transaction, which is rolled back below.
                if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
                    tracing::error!("a database operation panicked; its transaction is rolled back");
                }
                if !connection.is_autocommit()
                    && let Err(error) = connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "a transaction was left open and cannot be rolled back");
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the connection, after all that was handed over before it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> Attempt<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody may be waiting any more.
            let _ = answer.send(work(connection).map_err(|failure| failure.during(operation)));
        });
        self.jobs
            .send(job)
            .map_err(|_| StoreError::Unavailable(format!("{operation}: the database thread has ended")))?;
        answered.await.map_err(|_| StoreError::Database(format!("{operation}: panicked")))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_its_own_caller_and_rolls_back_and_the_next_one_is_served() {
        let worker = Worker::start("test", Connection::open_in_memory().unwrap()).unwrap();
        let create = |db: &mut Connection| Ok(db.execute_batch("CREATE TABLE t (x INTEGER)")?);
        worker.run("creating", create).await.unwrap();
        let error = worker
            .run("writing", |db| -> Attempt<()> {
                db.execute_batch("BEGIN; INSERT INTO t VALUES (1)")?;
                panic!("on purpose");
            })
            .await
            .unwrap_err();
        assert!(error.to_string().contains("writing: panicked"), "{error}");
        let count: i64 = worker
            .run("counting", |db| Ok(db.query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0))?))
            .await
            .unwrap();
        assert_eq!(count, 0);
    }
}
