//! Running operations: each is one transaction on a connection of the pool, with a deadline, and is done again where
//! nothing of it was committed (a connection that had broken unnoticed, a deadlock).
//!
//! A writing operation is a task of its own: a transaction commits or it does not, and never because somebody hung up.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use deadpool_postgres::Pool;
use futures_util::future::{BoxFuture, join_all, try_join_all};
use session::SessionId;
use tokio::sync::broadcast;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::failure::{Attempt, Failure, is_lost};
use super::lease::{Lease, State};
use super::locks::Locks;
use super::notices;
use crate::{Result, SealKey, StoreError};

/// What an operation does on its connection, given its arguments; run again from the start where it is tried again.
pub(super) type Work<A, T> = for<'w> fn(&'w mut Lease, &'w A) -> BoxFuture<'w, Attempt<T>>;

/// Whether an operation may be done twice when it is not known whether it was done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Never,
    /// Doing it twice is doing it once.
    Harmless,
}

/// What a writing operation is to the server.
#[derive(Debug)]
enum Unit {
    Transaction(Locks),
    /// One statement, which is a transaction by itself.
    Statement,
}

/// The pool, and what all operations share.
pub(super) struct Database {
    pub(super) pool: Pool,
    pub(super) key: Arc<SealKey>,
    pub(super) changes: broadcast::Sender<SessionId>,
    /// Tells our own notices from those of other processes.
    pub(super) origin: Arc<str>,
    /// How long one attempt may take.
    pub(super) patience: Duration,
}

impl Database {
    /// One writing transaction.
    pub(super) async fn write<A, T>(
        self: &Arc<Self>,
        operation: &'static str,
        repeat: Repeat,
        arguments: A,
        work: Work<A, T>,
    ) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.write_under(Locks::default(), operation, repeat, arguments, work).await
    }

    /// One writing transaction that begins by waiting for locks.
    pub(super) async fn write_under<A, T>(
        self: &Arc<Self>,
        locks: Locks,
        operation: &'static str,
        repeat: Repeat,
        arguments: A,
        work: Work<A, T>,
    ) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.detached(operation, Unit::Transaction(locks), repeat, (arguments, work)).await
    }

    /// One writing statement, or what is sent as one: one round trip instead of three. One that changes a session tells of it itself
    /// ([`notices::TOLD`]); where it changed nothing, others that read may follow, to say why.
    pub(super) async fn write_one<A, T>(
        self: &Arc<Self>,
        operation: &'static str,
        repeat: Repeat,
        arguments: A,
        work: Work<A, T>,
    ) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.detached(operation, Unit::Statement, repeat, (arguments, work)).await
    }

    /// A task of its own, so that it is done even when its caller stops waiting.
    async fn detached<A, T>(
        self: &Arc<Self>,
        operation: &'static str,
        unit: Unit,
        repeat: Repeat,
        (arguments, work): (A, Work<A, T>),
    ) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let database = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut retries = Retries::new(repeat == Repeat::Harmless);
            loop {
                let done = match &unit {
                    Unit::Transaction(locks) => database.transaction(locks, &arguments, work).await,
                    Unit::Statement => database.statement(&arguments, work).await,
                };
                match done {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => retries.pause(failure).await.map_err(|failure| failure.during(operation))?,
                }
            }
        });
        match task.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => Err(StoreError::Database(format!("{operation}: panicked"))),
            Err(_) => Err(StoreError::Unavailable(format!("{operation}: the process is stopping"))),
        }
    }

    /// One statement that reads.
    pub(super) async fn read<A, T>(&self, operation: &'static str, arguments: A, work: Work<A, T>) -> Result<T> {
        // Reading twice is reading.
        let mut retries = Retries::new(true);
        loop {
            match self.reading(&arguments, work).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => retries.pause(failure).await.map_err(|failure| failure.during(operation))?,
            }
        }
    }

    /// The same work on each of the pool's connections, or on so many of them, at once; those that are still to be made
    /// are made first. It changes nothing, and a connection on which it fails is closed.
    pub(super) async fn rehearse<A>(&self, most: usize, arguments: &A, work: Work<A, ()>) -> Attempt<()> {
        let count = self.pool.status().max_size.min(most);
        // All are held before the first works, so that none has two turns.
        let leases = try_join_all((0..count).map(|_| self.lease())).await?;
        let turns = leases.into_iter().map(|lease| self.take_turn(lease, arguments, work));
        // Each has its turn, also where another has failed.
        join_all(turns).await.into_iter().collect()
    }

    async fn take_turn<A>(&self, mut lease: Lease, arguments: &A, work: Work<A, ()>) -> Attempt<()> {
        let done = timeout(self.patience, work(&mut lease, arguments)).await;
        let done = self.judge(&mut lease, done);
        if done.is_err() {
            lease.state = State::Spoilt;
        }
        done
    }

    async fn lease(&self) -> Attempt<Lease> {
        Ok(Lease::new(self.pool.get().await?, Arc::clone(&self.key), Arc::clone(&self.origin)))
    }

    async fn reading<A, T>(&self, arguments: &A, work: Work<A, T>) -> Attempt<T> {
        let mut lease = self.lease().await?;
        let done = timeout(self.patience, work(&mut lease, arguments)).await;
        self.judge(&mut lease, done)
    }

    async fn statement<A, T>(&self, arguments: &A, work: Work<A, T>) -> Attempt<T> {
        let mut lease = self.lease().await?;
        // Sent, it is committed by the server, whether its answer comes or not.
        lease.state = State::Committing;
        let done = timeout(self.patience, work(&mut lease, arguments)).await;
        let done = self.judge(&mut lease, done);
        if lease.state == State::Committing {
            lease.state = State::Clean;
        }
        self.tell(&lease, &done);
        done
    }

    async fn transaction<A, T>(&self, locks: &Locks, arguments: &A, work: Work<A, T>) -> Attempt<T> {
        let mut lease = self.lease().await?;
        let done = timeout(self.patience, run(&mut lease, locks, arguments, work)).await;
        let done = self.judge(&mut lease, done);
        self.tell(&lease, &done);
        done
    }

    /// Wakes this process's own readers where something was changed, or may have been.
    fn tell<T>(&self, lease: &Lease, done: &Attempt<T>) {
        if matches!(done, Ok(_) | Err(Failure::CommitUnknown(_))) {
            for &id in &lease.changed {
                // Nobody may be listening.
                let _ = self.changes.send(id);
            }
        }
    }

    /// What came of an attempt, and what its connection is worth now. One that was silent until the time was over has
    /// nobody at its other end, and those that wait in the pool are no better off.
    fn judge<T>(&self, lease: &mut Lease, done: std::result::Result<Attempt<T>, Elapsed>) -> Attempt<T> {
        let done = match done {
            Err(_) => {
                self.pool.retain(|_, _| false);
                Err(Failure::Unanswered("the database did not answer in time"))
            }
            // Where the server itself says that it ends the connection, nothing was committed.
            Ok(Err(Failure::Sql(error)))
                if lease.state == State::Committing && is_lost(&error) && error.code().is_none() =>
            {
                Err(Failure::CommitUnknown(error))
            }
            Ok(done) => done,
        };
        if done.as_ref().is_err_and(Failure::spoils_connection) {
            lease.state = State::Spoilt;
        }
        done
    }
}

/// The transaction itself.
async fn run<A, T>(lease: &mut Lease, locks: &Locks, arguments: &A, work: Work<A, T>) -> Attempt<T> {
    lease.state = State::InTransaction;
    // Whatever the database's default is: rows and advisory locks keep exact what has to be.
    lease.batch_execute(&locks.after("BEGIN ISOLATION LEVEL READ COMMITTED")).await?;
    match work(lease, arguments).await {
        Ok(answer) => {
            let commit = notices::announcing(&lease.origin, &lease.changed, "COMMIT");
            lease.state = State::Committing;
            lease.batch_execute(&commit).await?;
            lease.state = State::Clean;
            Ok(answer)
        }
        Err(failure) => {
            if !failure.spoils_connection() {
                lease.batch_execute("ROLLBACK").await?;
                lease.state = State::Clean;
            }
            Err(failure)
        }
    }
}

/// How often work is done again, while nothing of it was committed.
struct Retries {
    pauses: ExponentialBackoff,
    repeatable: bool,
}

impl Retries {
    fn new(repeatable: bool) -> Self {
        let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(5)).with_max_times(6).with_jitter();
        Self { pauses: pauses.build(), repeatable }
    }

    /// Waits for the next attempt; gives the failure back where there is none.
    async fn pause(&mut self, failure: Failure) -> Attempt<()> {
        if !failure.may_be_tried_again(self.repeatable) {
            return Err(failure);
        }
        let Some(pause) = self.pauses.next() else { return Err(failure) };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
